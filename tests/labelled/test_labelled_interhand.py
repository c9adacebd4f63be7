"""InterHand2.6M's reader on a miniature set written in the published layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_interhand import CAMERAS, SEQUENCE, annotation_file, camera_place, file_name, project, write_mini
from mini_two_hands import OURS

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import label_details
from simhand_cli.labelled.open import open_labelled, recognise


@pytest.mark.parametrize("nested", [False, True])
def test_every_hand_carries_its_own_joints_before_its_own_camera(tmp_path: Path, nested: bool) -> None:
    world = write_mini(tmp_path, "train", nested=nested)
    assert recognise(tmp_path) == "interhand"
    train = open_labelled(tmp_path, "train")
    # Of both captures: a right hand and a left hand in two pictures each, both hands in one, the right one in another.
    assert len(train) == 2 * (2 + 2 + 2 + 1)
    assert not train.problems()
    assert check_labels(train, tmp_path).usable.all()
    joints, joint_valid = train.joints()
    seen = set()
    for index in range(len(train)):
        sample = train[index]
        name, side = sample.sample_id.split(",")
        capture, frame = int(name.split("/")[0].removeprefix("Capture")), int(Path(name).stem.removeprefix("image"))
        assert name == file_name(capture, sample.camera, frame)
        assert (sample.hand, sample.subject) == (side, f"subject{capture + 3}")
        assert sample.sequence == f"Capture{capture}/{SEQUENCE}"
        seen.add((capture, frame, sample.camera, side))
        place = camera_place(capture, CAMERAS.index(sample.camera))
        outside = {(6, "right"): "thumb4", (9, "left"): "thumb4", (12, "right"): "index4"}.get((frame, side))
        for j, joint in enumerate(OURS):
            assert sample.joint_valid[j] == joint_valid[index, j] == (joint != outside)
            if joint != outside:
                expected_mm, expected_px = project(world[capture, frame][side][joint], place)
                np.testing.assert_allclose(sample.joints_mm[j], expected_mm, atol=1e-3)
                np.testing.assert_allclose(sample.joints_px[j], expected_px, atol=1e-3)
        np.testing.assert_allclose(joints[index], sample.joints_mm, rtol=1e-6)
    assert len(seen) == len(train)
    assert {(c, k) for _, f, c, k in seen if f == 12} == {
        (CAMERAS[0], "right"), (CAMERAS[0], "left"), (CAMERAS[1], "right"),
    }  # fmt: skip
    assert list(train.subjects) == [train[k].subject for k in range(len(train))]
    assert list(train.sequences) == [train[k].sequence for k in range(len(train))]


def test_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_mini(tmp_path, split)
    wrists = [open_labelled(tmp_path, split).joints()[0][0, 0, 0] for split in ("train", "val", "test")]
    assert wrists[0] != wrists[1]
    with pytest.raises(InputProblem, match="splits 'train', 'val' and 'test', not 'all'"):
        open_labelled(tmp_path, "all")


def test_missing_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    write_mini(tmp_path, "train")
    gone = file_name(13, CAMERAS[0], 12)
    (tmp_path / "images" / "train" / gone).unlink()
    train = open_labelled(tmp_path, "train")
    assert len(train) == 14 - 2
    (missing,) = train.problems()
    assert (missing.count, missing.why, gone in missing.what) == (2, "picture is missing", True)


def test_portrait_and_landscape_pictures_are_both_used(tmp_path: Path) -> None:
    """Captures of InterHand2.6M have pictures of different shapes; each states its own."""
    write_mini(tmp_path, "val")
    path = annotation_file(tmp_path, "val", "data")
    data = json.loads(path.read_text())
    for entry in data["images"][6:]:
        entry["width"], entry["height"] = 90, 70
    path.write_text(json.dumps(data))
    val = open_labelled(tmp_path, "val")
    sizes = label_details(val).size_px
    assert {tuple(size) for size in sizes[:7].tolist()} == {(200, 160)}
    assert {tuple(size) for size in sizes[7:].tolist()} == {(90, 70)}
