"""What a run's options come to: notes, rates, identity, and how they are told."""

import pytest
from tiny_workspace import TINY, make_workspace

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.plan import make_plan, run_identity
from simhand_cli.pretrain.run_notes import told_recipe
from simhand_cli.pretrain.settings import settle
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("plan") / "ws")


@pytest.mark.parametrize(
    ("idle", "flag", "used"),
    [
        ({"loss": {"weighted": "positives"}}, "--loss.weighted positives", {"method": "simhand"}),
        ({"loss": {"weight_metric": "embedding"}}, "--loss.weight-metric embedding", {"method": "simhand"}),
        ({"loss": {"weight_range": "separate"}}, "--loss.weight-range separate", {"method": "simhand"}),
        ({"loss": {"positive_denominator": "w_pos"}}, "--loss.positive-denominator w_pos", {"method": "simhand"}),
        (
            {"method": "simhand", "loss": {"lambda_positive": 2.0}},
            "--loss.lambda-positive 2.0",
            {"loss": {"lambda_positive": 2.0, "weights": "nonlinear"}},
        ),
        (
            {"method": "simhand", "loss": {"lambda_negative": 2.0, "weights": "nonlinear"}},
            "--loss.lambda-negative 2.0",
            {"loss": {"lambda_negative": 2.0, "weights": "nonlinear", "weighted": "both"}},
        ),
        (
            {"loss": {"weights": "linear", "weighted": "positives"}},
            "--loss.weighted positives",
            {"loss": {"weights": "linear", "weighted": "positives", "weight_joints": "view"}},
        ),
        ({"loss": {"weight_joints": "view"}}, "--loss.weight-joints view", {"method": "simhand"}),
        (
            {"method": "simhand", "loss": {"weight_joints": "view", "weight_metric": "embedding"}},
            "--loss.weight-joints view",
            {"loss": {"weight_joints": "view", "weight_metric": "embedding", "false_negative_px": 3.0}},
        ),
        ({"method": "simclr", "loss": {"shift_unit": "pixels"}}, "--loss.shift-unit pixels", {"method": "peclr"}),
        ({"positive_rank": 2}, "--positive-rank 2", {"method": "handclr"}),
        ({"positives": 2}, "--positives 2", {"method": "handclr"}),
        ({"temporal_gap": 1}, "--temporal-gap 1", {"method": "tempclr"}),
    ],
)
def test_options_without_effect_are_pointed_out(workspace, idle, flag, used):
    def notes(given):
        return make_plan(settle(PretrainConfig(workspace=workspace, **{"method": "peclr", **given})), 100, 1).warning

    assert f"{flag} has no effect: " in notes(idle)
    assert "has no effect" not in notes({**idle, **used})
    assert "has no effect" not in notes({})


def test_lars_starts_from_simclr_s_rate_unless_told_otherwise(workspace):
    def peak(**given):
        return make_plan(
            settle(PretrainConfig(workspace=workspace, batch_size=512, optimiser="lars", **given)), 600, 1
        ).peak_lr

    assert peak() == pytest.approx(0.3 * 2)
    assert peak(loss={"recipe": "official"}) == pytest.approx(0.3 * 2)
    assert peak(lr=0.2) == peak(lr=0.2, loss={"recipe": "official"}) == pytest.approx(0.2 * 2)
    assert peak(lr_rule="sqrt") == pytest.approx(0.075 * 512**0.5)
    assert peak(lr=0.5, lr_rule="constant") == 0.5


def test_pairs_that_fill_no_batch_are_told_where_they_are_many(workspace):
    def warning(pairs):
        config = PretrainConfig(workspace=workspace, batch_size=100)
        return make_plan(settle(config), pairs, 1).warning

    assert "every epoch leaves out 38 of the 138 pairs" in warning(138)
    assert "leaves out" not in warning(200)
    assert "leaves out" not in warning(1005)


def test_a_recipe_is_told_with_what_departs_from_it(workspace):
    def told(**given):
        return told_recipe(settle(PretrainConfig(workspace=workspace, **given)))

    assert told() == "simhand"
    assert told(loss={"recipe": "paper", "weighted": "both"}) == "paper"
    assert told(lr=0.5, loss={"recipe": "paper"}) == "paper, but for lr 0.5"
    assert told(method="peclr", loss={"weighted": "both"}) == "simhand"  # as the recipe has it for this method
    assert told(method="peclr", loss={"weighted": "positives"}) == "simhand, but for loss.weighted positives"
    others = {"weighted": "positives", "false_negatives": "mask", "similarities": "centred"}
    assert told(lr=0.5, loss={"recipe": "official", **others}) == (
        "official, but for loss.weighted positives, loss.similarities centred, loss.false-negatives mask and 1 more"
    )


def test_processes_are_part_of_a_run_whose_batch_norm_sees_parts(workspace):
    config = PretrainConfig(workspace=workspace, **{**TINY, "batch_size": 8, "micro_batch": 4})

    def processes(count):
        identity = run_identity(settle(config), Workspace.open(workspace), make_plan(settle(config), 28, count), count)
        return identity.get("processes")

    # Two processes compute their four pairs each at once: the statistics are the batch's.
    assert (processes(1), processes(2), processes(4)) == (1, None, None)
