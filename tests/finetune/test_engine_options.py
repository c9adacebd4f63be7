"""What fine-tuning has from the training engine: parts of a batch, an early end, lines of metrics, other logs."""

import shutil

import numpy as np
import pytest
import torch
from mini_freihand import write_mini_freihand

from simhand_cli.commands.finetune import finetune
from simhand_cli.console import Console
from simhand_cli.errors import UsageProblem
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.crop_dataset import CropBatch
from simhand_cli.finetune.options import LossOptions
from simhand_cli.finetune.step import backward_in_parts, build_net
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.training import engine
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import Precision
from simhand_cli.training.task import Network

QUIET = Console(quiet=True)
CROPS = 7


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "FreiHAND_pub_v2"
    write_mini_freihand(root, hands=4, test_hands=1)
    return root


def run(mini, workspace, **options):
    values = {
        "workspace": workspace, "data": [mini], "encoder": "none", "backbone": "test_resnet", "width": 16,
        "input_px": 64, "epochs": 3, "batch_size": 6, "precision": "fp32", "gpus": 0, "workers": 0,
        "val_fraction": 0.25,
    }  # fmt: skip
    summary = finetune(FinetuneConfig(**{**values, **options}), QUIET)
    return summary, workspace / "runs" / "finetune-scratch-test_resnet"


def make_batch() -> CropBatch:
    """Crops of which some have no 3D labels and some no label of every joint: parts differ in what they weigh."""
    generator = torch.Generator().manual_seed(2)
    joints_mm = 60 * torch.randn(CROPS, 21, 3, generator=generator)
    joints_mm[1] = torch.nan
    joints_mm[4:, 5:9] = torch.nan
    return CropBatch(
        images=torch.randint(0, 255, (CROPS, 64, 64, 3), generator=generator).byte(),
        joints_px=32 + 12 * torch.randn(CROPS, 21, 2, generator=generator),
        joints_mm=joints_mm,
        valid=torch.rand(CROPS, 21, generator=generator) > 0.2,
        broken=[],
    )


@pytest.mark.parametrize("parts", [2, 3, CROPS])
@pytest.mark.parametrize("loss", [LossOptions(), LossOptions(l2=1e-3, heat=20, location=3)])
def test_parts_of_a_batch_give_its_gradient(parts, loss):
    """Batch norm, whose statistics are a part's, is switched to its running ones; the rest is the batch's own."""
    config = FinetuneConfig(width=16, input_px=64, loss=loss)
    torch.manual_seed(0)
    net, _ = build_net(EncoderSource("test_resnet", None, "", "", ""), config)
    net.double().eval()
    network = Network(net, net, Precision("fp64", "a proof"), torch.amp.GradScaler("cpu", enabled=False))
    found = []
    for count in (1, parts):
        net.zero_grad()
        losses = backward_in_parts(network, make_batch(), count, config, Ranks())
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        found.append((torch.stack([losses.total, losses.heat, losses.location, losses.delta]), gradient))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-9, atol=1e-12)
    assert found[0][1].abs().max() > 0


def test_a_norm_over_the_whole_batch_is_not_taken_in_parts(mini, tmp_path):
    with pytest.raises(UsageProblem, match=r"--micro-batch .*--loss\.form frobenius"):
        run(mini, tmp_path, micro_batch=2, loss={"form": "frobenius"})


@pytest.mark.slow
def test_parts_train_too(mini, tmp_path):
    whole, _ = run(mini, tmp_path / "whole", epochs=1)
    parts, path = run(mini, tmp_path / "parts", epochs=1, micro_batch=2)
    assert np.isfinite(parts.data["val_root_bone_mpjpe_mm"])
    assert (path / "identity.json").read_text().count('"processes": 1') == 1
    assert whole.data["epochs"] == parts.data["epochs"] == 1


@pytest.mark.slow
def test_a_sample_that_one_rank_cannot_read_keeps_the_ranks_together(mini, tmp_path):
    """Batch norm exchanges statistics once a part, so all ranks must take as many parts, whatever they could read."""
    root = shutil.copytree(mini, tmp_path / "set")
    for number in (1, 4, 7):
        (root / "training" / "rgb" / f"{number:08d}.jpg").write_bytes(b"damaged")
    given = {"epochs": 1, "val_fraction": 0, "batch_size": 8, "micro_batch": 1, "cpu_ranks": 2}
    summary, path = run(root, tmp_path / "ws", **given)
    assert sum("jpg" in dropped.what for dropped in summary.dropped) > 0
    assert np.isfinite(read_metrics(path / "metrics.jsonl")[-1]["loss"])


@pytest.mark.slow
def test_max_steps_ends_within_an_epoch_and_is_measured(mini, tmp_path):
    summary, path = run(mini, tmp_path, max_steps=3, log_every=1)
    lines = read_metrics(path / "metrics.jsonl")
    assert [line["step"] for line in lines if "grad_norm" in line] == [1, 2, 3]
    assert [(line["step"], line["epoch"]) for line in lines if "val_px" in line] == [(2, 1), (3, 2)]
    assert summary.data["epochs"] == 2
    assert "ended by --max-steps 3" in (path / "report.html").read_text()


@pytest.mark.slow
def test_saying_what_follows_anyway_is_the_same_run(mini, tmp_path):
    done, _ = run(mini, tmp_path, epochs=1)
    again, _ = run(mini, tmp_path, epochs=1, sync_bn=True, encoder_lr=1e-3)
    assert again.data == done.data
    with pytest.raises(UsageProblem, match="processes=None, now 1 and 1 more"):
        run(mini, tmp_path, epochs=1, sync_bn=False)


@pytest.mark.slow
def test_other_logs_are_told_the_lines(mini, tmp_path, monkeypatch):
    told = []

    class Listener:
        def write(self, step, values):
            told.append((step, values["val_px"]))

        def close(self):
            told.append("closed")

    monkeypatch.setattr(engine, "open_trackers", lambda names, *_: [Listener()] if names else [])
    monkeypatch.setattr("simhand_cli.finetune.run.check_trackers", lambda names: None)
    run(mini, tmp_path, epochs=2, log=["tensorboard"])
    assert [one[0] for one in told[:-1]] == [2, 4]
    assert told[-1] == "closed"


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(mini, tmp_path, monkeypatch):
    graphs = []

    def run_graph(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(engine, "check_compiler", lambda device: None)
    monkeypatch.setattr(engine, "compile_model", lambda model: model.compile(backend=run_graph))
    found = [run(mini, tmp_path / str(on), epochs=1, precision="fp64", compile=on)[1] for on in (False, True)]
    assert graphs
    plain, compiled = (read_metrics(path / "metrics.jsonl")[0] for path in found)
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-9)
