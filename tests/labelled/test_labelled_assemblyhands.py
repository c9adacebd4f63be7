"""AssemblyHands' reader on a miniature set written in the published layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_assemblyhands import CAMERAS, FRAMES, SEQUENCES, camera_pose, file_name, project, write_mini
from mini_two_hands import OURS

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks import check_labels
from simhand_cli.labelled.details import label_details
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.sample import NoSuchSplit


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


def test_a_left_hand_is_mirrored_onto_its_picture(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    val = open_labelled(tmp_path, "val")
    tip, lefts = OURS.index("index4"), [k for k in range(len(val)) if val[k].hand == "left"]
    assert lefts
    for index in lefts:
        right = val[index].as_right()
        x, y = np.round(right.joints_px[tip]).astype(int)
        assert right.image_rgb[y, x].min() > 200, "the dot drawn at the left index finger's tip"
        projected = right.joints_mm @ right.intrinsics.T
        np.testing.assert_allclose(projected[tip, :2] / projected[tip, 2], right.joints_px[tip])


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


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("ego_data", '"frame_idx": 8', '"frame": 8', r"images\[0\] has no frame_idx"),
        ("ego_data", '"image_id": 1', '"image_id": 99', r"a picture that it does not list \(picture 9900,right\)"),
        ("ego_data", '"joint_valid": [1, ', '"joint_valid": [', r"annotations\[0\] is damaged"),
        ("ego_calib", '"00', '"99', "no camera pose for ego_images_rectified/val/"),
        ("ego_calib", '"intrinsics"', '"intrinsic"', "no intrinsics for ego_images_rectified/val/"),
        ("ego_calib", "[[150.0, 0.0, 98.0], ", "[", "HMC_21176875_mono10bit is not 3 x 3 numbers"),
        ("joint_3d", '"world_coord"', '"coord"', "000008 is not 42 x 3 numbers"),
        ("joint_3d", "]", "", r"no JSON near character [0-9,]+: truncated or damaged"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path: Path, kind: str, old: str, new: str, message: str) -> None:
    write_mini(tmp_path, "val")
    path = tmp_path / "annotations" / "val" / f"assemblyhands_val_{kind}_v1-1.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputProblem, match=message) as raised:
        open_labelled(tmp_path, "val")
    assert "assemblyhands_val_" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "old", "new", "count", "why"),
    [
        ("ego_data", '"image_id": 100', '"image_id": 99', 2, "its picture is not listed"),
        ("ego_data", '"frame_idx": 1030', '"frame_idx": 1032', 3, "no 3D joints"),
        ("ego_calib", '"000008"', '"000009"', 3, "no camera pose"),
        ("joint_3d", '"001030": {\n    "world_coord"', '"001030": {\n    "coord"', 3, "001030 is not 42 x 3 numbers"),
    ],
)
def test_damaged_entries_cost_their_own_hands(
    tmp_path: Path, kind: str, old: str, new: str, count: int, why: str
) -> None:
    write_mini(tmp_path, "val")
    whole = {sample.sample_id for sample in map(open_labelled(tmp_path, "val").__getitem__, range(6))}
    path = tmp_path / "annotations" / "val" / f"assemblyhands_val_{kind}_v1-1.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    val = open_labelled(tmp_path, "val")
    (left,) = val.left_out()
    assert (len(val), left.count, why in left.why) == (6 - count, count, True)
    kept = {val[k].sample_id for k in range(len(val))}
    if why == "its picture is not listed":
        assert left.names == ["picture 99,right", "picture 99,left"]
    else:
        assert kept | set(left.names) == whole
    assert len(whole - kept) == count


def test_the_stated_size_of_pictures_is_known(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    assert label_details(open_labelled(tmp_path, "val")).size_px.tolist() == [[200, 160]] * 6
    path = tmp_path / "annotations" / "val" / "assemblyhands_val_ego_data_v1-1.json"
    path.write_text(path.read_text().replace('"width": 200, ', "", 1))
    sizes = label_details(open_labelled(tmp_path, "val")).size_px.tolist()
    assert sorted(sizes) == [[0, 0]] * 2 + [[200, 160]] * 4


def test_a_nan_with_a_valid_flag_is_a_damaged_label(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    path = tmp_path / "annotations" / "val" / "assemblyhands_val_joint_3d_v1-1.json"
    data = json.loads(path.read_text())
    data["annotations"][SEQUENCES["val"][0]]["000008"]["world_coord"][20][1] = float("nan")
    path.write_text(json.dumps(data))
    val = open_labelled(tmp_path, "val")
    assert val.joints()[1][:, 0].all(), "the right wrist is said to be valid"
    assert check_labels(val, tmp_path).dropped[0].why == "a joint label is NaN or infinite"


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    with pytest.raises(NoSuchSplit, match="annotations/train is missing"):
        open_labelled(tmp_path, "train")
    (tmp_path / "annotations" / "val" / "assemblyhands_val_joint_3d_v1-1.json").unlink()
    with pytest.raises(InputProblem, match=r"assemblyhands_val_joint_3d_v1-1\.json is missing"):
        open_labelled(tmp_path, "val")
