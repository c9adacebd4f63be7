"""Orders of an epoch: shuffled, or drawn with replacement as in the released code."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_workspace import TINY, make_workspace, terminated_after_logging

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.pairs.epoch_order import Request, StepBatches, earlier_draws, epoch_order
from simhand_cli.pretrain.pairs.pair_table import PairDataset, load_pair_table
from simhand_cli.pretrain.settings import settle
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.training.step.precision import Precision
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("order") / "ws")


def test_an_epoch_with_replacement_sees_63_percent():
    drawn = epoch_order(20_000, 3, 0, "replacement").pairs
    assert len(drawn) == 20_000
    assert len(np.unique(drawn)) / 20_000 == pytest.approx(1 - np.exp(-1), abs=0.01)
    counts = np.bincount(drawn, minlength=20_000)
    assert counts.var() == pytest.approx(1, abs=0.05)  # each pair is drawn a Poisson number of times
    assert np.abs(np.histogram(drawn, bins=10)[0] - 2000).max() < 200


def test_orders_are_functions_of_seed_epoch_and_kind():
    def order(*given):
        return epoch_order(50, *given).pairs.tolist()

    kinds = ("shuffle", "replacement")
    orders = [order(seed, epoch, kind) for seed in (0, 1) for epoch in (0, 1) for kind in kinds]
    assert len({tuple(o) for o in orders}) == 8
    assert order(1, 0, "replacement") == order(1, 0, "replacement")
    assert sorted(order(0, 0, "shuffle")) == list(range(50))
    assert epoch_order(50, 0, 0, "shuffle").repeats is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_repeats_count_the_earlier_draws(drawn):
    expected = [drawn[:i].count(value) for i, value in enumerate(drawn)]
    assert earlier_draws(np.array(drawn)).tolist() == expected


@given(
    pairs=st.integers(4, 60),
    per_rank=st.integers(1, 5),
    world=st.integers(1, 4),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_ranks_together_draw_what_one_rank_draws(pairs, per_rank, world, seed, data):
    batch = min(per_rank * world, pairs - pairs % world)
    if batch < world:
        return
    total = 2 * (pairs // batch)
    start = data.draw(st.integers(0, total))
    alone = list(StepBatches(pairs, batch, total, seed, sampling="replacement"))
    parts = [list(StepBatches(pairs, batch, total, seed, r, world, start, "replacement")) for r in range(world)]
    for step, together in enumerate(zip(*parts, strict=True), start):
        assert {request.epoch for request in together} == {alone[step].epoch}
        for name in ("pairs", "repeats"):
            joined = np.concatenate([getattr(request, name) for request in together])
            np.testing.assert_array_equal(joined, getattr(alone[step], name))


def test_a_pair_that_comes_again_gets_other_views_and_another_positive(workspace):
    opened = Workspace(workspace)
    dataset = PairDataset(load_pair_table(opened, "mined", drawn_among=2), opened.crops_dir, 5)
    pairs = np.arange(28)
    first = dataset.__getitems__(Request(0, pairs))
    plain = dataset.__getitems__(Request(0, pairs, np.zeros(28, np.int64)))
    again = dataset.__getitems__(Request(0, pairs, np.ones(28, np.int64)))
    assert torch.equal(first.rows1, again.rows1)
    assert torch.equal(first.keys, plain.keys)
    assert torch.equal(first.rows2, plain.rows2)
    assert 4 < (first.rows2 != again.rows2).sum() < 24  # of two candidates each
    assert len({*first.keys.tolist(), *again.keys.tolist()}) == 56
    assert torch.equal(again.part(3, 9).keys, again.keys[3:9])
    loss = PairLoss.of(settle(PretrainConfig(workspace=workspace, **TINY)), Precision("fp32", ""), "cpu")
    angles = [loss.draw_views(batch)[0].params.angle_deg for batch in (first, plain, again)]
    assert torch.equal(angles[0], angles[1])
    assert (angles[0] != angles[2]).all()


@pytest.mark.slow
def test_a_stopped_run_draws_on_where_it_stopped(workspace):
    def run(name, **given):
        config = PretrainConfig(workspace=workspace, name=name, sampling="replacement", **{**TINY, **given})
        pretrain(config, Console(quiet=True))
        return load_checkpoint(latest_complete(workspace / "runs" / f"pretrain-{name}"))[0]

    whole = run("whole")
    with terminated_after_logging(4), pytest.raises(KeyboardInterrupt):
        run("stopped")
    resumed = run("stopped", workers=1)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    shuffled = PretrainConfig(workspace=workspace, name="shuffled", **TINY)
    pretrain(shuffled, Console(quiet=True))
    other = load_checkpoint(latest_complete(workspace / "runs" / "pretrain-shuffled"))[0]
    assert not torch.equal(
        other["module.model.encoder.backbone.bn1.weight"], whole["module.model.encoder.backbone.bn1.weight"]
    )
