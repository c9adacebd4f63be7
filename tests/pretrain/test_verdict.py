"""What a run's summary says of what was learned, and what is said before a run that will learn little."""

import pytest
from tiny_workspace import TINY, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.plan import make_plan
from simhand_cli.pretrain.run_notes import verdict
from simhand_cli.pretrain.settings import settle


@pytest.mark.parametrize(
    ("top1", "chance", "learned"),
    [(0.004, 0.008, False), (0.012, 0.008, False), (0.017, 0.008, True), (0.5, 0.008, True)],
)
def test_a_run_that_learned_nothing_is_told_so(top1, chance, learned):
    told = verdict({"top1": top1, "top1_chance": chance, "init": "random"})
    assert (told is None) == learned
    if not learned:
        assert told.startswith(f"positives nearest {100 * top1:.1f} %, chance 0.8 %: nothing was learned; try --init")


def test_results_of_earlier_versions_and_of_other_methods_are_not_judged():
    assert verdict({"top1": 0.1}) is None
    assert verdict({"top1": None, "top1_chance": 0.1}) is None


def test_advice_fits_the_start():
    assert "--init" not in verdict({"top1": 0.0, "top1_chance": 0.1, "init": "resnet.pth"})


def test_it_stands_in_the_summary(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "ws")
    monkeypatch.setattr("simhand_cli.pretrain.run_notes._LEARNED", 1e9)
    config = PretrainConfig(workspace=workspace, **TINY, max_steps=1)
    assert "nothing was learned" in pretrain(config, Console(quiet=True)).facts["verdict"]
    monkeypatch.setattr("simhand_cli.pretrain.run_notes._LEARNED", 0.0)
    told = pretrain(config, Console(quiet=True)).facts
    assert ("verdict" in told) == (told["positives that are the nearest"] == 0)


@pytest.mark.parametrize(("max_steps", "told"), [(100, False), (400, False), (401, True)])
def test_more_steps_than_the_epochs_have_are_told(max_steps, told):
    given = {"batch_size": 10, "epochs": 20, "max_steps": max_steps, "method": "peclr"}
    plan = make_plan(settle(PretrainConfig(**given)), 200, 1)
    assert plan.total_steps == min(max_steps, 400)
    assert ("which end after 400 steps: see --epochs" in plan.warning) == told


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({}, True),
        ({"method": "handclr"}, True),
        ({"method": "peclr"}, False),
        ({"init": "weights.pth"}, False),
        ({"epochs": 10_000}, False),
    ],
)
def test_short_runs_from_random_weights_are_warned_of(given, warned):
    plan = make_plan(settle(PretrainConfig(**{"batch_size": 10, "epochs": 20, **given})), 200, 1)
    assert ("from random weights" in plan.warning) == warned
