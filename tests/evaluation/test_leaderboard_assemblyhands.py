"""AssemblyHands' file: views merged in the world, scored by an independent scorer; and what is filled in."""

import json

import numpy as np
import pytest
from known_errors import KnownErrors
from leaderboard_scorers import score_world_coord
from mini_assemblyhands import SEQUENCES, write_mini
from mini_two_hands import PUBLISHED

from simhand_cli.errors import UsageProblem
from simhand_cli.evaluation.leaderboard.files import check_leaderboard
from simhand_cli.evaluation.leaderboard.fused_views import fuse_views
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.readers.two_hands import Views

FILE = "assemblyhands_val_joint_3d_v1-1_pred.json"
(SEQUENCE,) = SEQUENCES["val"]
BOTH = {"right": [1] * 21, "left": [1] * 21}


def annotation(data, kind):
    return data / "annotations" / "val" / f"assemblyhands_val_{kind}_v1-1.json"


def score(summary, data, **how):
    return score_world_coord(summary.outputs[FILE], annotation(data, "joint_3d"), annotation(data, "ego_data"), **how)


def frames_of(path):
    return json.loads(path.read_text())["annotations"][SEQUENCE]


@pytest.mark.slow
def test_one_view_a_frame_scores_as_we_do(tmp_path, measure):
    """With one camera a frame nothing is merged, and turning a hand into the world changes no error."""
    frames = (8, 11, 30, 1030)
    write_mini(tmp_path, "val", frames=frames, sees=lambda frame, c: BOTH if c == frame % 2 else {})
    summary, figures = measure(tmp_path, "val", KnownErrors(open_labelled(tmp_path, "val")))
    assert summary.facts[f"{FILE} for assemblyhands/val"] == (
        "8 hands of 4 frames, 8 predicted; a mean of 1.0 cameras a hand"
    )
    # Labels are read as float32: a few 1e-5 mm.
    assert score(summary, tmp_path) == pytest.approx(figures["root", "mpjpe"], abs=1e-4)
    assert score(summary, tmp_path, relative=False) == pytest.approx(figures["absolute", "mpjpe"], abs=1e-4)
    assert abs(figures["root", "mpjpe"] - figures["absolute", "mpjpe"]) > 1
    assert figures["root", "mpjpe"] > 5


def test_two_cameras_by_hand():
    """A camera along the world's axes, and one that looks along the world's x from 500 mm before its origin."""
    turned = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    poses = np.array([np.eye(3, 4), np.column_stack([turned, [0, 0, 500]])], float)
    views = Views(np.array([1, 1]), np.array([1, 1]), poses)
    relative = np.full((2, 21, 3), 7.0)  # an arbitrary common origin
    relative[0, 8] += [30, 0, 0]
    relative[1, 8] += [0, 0, 50]
    wrist = np.array([[10, 20, 602], [-600, 20, 514]])  # in the world (10, 20, 602) and (14, 20, 600)
    camera = relative - relative[:, :1] + wrist[:, None]
    fused = fuse_views(views, relative, camera, 3)
    assert fused.views.tolist() == fused.placed.tolist() == [[0, 0], [0, 2], [0, 0]]
    np.testing.assert_allclose(fused.world_mm[1, 1, 0], [12, 20, 601])
    np.testing.assert_allclose(fused.world_mm[1, 1, 8], [52, 20, 601])
    assert not fused.world_mm[[0, 2]].any()
    camera[1] = np.nan
    fused = fuse_views(views, relative, camera, 3)
    assert (fused.views[1, 1], fused.placed[1, 1]) == (2, 1)
    np.testing.assert_allclose(fused.world_mm[1, 1, 8], [10 + 40, 20, 602])


@pytest.mark.slow
def test_true_predictions_are_the_published_labels(tmp_path, measure):
    """Also by name; and a hand or frame without a box is blank, as the challenge asks for."""
    sees = {(8, 0): BOTH, (8, 1): BOTH, (9, 1): {"right": [1] * 21}, (1030, 0): {"left": [1] * 21}}
    world = write_mini(tmp_path, "val", frames=(8, 9, 77, 1030), sees=lambda frame, c: sees.get((frame, c), {}))
    summary, _ = measure(tmp_path, "val", KnownErrors(open_labelled(tmp_path, "val"), noise_mm=0.0))
    found = frames_of(summary.outputs[FILE])
    assert list(found) == ["000008", "000009", "000077", "001030"]
    seen = {8: ("right", "left"), 9: ("right",), 77: (), 1030: ("left",)}
    for frame, sides in seen.items():
        entry = found[f"{frame:06d}"]
        assert list(entry) == ["world_coord", "joint_valid"]
        for first, side in ((0, "right"), (21, "left")):
            rows = np.array(entry["world_coord"])[first : first + 21]
            assert entry["joint_valid"][first : first + 21] == [int(side in sides)] * 21
            hand = world[SEQUENCE, frame][side]
            expected = [hand[name] for name in PUBLISHED] if side in sides else np.zeros((21, 3))
            np.testing.assert_allclose(rows, expected, atol=1e-3)
    assert score(summary, tmp_path, relative=False) < 1e-3
    assert summary.facts[f"{FILE} for assemblyhands/val"] == (
        "8 hands of 4 frames, 4 predicted, 4 with no box in any picture (ignored by the scorer); "
        "a mean of 1.5 cameras a hand"
    )


@pytest.mark.slow
def test_merging_two_views_lowers_independent_errors(tmp_path, measure):
    frames = tuple(range(10, 22))
    write_mini(tmp_path, "val", frames=frames, sees=lambda *_: BOTH)
    summary, figures = measure(tmp_path, "val", KnownErrors(open_labelled(tmp_path, "val")))
    ratio = score(summary, tmp_path) / figures["root", "mpjpe"]
    assert ratio == pytest.approx(1 / np.sqrt(2), abs=0.05)


@pytest.mark.slow
def test_hands_without_a_prediction_or_a_place_are_filled_and_counted(tmp_path, measure):
    world = write_mini(tmp_path, "val", sees=lambda *_: BOTH)
    labelled = open_labelled(tmp_path, "val")
    # Right and left before the first camera, then before the second: 0-3 in the first frame, 4-7 in the second.
    assert [labelled[k].hand for k in range(4)] == ["right", "left"] * 2
    known = KnownErrors(labelled, noise_mm=0.0, blind=[1, 4, 6], flat=[2, 5, 7])
    summary, figures = measure(tmp_path, "val", known)
    assert summary.facts[f"{FILE} for assemblyhands/val"] == (
        "4 hands of 2 frames, 2 predicted, 1 not placed (wrist at the origin), 1 without a prediction (zeros); "
        "a mean of 1.7 cameras a hand"
    )
    first, second = (frames_of(summary.outputs[FILE])[name] for name in ("000008", "001030"))
    expected = [world[SEQUENCE, 8][side][name] for side in ("right", "left") for name in PUBLISHED]
    np.testing.assert_allclose(first["world_coord"], expected, atol=1e-3)
    assert not np.any(second["world_coord"][:21])
    assert second["joint_valid"] == [0] * 21 + [1] * 21
    left = world[SEQUENCE, 1030]["left"]
    np.testing.assert_allclose(
        second["world_coord"][21:], [left[name] - left["wrist"] for name in PUBLISHED], atol=1e-3
    )
    # Our mean leaves out what was not found; the file's zeros are errors as large as the hand.
    assert figures["root", "mpjpe"] < 1e-3
    assert score(summary, tmp_path) > 10


@pytest.mark.slow
def test_pictures_that_are_missing_are_counted(tmp_path, measure):
    write_mini(tmp_path, "val", sees=lambda *_: BOTH)
    next((tmp_path / "images").rglob("000008.jpg")).unlink()
    summary, _ = measure(tmp_path, "val", KnownErrors(open_labelled(tmp_path, "val"), noise_mm=0.0))
    assert summary.facts[f"{FILE} for assemblyhands/val"] == (
        "4 hands of 2 frames, 4 predicted; a mean of 1.5 cameras a hand; 2 hands of pictures were left out on opening"
    )


@pytest.mark.slow
def test_hands_of_left_out_pictures_are_missing_not_blank(tmp_path, measure):
    """The scorer counts a hand that some picture has a box of, whether we could read that picture or not."""
    both_right = {(8, 0): BOTH, (8, 1): {"right": [1] * 21}, (1030, 0): BOTH, (1030, 1): BOTH}
    write_mini(tmp_path, "val", frames=(8, 77, 1030), sees=lambda frame, c: both_right.get((frame, c), {}))
    for picture in (tmp_path / "images").rglob("001030.jpg"):
        picture.unlink()
    summary, figures = measure(tmp_path, "val", KnownErrors(open_labelled(tmp_path, "val"), noise_mm=0.0))
    assert summary.facts[f"{FILE} for assemblyhands/val"] == (
        "6 hands of 3 frames, 2 predicted, 2 without a prediction (zeros), "
        "2 with no box in any picture (ignored by the scorer); a mean of 1.5 cameras a hand; "
        "4 hands of pictures were left out on opening"
    )
    assert figures["root", "mpjpe"] < 1e-3
    assert score(summary, tmp_path) > 10


def test_interhand_has_no_such_file(tmp_path):
    write_mini(tmp_path, "val")
    labelled = open_labelled(tmp_path, "val")
    assert check_leaderboard([labelled], [tmp_path], None) == [labelled]
    labelled.name = "interhand"
    with pytest.raises(UsageProblem, match=r"interhand/val has no such file; .* AssemblyHands do"):
        check_leaderboard([labelled], [tmp_path], None)
