"""Bootstrap intervals and the placement of hands before the camera."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhand_cli.metrics.absolute_position import place_in_camera
from simhand_cli.metrics.bootstrap import intervals_95, resampling


def test_interval_equals_a_loop_over_the_same_draws():
    rng = np.random.default_rng(1)
    values, valid = rng.gamma(2.0, 5.0, (40, 21)), rng.random((40, 21)) > 0.1
    labels = [f"s{i % 13}" for i in range(40)]
    how = resampling(labels, "sequence", repeats=50, seed=4)
    (interval,) = intervals_95([(values, valid)], how)
    picks = np.random.default_rng(4).integers(0, 13, size=(50, 13))
    figures = []
    for draw in picks:
        rows = np.concatenate([np.flatnonzero(how.group == g) for g in draw])
        per_joint = [values[rows, j][valid[rows, j]].mean() for j in range(21) if valid[rows, j].any()]
        figures.append(np.mean(per_joint))
    np.testing.assert_allclose(interval, np.percentile(figures, [2.5, 97.5]), atol=1e-9)


def test_interval_covers_the_truth_and_narrows_with_more_samples():
    rng = np.random.default_rng(0)

    def width(count):
        values = rng.normal(10, 3, (count, 1)).repeat(21, axis=1)
        how = resampling([str(i) for i in range(count)], "sequence", 400, 0)
        ((low, high),) = intervals_95([(values, np.ones((count, 21), dtype=bool))], how)
        assert low < values.mean() < high
        return high - low

    # The standard error of a mean of 100 draws with deviation 3 is 0.3: about 1.18 mm wide.
    assert width(100) == pytest.approx(2 * 1.96 * 0.3, rel=0.35)
    assert width(1600) < 0.5 * width(100)


def test_frames_of_one_sequence_widen_the_interval():
    rng = np.random.default_rng(0)
    offsets = rng.normal(10, 3, 20)
    values = offsets.repeat(50)[:, None].repeat(21, axis=1)
    valid = np.ones_like(values, dtype=bool)
    by_sequence = resampling([str(i) for i in np.arange(20).repeat(50)], "sequence", 300, 0)
    by_sample = resampling([str(i) for i in range(1000)], "sample", 300, 0)
    widths = [high - low for how in (by_sequence, by_sample) for low, high in intervals_95([(values, valid)], how)]
    assert widths[0] > 4 * widths[1]


def test_few_groups_fall_back_to_samples_and_say_so():
    how = resampling(["one"] * 30, "subject", 10, 0)
    assert how.describe() == {"level": 0.95, "drawn": "sample", "groups": 30, "repeats": 10, "seed": 0}


def test_nothing_valid_gives_nan_and_same_seed_the_same_interval():
    values = np.random.default_rng(0).random((12, 21))
    how = resampling([str(i) for i in range(12)], "sequence", 20, 7)
    none, first = intervals_95([(values, np.zeros((12, 21), dtype=bool)), (values, np.ones((12, 21), dtype=bool))], how)
    assert np.isnan(none).all()
    (again,) = intervals_95([(values, np.ones((12, 21), dtype=bool))], how)
    assert first == again


def scene(seed, count=3):
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, 40, (count, 21, 3)) + rng.normal([0, 0, 700], [120, 120, 80], (count, 1, 3))
    k = np.zeros((count, 3, 3))
    k[:, 0, 0], k[:, 1, 1] = rng.uniform(200, 900, (2, count))
    k[:, 0, 1] = rng.uniform(-3, 3, count)
    k[:, :2, 2] = rng.uniform(80, 300, (count, 2))
    k[:, 2, 2] = 1
    projected = joints @ np.swapaxes(k, 1, 2)
    return joints, projected[..., :2] / projected[..., 2:], k


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 20))
def test_exact_data_gives_the_exact_place(seed, root):
    joints, pixels, k = scene(seed)
    placed = place_in_camera(joints - joints[:, root : root + 1], pixels, k)
    assert placed.determined.all()
    np.testing.assert_allclose(placed.joints_mm, joints, atol=1e-6)
    weight = np.random.default_rng(seed).uniform(0.1, 1, joints.shape[:2])
    np.testing.assert_allclose(
        place_in_camera(joints - joints.mean(1, keepdims=True), pixels, k, weight).joints_mm, joints, atol=1e-6
    )


def test_a_joint_of_weight_zero_has_no_say():
    joints, pixels, k = scene(3)
    pixels[:, 4] += 100
    weight = np.ones(joints.shape[:2])
    weight[:, 4] = 0
    np.testing.assert_allclose(place_in_camera(joints, pixels, k, weight).joints_mm, joints, atol=1e-6)
    assert np.abs(place_in_camera(joints, pixels, k).joints_mm - joints).max() > 1


def test_least_squares_is_least():
    """Against numpy's solver on the stacked system, with noise on the pixels."""
    joints, pixels, k = scene(5, count=1)
    pixels += np.random.default_rng(0).normal(0, 3, pixels.shape)
    relative = joints - joints[:, :1]
    rays = np.concatenate([pixels[0], np.ones((21, 1))], axis=1) @ np.linalg.inv(k[0]).T
    rows, right = [], []
    for j in range(21):
        for axis in range(2):
            row = np.zeros(3)
            row[axis], row[2] = 1, -rays[j, axis]
            rows.append(row)
            right.append(rays[j, axis] * relative[0, j, 2] - relative[0, j, axis])
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    np.testing.assert_allclose(place_in_camera(relative, pixels, k).joints_mm[0, 0], expected, atol=1e-7)


def test_undetermined_hands_are_flagged():
    joints, pixels, k = scene(1)
    collapsed = pixels.copy()
    collapsed[0] = 100.0
    joints = joints - joints[:, :1]
    collapsed[1, 3] = np.nan
    placed = place_in_camera(joints, collapsed, k)
    assert placed.determined.tolist() == [False, False, True]
    assert np.isnan(placed.joints_mm[:2]).all()
    # The image of a hand turned inside out lies behind the camera.
    behind = place_in_camera(-joints, pixels, k)
    assert not behind.determined.any()
