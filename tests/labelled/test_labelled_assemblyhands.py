"""AssemblyHands' reader on a miniature set written in the published layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_assemblyhands import CAMERAS, FRAMES, SEQUENCES, annotation_file, camera_pose, file_name, project, write_mini
from mini_two_hands import OURS

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import label_details
from simhand_cli.labelled.open import open_labelled, recognise


@pytest.mark.parametrize("annotations_first", [False, True])
def test_every_hand_carries_its_own_joints_before_its_own_camera(tmp_path: Path, annotations_first: bool) -> None:
    world = write_mini(tmp_path, "train", annotations_first=annotations_first)
    assert recognise(tmp_path) == "assemblyhands"
    train = open_labelled(tmp_path, "train")
    # Two sequences of two frames before two cameras, of which one sees both hands.
    assert len(train) == 2 * 2 * (2 + 1)
    assert not train.problems()
    assert check_labels(train, tmp_path).usable.all()
    joints, joint_valid = train.joints()
    seen = set()
    for index in range(len(train)):
        sample = train[index]
        name, side = sample.sample_id.split(",")
        frame, camera = int(Path(name).stem), CAMERAS.index(sample.camera)
        assert name == file_name("train", sample.sequence, sample.camera, frame)
        assert sample.hand == side
        seen.add((sample.sequence, frame, camera, side))
        pose = camera_pose(camera, frame)
        for j, joint in enumerate(OURS):
            point = world[sample.sequence, frame][side][joint]
            labelled = not (side == "left" and joint in ("thumb4", "thumb3"))
            assert sample.joint_valid[j] == joint_valid[index, j] == labelled
            if labelled:
                np.testing.assert_allclose(sample.joints_mm[j], pose[:, :3] @ point + pose[:, 3], atol=1e-3)
                np.testing.assert_allclose(sample.joints_px[j], project(point, pose), atol=1e-3)
            else:
                assert np.isnan(sample.joints_mm[j]).all()
        np.testing.assert_allclose(joints[index], sample.joints_mm, rtol=1e-6)
        assert sample.image_rgb.shape == (160, 200, 3)
    assert len(seen) == len(train)
    assert sorted({side for *_, camera, side in seen if camera == 1}) == ["right"]


def test_people_and_recordings(tmp_path: Path) -> None:
    write_mini(tmp_path, "train")
    write_mini(tmp_path, "val")
    train, val = open_labelled(tmp_path, "train"), open_labelled(tmp_path, "val")
    assert dict(zip(train.sequences, train.subjects, strict=True)) == {
        SEQUENCES["train"][0]: "9012",
        SEQUENCES["train"][1]: "unknown",
    }
    assert set(val.subjects) == {val[0].subject} == {"9081"}
    with pytest.raises(InputProblem, match="'test' are not public: use --split val"):
        open_labelled(tmp_path, "test")
    with pytest.raises(InputProblem, match="splits 'train' and 'val', not 'demo'"):
        open_labelled(tmp_path, "demo")


def test_invalid_hands_and_missing_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    (sequence,) = SEQUENCES["val"]
    both = file_name("val", sequence, CAMERAS[0], FRAMES[0])
    lines = [f"{both},1", f"{both[:-5]}9.jpg,0", f"{file_name('val', sequence, CAMERAS[1], FRAMES[1])},0"]
    (tmp_path / "annotations" / "val" / "invalid_val_ego.txt").write_text("\n".join(lines) + "\n")
    gone = file_name("val", sequence, CAMERAS[0], FRAMES[1])
    (tmp_path / "images" / gone).unlink()
    val = open_labelled(tmp_path, "val")
    assert sorted(val[k].sample_id for k in range(len(val))) == sorted(
        [f"{both},right", f"{file_name('val', sequence, CAMERAS[1], FRAMES[0])},right"]
    )
    invalid, missing = val.problems()
    assert (invalid.count, "invalid" in invalid.why, both in invalid.what) == (2, True, True)
    assert (missing.count, missing.why, gone in missing.what) == (2, "picture is missing", True)
    for picture in (tmp_path / "images").rglob("*.jpg"):
        picture.unlink()
    with pytest.raises(InputProblem, match=r"none of the pictures that .*ego_data_v1-1\.json names is there"):
        open_labelled(tmp_path, "val")


def test_the_stated_size_of_pictures_is_known(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    assert label_details(open_labelled(tmp_path, "val")).size_px.tolist() == [[200, 160]] * 6
    path = annotation_file(tmp_path, "val", "ego_data")
    path.write_text(path.read_text().replace('"width": 200, ', "", 1))
    sizes = label_details(open_labelled(tmp_path, "val")).size_px.tolist()
    assert sorted(sizes) == [[0, 0]] * 2 + [[200, 160]] * 4


def test_a_nan_with_a_valid_flag_is_a_damaged_label(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    path = annotation_file(tmp_path, "val", "joint_3d")
    data = json.loads(path.read_text())
    data["annotations"][SEQUENCES["val"][0]]["000008"]["world_coord"][20][1] = float("nan")
    path.write_text(json.dumps(data))
    val = open_labelled(tmp_path, "val")
    assert val.joints()[1][:, 0].all(), "the right wrist is said to be valid"
    assert check_labels(val, tmp_path).dropped[0].why == "a joint label is NaN or infinite"
