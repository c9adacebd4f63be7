"""What a new method costs: one class, here a small MoCo (He et al., 2020): momentum encoder, queue of keys."""

import copy
import json
from typing import Literal, get_args
from unittest import mock

import pytest
import torch
from tiny_workspace import TINY, make_workspace, terminated_after_logging
from torch import Tensor, nn
from torch.nn import functional

from simhand_cli.pretrain import task as pretrain_task
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.loss_options import MethodName
from simhand_cli.pretrain.methods.method import Method
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.worker import Job, train
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training.processes.gather import gather
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.checkpoint import load_checkpoint

QUEUE, MOMENTUM, TEMPERATURE = 32, 0.9, 0.2


# -- The method: this is all there is to write (and its name among those of pretrain/loss_options.py) ------------------
class MomentumQueue(nn.Module):
    """The slowly moving encoder of the keys, and the last keys."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(model).requires_grad_(False)
        like = next(model.parameters())
        keys = torch.randn(QUEUE, 128, generator=torch.Generator().manual_seed(1)).to(like)
        self.register_buffer("keys", functional.normalize(keys, dim=1))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))


class ToyMoco(Method):
    """Positive: the same crop. T is not undone; a momentum encoder projects keys, negatives come from a queue."""

    name = "toy-moco"
    positive = "same-image"
    geometric = False

    def companion(self, model):
        return MomentumQueue(model)

    def project(self, model, images, companion):
        queries, keys = images.chunk(2)
        with torch.no_grad():
            projected = companion.encoder(keys)
        return model(queries), projected

    def compare(self, settings, projected, ids, output_px, companion):
        q, k = (functional.normalize(z.float(), dim=1) for z in (projected.z1, projected.z2))
        logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ companion.keys.clone().T], dim=1) / TEMPERATURE
        loss = functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64))
        everyone = gather(k.detach())  # of all ranks, so that every rank's queue is the same
        place = (companion.next + torch.arange(len(everyone))) % QUEUE
        companion.keys[place] = everyone
        companion.next += len(everyone)
        return loss, {"positive_similarity": (q * k).sum(dim=1).mean().detach()}

    def updated(self, model, companion):
        for kept, new in zip(companion.encoder.parameters(), model.parameters(), strict=True):
            kept.data.lerp_(new.data, 1 - MOMENTUM)


# -- It runs, and goes on after a stop to the bit ----------------------------------------------------------------------
class ToyConfig(PretrainConfig):
    method: Literal["toy-moco"] = "toy-moco"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "toy-moco", ToyMoco())
    return make_workspace(tmp_path / "ws")


def tensors(workspace, name) -> dict[str, Tensor]:
    return load_checkpoint(latest_complete(workspace / "runs" / f"pretrain-{name}"))[0]


@pytest.mark.slow
def test_a_method_of_another_kind_is_one_class(workspace):
    assert "toy-moco" not in get_args(MethodName)
    jobs = {
        name: Job(settle(ToyConfig(workspace=workspace, **TINY | {"name": name})), quiet=True) for name in ("a", "b")
    }
    result = train(Ranks(), jobs["a"])
    assert result["positive_similarity"] is not None
    whole = tensors(workspace, "a")
    assert int(whole["module.companion.next"]) == 6 * TINY["batch_size"]
    weight = "encoder.backbone.layer1.0.conv1.weight"
    assert not torch.equal(whole[f"module.companion.encoder.{weight}"], whole[f"module.model.{weight}"])
    with terminated_after_logging(2), pytest.raises(KeyboardInterrupt):
        train(Ranks(), jobs["b"])
    train(Ranks(), jobs["b"])
    assert all(torch.equal(tensors(workspace, "b")[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("given", [{"micro_batch": 4}, {"precision": "bf16"}], ids=str)
def test_it_runs_in_parts_and_in_mixed_precision(workspace, given):
    config = ToyConfig(workspace=workspace, **TINY | {"name": "d", "max_steps": 2} | given)
    assert train(Ranks(), Job(settle(config), quiet=True))["loss"] > 1.0
    assert int(tensors(workspace, "d")["module.companion.next"]) == 2 * TINY["batch_size"]


def test_the_queue_counts(workspace):
    """Without its keys as negatives the loss is another: the method's own loss is what is trained."""
    with mock.patch.object(pretrain_task, "finish_run", return_value={}):
        train(Ranks(), Job(settle(ToyConfig(workspace=workspace, **TINY | {"name": "c", "max_steps": 1})), quiet=True))
    (line,) = (workspace / "runs" / "pretrain-c" / "metrics.jsonl").read_text().splitlines()[:1]
    assert json.loads(line)["loss"] > 1.0  # ln(33) = 3.5 for keys that tell nothing; 0 without negatives
