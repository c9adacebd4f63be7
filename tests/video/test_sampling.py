"""Sampling by time, against a slow reference."""

from fractions import Fraction
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simhand_cli.video.sampling import sample_by_time


def slow_reference(times_ms: list[int], fps: Fraction) -> list[int]:
    """The nearest frame of every k / fps up to the last frame, in exact arithmetic; the earlier one of a tie."""
    step_ms = 1000 / fps
    chosen = set()
    k = 0
    while k * step_ms <= times_ms[-1]:
        distances = [abs(t - k * step_ms) for t in times_ms]
        best = distances.index(min(distances))
        if distances[best] <= step_ms / 2:
            chosen.add(best)
        k += 1
    return sorted(chosen)


@given(
    st.lists(st.integers(1, 400), min_size=0, max_size=60),
    st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(2), Fraction(5), Fraction(30)]),
)
def test_equals_the_slow_reference(gaps_ms: list[int], fps: Fraction) -> None:
    times_ms = [0, *accumulate(gaps_ms)]
    assert sample_by_time(np.array(times_ms) / 1000, float(fps)).tolist() == slow_reference(times_ms, fps)


def test_one_fps_is_one_frame_a_second_at_any_rate() -> None:
    for rate in (5.0, 24.0, 25.0, 29.97, 30.0, 60.0):
        times = np.arange(round(rate * 10)) / rate
        sampled = times[sample_by_time(times, 1.0)]
        np.testing.assert_allclose(sampled, np.arange(len(sampled)), atol=0.5 / rate)
        assert len(sampled) == 10


def test_more_fps_than_there_are_takes_every_frame_once() -> None:
    times = np.arange(7) / 5.0
    assert sample_by_time(times, 100.0).tolist() == list(range(7))


def test_a_gap_yields_nothing_made_up() -> None:
    times = np.array([0.0, 1.0, 2.0, 8.0, 9.0])
    assert sample_by_time(times, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert sample_by_time(np.zeros(0), 1.0).tolist() == []
