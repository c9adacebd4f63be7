"""When a run writes checkpoints."""

import pytest

from simhand_cli.training.step import save_clock
from simhand_cli.training.step.save_clock import SaveClock


class _Time:
    def __init__(self):
        self.now = 50.0

    def monotonic(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    clock = _Time()
    monkeypatch.setattr(save_clock, "time", clock)
    return clock


def save(clock, time, seconds):
    with clock.saving():
        time.now += seconds


def test_steps_that_were_asked_for_are_due_whatever_they_cost(time):
    clock = SaveClock(every=4, total_steps=10)
    save(clock, time, 1000)
    assert [step for step in range(1, 11) if clock.due(step)] == [4, 8, 10]
    assert not clock.late(4)


def test_by_default_only_the_end_is_due_and_the_rest_goes_by_cost(time):
    clock = SaveClock(every=None, total_steps=10_000)
    assert [step for step in range(1, 10_001) if clock.due(step)] == [10_000]
    time.now += 1
    assert not clock.late(499)
    assert clock.late(500)  # what it costs is not known yet
    save(clock, time, 2)
    time.now += 199
    assert not clock.late(1000)
    time.now += 1.5
    assert not clock.late(1001)
    assert clock.late(1500)


def test_a_slow_run_saves_every_ten_minutes(time):
    for every in (None, 3):
        clock = SaveClock(every, total_steps=10_000)
        time.now += 599
        assert not clock.late(7)
        time.now += 2
        assert clock.late(7)
