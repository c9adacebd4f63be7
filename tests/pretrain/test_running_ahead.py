"""Where the device skips a bad update itself the host is a step ahead: what is learned and written stays the same."""

import ahead_worker
import pytest
import torch
from ahead_worker import train_ahead
from tiny_workspace import TINY, make_workspace, terminated_after_logging

from simhand_cli.errors import InputProblem
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.worker import Job
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training.engine import Engine
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.training.step.launched import skipped_if


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "ws")


def job(workspace, name, **given):
    return Job(settle(PretrainConfig(workspace=workspace, **{**TINY, "name": name, **given})), quiet=True)


def found(workspace, name):
    """Tensors of the last checkpoint, and the metrics without the speed."""
    run_dir = workspace / "runs" / f"pretrain-{name}"
    lines = [{k: v for k, v in line.items() if k != "views_per_s"} for line in read_metrics(run_dir / "metrics.jsonl")]
    return load_checkpoint(latest_complete(run_dir))[0], lines


def assert_same(first, second):
    assert first[0].keys() == second[0].keys()
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    assert first[1] == second[1]


@pytest.mark.slow
def test_the_same_is_learned_and_logged(workspace, monkeypatch):
    train_ahead(Ranks(), (job(workspace, "ahead", ema=0.9), 0))
    monkeypatch.setattr(Engine, "ahead", 0)
    train_ahead(Ranks(), (job(workspace, "behind", ema=0.9), 0))
    assert_same(found(workspace, "ahead"), found(workspace, "behind"))
    assert [line["step"] for line in found(workspace, "ahead")[1]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_loss_that_is_not_finite_on_one_rank_stops_all_before_the_update(workspace, ranks):
    given = (job(workspace, "a", checkpoint_every=2, cpu_ranks=ranks), 4)
    with pytest.raises(InputProblem, match=r"loss of step 4 is not finite \(loss nan, .*no update was made"):
        launch(train_ahead, given, World(ranks))
    tensors, lines = found(workspace, "a")
    assert latest_complete(workspace / "runs" / "pretrain-a").name == "step-00000002"
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    assert [line["step"] for line in lines] == [1, 2, 3]


@pytest.mark.slow
def test_stopped_and_resumed_is_bit_equal(workspace):
    train_ahead(Ranks(), (job(workspace, "whole"), 0))
    with terminated_after_logging(2), pytest.raises(KeyboardInterrupt, match="saved after step 5"):
        train_ahead(Ranks(), (job(workspace, "cut"), 0))
    train_ahead(Ranks(), (job(workspace, "cut"), 0))
    assert_same(found(workspace, "cut"), found(workspace, "whole"))


@pytest.mark.parametrize("bad", [0.0, 1.0])
def test_the_fused_optimiser_skips_a_bad_update_and_no_other(bad):
    weights = torch.nn.Parameter(torch.ones(5))
    optimiser = ahead_worker.fused("adam", [{"params": [weights]}], 0.1)
    weights.grad = torch.ones(5)
    optimiser.step()
    before = weights.detach().clone(), {k: v.clone() for k, v in optimiser.state[weights].items()}
    weights.grad = torch.full((5,), torch.nan if bad else 1.0)
    with skipped_if(torch.tensor(bad), optimiser):
        optimiser.step()
    after = weights.detach(), optimiser.state[weights]
    assert torch.equal(before[0], after[0]) == bool(bad)
    assert all(torch.equal(before[1][name], after[1][name]) for name in before[1]) == bool(bad)
    assert not hasattr(optimiser, "found_inf")
