"""What AssemblyHands' and InterHand2.6M's readers have in common, on miniature sets in the published layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mini_assemblyhands
import mini_interhand
import numpy as np
import pytest
from mini_two_hands import OURS

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import NoSuchSplit


@dataclass(frozen=True)
class Mini:
    """A miniature set.

    Attributes:
        write: writes a split into a folder.
        annotation_file: of folder, split and kind.
        dotted: the joint that has a bright dot in the picture.
    """

    write: Callable[..., Any]
    annotation_file: Callable[[Path, str, str], Path]
    dotted: str


MINIS = {
    "assemblyhands": Mini(mini_assemblyhands.write_mini, mini_assemblyhands.annotation_file, "index4"),
    "interhand": Mini(mini_interhand.write_mini, mini_interhand.annotation_file, "middle1"),
}


@pytest.mark.parametrize("name", MINIS)
def test_a_left_hand_is_mirrored_onto_its_picture(tmp_path: Path, name: str) -> None:
    MINIS[name].write(tmp_path, "val")
    val = open_labelled(tmp_path, "val")
    joint, lefts = OURS.index(MINIS[name].dotted), [k for k in range(len(val)) if val[k].hand == "left"]
    assert lefts
    for index in lefts:
        right = val[index].as_right()
        x, y = np.round(right.joints_px[joint]).astype(int)
        assert right.image_rgb[y, x].min() > 200, "the dot drawn at this joint of the left hand"
        projected = right.joints_mm @ right.intrinsics.T
        np.testing.assert_allclose(projected[joint, :2] / projected[joint, 2], right.joints_px[joint])


@pytest.mark.parametrize(
    ("name", "kind", "old", "new", "message"),
    [
        ("assemblyhands", "ego_data", '"frame_idx": 8', '"frame": 8', r"images\[0\] has no frame_idx"),
        ("assemblyhands", "ego_data", '"image_id": 1', '"image_id": 99', r"does not list \(picture 9900,right\)"),
        ("assemblyhands", "ego_data", '"joint_valid": [1, ', '"joint_valid": [', r"annotations\[0\] is damaged"),
        ("assemblyhands", "ego_calib", '"00', '"99', "no camera pose for ego_images_rectified/val/"),
        ("assemblyhands", "ego_calib", '"intrinsics"', '"intrinsic"', "no intrinsics for ego_images_rectified/val/"),
        ("assemblyhands", "ego_calib", "[[150.0, 0.0, 98.0], ", "[", "HMC_21176875_mono10bit is not 3 x 3 numbers"),
        ("assemblyhands", "joint_3d", '"world_coord"', '"coord"', "000008 is not 42 x 3 numbers"),
        ("assemblyhands", "joint_3d", "]", "", r"no JSON near character [0-9,]+: truncated or damaged"),
        ("interhand", "data", '"hand_type": "left"', '"hand_type": "both"', r"\[2\] is damaged: hand_type is 'both'"),
        ("interhand", "data", '"subject"', '"person"', r"images\[0\] has no subject"),
        ("interhand", "data", '"camera": "4', '"camera": "5', r"no camera pose for Capture0/0266_dh_pray/cam400262"),
        ("interhand", "camera", '"campos"', '"position"', "camera 0/400262 has no campos"),
        ("interhand", "camera", "[160.0, 161.0]", "[160.0]", "camera 0/400262 is damaged"),
        ("interhand", "data", '"capture": ', '"capture": 7', "no 3D joints for Capture0/.*/cam400262/image6.jpg"),
        ("interhand", "joint_3d", '"world_coord": [[', '"world_coord": [[], [', "0/6 is not 42 x 3 numbers"),
        ("interhand", "joint_3d", "}}}", "}}} }", "no JSON near character"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path: Path, name: str, kind: str, old: str, new: str, message: str) -> None:
    MINIS[name].write(tmp_path, "val")
    path = MINIS[name].annotation_file(tmp_path, "val", kind)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputProblem, match=message) as raised:
        open_labelled(tmp_path, "val")
    assert path.name.removesuffix(path.name.split("_val_")[1]) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "kind", "old", "new", "times", "count", "why"),
    [
        ("assemblyhands", "ego_data", '"image_id": 100', '"image_id": 99', -1, 2, "its picture is not listed"),
        ("assemblyhands", "ego_data", '"frame_idx": 1030', '"frame_idx": 1032', -1, 3, "no 3D joints"),
        ("assemblyhands", "ego_calib", '"000008"', '"000009"', -1, 3, "no camera pose"),
        ("assemblyhands", "joint_3d", '"001030": {\n    "world_', '"001030": {\n    "', -1, 3, "001030 is not 42 x 3"),
        ("interhand", "data", '"camera": "410001"', '"camera": "410002"', -1, 6, "no camera pose"),
        ("interhand", "joint_3d", '"12"', '"11"', -1, 6, "no 3D joints"),
        ("interhand", "camera", "[160.0, 161.0]", "[160.0]", 1, 4, "camera 0/400262 is damaged"),
        ("interhand", "joint_3d", '"world_coord": [[', '"world_coord": [[], [', 1, 2, "0/6 is not 42 x 3 numbers"),
    ],
)
def test_damaged_entries_cost_their_own_hands(
    tmp_path: Path, name: str, kind: str, old: str, new: str, times: int, count: int, why: str
) -> None:
    MINIS[name].write(tmp_path, "val")
    before = open_labelled(tmp_path, "val")
    whole = {before[k].sample_id for k in range(len(before))}
    path = MINIS[name].annotation_file(tmp_path, "val", kind)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, times))
    val = open_labelled(tmp_path, "val")
    (left,) = val.left_out()
    assert (len(val), left.count, why in left.why) == (len(before) - count, count, True)
    kept = {val[k].sample_id for k in range(len(val))}
    if why == "its picture is not listed":
        assert left.names == ["picture 99,right", "picture 99,left"]
    else:
        assert kept | set(left.names) == whole
    assert len(whole - kept) == count


@pytest.mark.parametrize("name", MINIS)
def test_a_missing_annotation_file_is_named(tmp_path: Path, name: str) -> None:
    MINIS[name].write(tmp_path, "val")
    with pytest.raises(NoSuchSplit, match="annotations/train is missing"):
        open_labelled(tmp_path, "train")
    path = MINIS[name].annotation_file(tmp_path, "val", "joint_3d")
    path.unlink()
    with pytest.raises(InputProblem, match=f"{path.name} is missing"):
        open_labelled(tmp_path, "val")
