"""TempCLR's positives: hands followed by overlap."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_workspace import TINY, add_tracks, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.crops.geometry import box_iou
from simhand_cli.errors import InputProblem
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.pairs.pair_table import load_pair_table
from simhand_cli.pretrain.pairs.temporal_pairs import next_of_same_hand
from simhand_cli.workspace.paths import Workspace

LEFT, RIGHT = 0, 1


def boxes(*corners):
    return np.array([[x, y, x + 10, y + 10] for x, y in corners], np.float32)


def follow(times, sides, places, gap=2):
    return next_of_same_hand(np.array(times, float), np.array(sides), boxes(*places), gap).tolist()


def test_two_hands_of_one_side_are_told_apart_by_overlap():
    # Two right hands drift to the right; in the second frame their order in the file is swapped.
    assert follow([0, 0, 1, 1], [RIGHT] * 4, [(0, 0), (20, 0), (22, 0), (2, 0)]) == [3, 2, -1, -1]


def test_the_largest_overlap_wins_and_nobody_is_taken_twice():
    # Both overlap with the one hand of the next frame; the nearer one gets it.
    assert follow([0, 0, 1], [RIGHT] * 3, [(0, 0), (4, 0), (5, 0)]) == [-1, 2, -1]


def test_another_side_or_no_overlap_is_another_hand():
    assert follow([0, 1], [RIGHT, LEFT], [(0, 0), (0, 0)]) == [-1, -1]
    assert follow([0, 1], [RIGHT, RIGHT], [(0, 0), (40, 0)]) == [-1, -1]
    # overlap of 1/10 of a box: 10 of 190 square pixels are too little, 30 of 170 are enough
    assert follow([0, 1], [RIGHT, RIGHT], [(0, 0), (9, 0)]) == [-1, -1]
    assert follow([0, 1], [RIGHT, RIGHT], [(0, 0), (7, 0)]) == [1, -1]


@pytest.mark.parametrize(("gap", "found"), [(0, [-1, 2, -1]), (1, [-1, 2, -1]), (2, [1, 2, -1]), (9, [1, 2, -1])])
def test_gaps(gap, found):
    # The hand is missed in two sampled frames after the first; the step is that of the last two.
    assert follow([0.0, 1.5, 2.0], [RIGHT] * 3, [(0, 0), (1, 0), (2, 0)], gap) == found


def test_a_hand_seen_again_is_not_looked_for_behind_the_next_frame():
    # One hand is missed in the second frame, the other is not.
    times, places = [0, 0, 1, 2, 2], [(0, 0), (30, 0), (1, 0), (2, 0), (31, 0)]
    assert follow(times, [RIGHT] * 5, places, gap=1) == [2, 4, 3, -1, -1]


def test_order_of_the_crops_does_not_matter_and_one_frame_has_no_next():
    assert follow([2, 0, 1], [RIGHT] * 3, [(2, 0), (0, 0), (1, 0)]) == [-1, 2, 0]
    assert follow([3, 3], [RIGHT] * 2, [(0, 0), (1, 0)]) == [-1, -1]
    assert next_of_same_hand(np.zeros(0), np.zeros(0, int), np.zeros((0, 4)), 2).tolist() == []


@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 10_000))
@settings(max_examples=60)
def test_followers_come_later_overlap_and_are_unique(crops, gap, seed):
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 12, crops) * 0.2
    sides = rng.integers(0, 2, crops)
    corner = rng.uniform(0, 25, (crops, 2))
    box = np.concatenate([corner, corner + rng.uniform(5, 15, (crops, 2))], axis=1)
    following = next_of_same_hand(times, sides, box, gap)
    found = np.flatnonzero(following >= 0)
    assert len(set(following[found])) == len(found)
    for a in found:
        b = following[a]
        assert sides[a] == sides[b]
        assert times[b] - times[a] > 0
        assert box_iou(box[a], box[b]) >= 0.1


def test_boxes_by_hand():
    a, b = np.array([0.0, 0, 10, 10]), np.array([5.0, 5, 15, 15])
    assert box_iou(a, b) == pytest.approx(25 / 175)
    assert box_iou(a, a) == 1
    assert box_iou(a, a + 20) == 0
    assert box_iou(np.zeros(4), np.zeros(4)) == 0


@pytest.fixture
def followed(tmp_path):
    """A workspace in whose videos one hand drifts; in the last video it jumps after every frame."""
    root = make_workspace(tmp_path / "ws")
    add_tracks(root)
    return Workspace(root)


def test_pairs_of_a_workspace(followed):
    table = load_pair_table(followed, "next-frame")
    rows = np.arange(20)
    expected = rows[rows % 10 < 9]
    np.testing.assert_array_equal(table.anchor, expected)
    np.testing.assert_array_equal(table.positive[:, 0], expected + 1)
    assert table.without_positive == 12


def test_a_run(followed):
    summary = pretrain(PretrainConfig(workspace=followed.root, method="tempclr", **{**TINY, "max_steps": 2}))
    assert summary.facts["pairs"] == 18
    assert summary.dropped[0].count == 12
    assert "not found again" in summary.dropped[0].why


def test_nobody_found_again_is_said(followed):
    for video in range(2):
        with h5py.File(followed.crops_shard(f"{video:016x}"), "a") as file:
            file["handedness"][...] = np.arange(10) % 2
            file["timestamp_s"][...] = 100.0 ** np.arange(10)
    with pytest.raises(InputProblem, match="only 0 of 30 crops"):
        pretrain(PretrainConfig(workspace=followed.root, method="tempclr", **{**TINY, "max_steps": 2}))
