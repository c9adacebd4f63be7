"""What a new kind of training costs: one task, here a head that learns a mesh's vertices from its joints."""

import math

import pytest
import torch
from torch import nn

from simhand_cli.errors import InputProblem
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training.engine import METRICS_FILE, train
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.training.step.optimisers import parameter_groups
from simhand_cli.training.task import EngineOptions, Length, RunPlace, Task

VERTICES, PER_EPOCH, EPOCHS, BATCH = 5, 4, 6, 8
#: Vertices are fixed mixtures of the 21 joints, as skinning makes them.
MIXTURE = torch.rand(21, VERTICES, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 10


# -- The task: this is all there is to write ---------------------------------------------------------------------------
class MeshTask(Task[nn.Module, torch.Tensor]):
    stage = "mesh"
    bar = "mesh"
    unit = "hands"
    length = Length(PER_EPOCH, PER_EPOCH * EPOCHS, BATCH, log_every=0)
    best_mm = math.inf

    def build(self, console, *, fresh):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(21, 32), nn.BatchNorm1d(3), nn.Linear(32, VERTICES))

    def trial(self, model):
        return lambda precision: None

    def network_kind(self, model):
        return "mesh head"

    def parameter_groups(self, model):
        return parameter_groups([model], 0.0)

    def lr(self, step):
        return 0.02

    def batches(self, first_step):
        for step in range(first_step, self.length.total_steps):
            joints = torch.randn(BATCH, 3, 21, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            yield joints.chunk(self.ranks.world_size)[self.ranks.rank]

    def backward(self, network, batch):
        loss = (network.wrapped(batch) - batch @ MIXTURE).square().mean()
        network.scaler.scale(loss).backward()
        return loss.detach(), {}

    def measures_after(self, step):
        return self.length.ends_epoch(step)

    def measure(self, network, log, lr):
        joints = torch.randn(64, 3, 21, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
        with torch.no_grad():
            error = float((network.model.eval()(joints) - joints @ MIXTURE).norm(dim=1).mean())
        self.best_mm = min(self.best_mm, error)
        if log is not None:
            log.write(network.step, {"epoch": network.step / PER_EPOCH, "vertex_error_mm": error})
        return f"{error:.2f} mm"

    def state(self):
        return {"best_mm": self.best_mm}

    def restore(self, values):
        self.best_mm = values["best_mm"]

    def finish(self, run, network, console):
        return run.finish({"best_mm": self.best_mm}) if self.ranks.is_main else {}


# -- It learns, goes on, stops, and is the same on two ranks -----------------------------------------------------------
def mesh_run(ranks: Ranks, path, task=MeshTask, **given):
    options = {
        "generator_seed": 1, "precision": "fp64", "optimiser": "adam", "grad_clip": None, "ema": 0.0, "sync_bn": True,
        "compile": False, "checkpoint_every": PER_EPOCH, "trackers": (), "described": {},
    }  # fmt: skip
    return train(ranks, task(ranks, RunPlace(path, {}, redo=False), EngineOptions(**options | given)), quiet=True)


def on_a_rank(ranks: Ranks, path):
    return mesh_run(ranks, path)


def test_a_mesh_head_learns_and_goes_on_to_the_bit(tmp_path):
    result = mesh_run(Ranks(), tmp_path / "whole")
    errors = [line["vertex_error_mm"] for line in read_metrics(tmp_path / "whole" / METRICS_FILE)]
    assert len(errors) == EPOCHS
    assert result["best_mm"] == min(errors) < errors[0] / 2

    class Stopped(MeshTask):
        def updated(self, network):
            if network.step == PER_EPOCH + 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mesh_run(Ranks(), tmp_path / "parts", Stopped)
    assert latest_complete(tmp_path / "parts").name == f"step-{PER_EPOCH:08d}"
    assert mesh_run(Ranks(), tmp_path / "parts") == result
    whole, parts = (load_checkpoint(latest_complete(tmp_path / name))[0] for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())
    assert mesh_run(Ranks(), tmp_path / "whole") == {**result, "skipped": True}


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns(tmp_path):
    launch(on_a_rank, tmp_path / "two", World(2))
    one, two = (mesh_run(Ranks(), tmp_path / name)["best_mm"] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-9)


def test_a_loss_that_is_not_finite_changes_nothing(tmp_path):
    class Broken(MeshTask):
        def backward(self, network, batch):
            loss, metrics = super().backward(network, batch)
            return (loss * math.nan if network.step == PER_EPOCH else loss), metrics

    with pytest.raises(InputProblem, match=f"loss of step {PER_EPOCH + 1} is not finite"):
        mesh_run(Ranks(), tmp_path / "bad", Broken)
    tensors = load_checkpoint(latest_complete(tmp_path / "bad"))[0]
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
