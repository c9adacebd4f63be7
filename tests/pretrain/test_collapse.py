"""A run whose features have all become the same is told of, once."""

import pytest

from simhand_cli.console import Console
from simhand_cli.pretrain.task import CollapseWatch


def warned(similarities, capsys):
    watch, console = CollapseWatch(warmup_steps=100), Console()
    for step, similarity in enumerate(similarities, 1):
        watch.look(step, similarity, console)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_collapse_after_the_warm_up_is_told_once(capsys):
    (line,) = warned([1.0] * 300, capsys)
    assert "after step 120 all hands have nearly the same features (similarity 1.000)" in line


@pytest.mark.parametrize("similarities", [[1.0] * 119, ([0.2] * 100) + ([1.0] * 19 + [0.9]) * 10])
def test_less_is_not(similarities, capsys):
    assert warned(similarities, capsys) == []
