"""A run whose features have all become the same is told of, once."""

from collections import deque

import pytest

from simhand_cli.console import Console, Ticker
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.plan import make_plan
from simhand_cli.pretrain.trainer import LaunchedStep, _Report


class _Log:
    def write(self, step, values):
        pass


class _Numbers:
    """What a step brings back from the device."""

    def __init__(self, similarity):
        self._similarity = similarity

    def read(self):
        return {
            "stop": 0.0,
            "save": 0.0,
            "bad": 0.0,
            "loss": 1.0,
            "grad_norm": 1.0,
            "negative_similarity": self._similarity,
        }


def warned(similarities, capsys):
    plan = make_plan(PretrainConfig(batch_size=8, epochs=100), 80, 1)
    assert plan.warmup_steps == 100
    report = _Report(plan, _Log(), Ticker(), Console())
    report.settle(deque(LaunchedStep(n, 0.1, True, _Numbers(s)) for n, s in enumerate(similarities, 1)))
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_collapse_after_the_warm_up_is_told_once(capsys):
    (line,) = warned([1.0] * 300, capsys)
    assert "after step 120 all hands have nearly the same features (similarity 1.000)" in line


@pytest.mark.parametrize("similarities", [[1.0] * 119, ([0.2] * 100) + ([1.0] * 19 + [0.9]) * 10])
def test_less_is_not(similarities, capsys):
    assert warned(similarities, capsys) == []
