"""The time of a whole batch's step from shorter ones, against steps whose time is known."""

import pytest

from simhand_cli.training.step.step_time import step_seconds


def measured(fixed_s, each_s):
    sizes = []

    def measure(count):
        sizes.append(count)
        return fixed_s + each_s * count

    return measure, sizes


def test_a_whole_batch_is_measured_where_that_takes_seconds():
    measure, sizes = measured(0.1, 0.01)
    assert step_seconds(measure, 8, 64) == (pytest.approx(0.74), 64)
    assert sizes == [8, 64]


def test_a_small_batch_is_measured_once():
    measure, sizes = measured(0.1, 0.01)
    assert step_seconds(measure, 8, 8) == (pytest.approx(0.18), 8)
    assert sizes == [8]


@pytest.mark.parametrize(("fixed_s", "each_s"), [(2.0, 0.05), (0.0, 1.0), (3.0, 0.0)])
def test_a_long_step_follows_the_line_through_two_sizes(fixed_s, each_s):
    """Eight items alone would tell (fixed + 8 each) x wanted / 8, many times too much where most of it is fixed."""
    measure, sizes = measured(fixed_s, each_s)
    seconds, images = step_seconds(measure, 8, 5000)
    assert seconds == pytest.approx(fixed_s + 5000 * each_s)
    assert sizes == [8, images]
    assert 16 <= images < 5000


def test_noise_does_not_make_a_step_faster_than_what_was_measured():
    times = iter([1.0, 0.9])
    seconds, images = step_seconds(lambda count: next(times), 8, 800)
    assert (seconds, images) == (0.9, 32)
