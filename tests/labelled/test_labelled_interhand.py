"""InterHand2.6M's reader on a miniature set written in the published layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_two_hands import OURS, Named, published, random_hands, turned, write_picture

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks import check_labels
from simhand_cli.labelled.details import label_details
from simhand_cli.labelled.open import open_labelled, recognise

CAPTURES = (0, 13)
CAMERAS = ("400262", "410001")
#: Frame -> hand type and the place in the list of a joint outside the picture.
FRAMES = {6: ("right", 0), 9: ("left", 21), 12: ("interacting", 4)}
SEQUENCE = "0266_dh_pray"
FOCAL, CENTRE = np.array([160.0, 161.0]), np.array([99.0, 82.0])


def camera_place(capture: int, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and position of a camera in the world."""
    return turned(0.04 * camera + 0.003 * capture), np.array([30.0 * camera, -8.0, 0.5 * capture])


def project(point_mm: np.ndarray, place: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The point before the camera and in the picture: R (x - campos)."""
    turn, position = place
    seen = np.array([sum(turn[row, k] * (point_mm[k] - position[k]) for k in range(3)) for row in range(3)])
    return seen, FOCAL * seen[:2] / seen[2] + CENTRE


def file_name(capture: int, camera: str, frame: int) -> str:
    return f"Capture{capture}/{SEQUENCE}/cam{camera}/image{frame}.jpg"


def write_mini(folder: Path, split: str, *, nested: bool = False) -> dict[tuple[int, int], dict[str, Named]]:
    """Two captures (people 3 and 16), three frames, two cameras; the second sees no left hand of the last frame."""
    rng = np.random.default_rng(len(split))
    world, images, annotations, cameras, joint_3d = {}, [], [], {}, {}
    for capture in CAPTURES:
        places = [camera_place(capture, c) for c in range(2)]
        cameras[str(capture)] = {
            "campos": {name: places[c][1].tolist() for c, name in enumerate(CAMERAS)},
            "camrot": {name: places[c][0].tolist() for c, name in enumerate(CAMERAS)},
            "focal": {name: FOCAL.tolist() for name in CAMERAS},
            "princpt": {name: CENTRE.tolist() for name in CAMERAS},
        }
        joint_3d[str(capture)] = {}
        for frame, (hand_type, outside) in FRAMES.items():
            hands = world[capture, frame] = random_hands(rng)
            joint_3d[str(capture)][str(frame)] = {
                "world_coord": published(hands), "joint_valid": [[1]] * 42, "hand_type": hand_type,
                "hand_type_valid": True, "seq": SEQUENCE,
            }  # fmt: skip
            for c, camera in enumerate(CAMERAS):
                name = file_name(capture, camera, frame)
                dots = [project(hands[side]["middle1"], places[c])[1] for side in ("right", "left")]
                write_picture(folder / "images" / split / name, dots, grey=False)
                images.append({
                    "id": 5000 - len(images), "file_name": name, "width": 200, "height": 160, "capture": capture,
                    "subject": capture + 3, "seq_name": SEQUENCE, "camera": camera, "frame_idx": frame,
                })  # fmt: skip
                valid = [1] * 42
                valid[outside] = 0
                if hand_type != "interacting":
                    for j in range(21) if hand_type == "left" else range(21, 42):
                        valid[j] = 0
                elif c == 1:
                    valid[21:] = [0] * 21
                annotations.append({
                    "id": len(annotations), "image_id": images[-1]["id"], "bbox": [1.0, 2.0, 60.0, 60.0],
                    "joint_valid": [[flag] for flag in valid] if nested else valid, "hand_type": hand_type,
                    "hand_type_valid": 1,
                })  # fmt: skip
    place = folder / "annotations" / split
    place.mkdir(parents=True)
    stem = f"InterHand2.6M_{split}"
    (place / f"{stem}_data.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    (place / f"{stem}_camera.json").write_text(json.dumps(cameras))
    (place / f"{stem}_joint_3d.json").write_text(json.dumps(joint_3d))
    return world


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


def test_a_left_hand_is_mirrored_onto_its_picture(tmp_path: Path) -> None:
    write_mini(tmp_path, "test")
    test = open_labelled(tmp_path, "test")
    knuckle, lefts = OURS.index("middle1"), [k for k in range(len(test)) if test[k].hand == "left"]
    assert lefts
    for index in lefts:
        right = test[index].as_right()
        x, y = np.round(right.joints_px[knuckle]).astype(int)
        assert right.image_rgb[y, x].min() > 200, "the dot drawn at the left middle knuckle"


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


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("data", '"hand_type": "left"', '"hand_type": "both"', r"annotations\[2\] is damaged: hand_type is 'both'"),
        ("data", '"subject"', '"person"', r"images\[0\] has no subject"),
        ("data", '"camera": "4', '"camera": "5', r"no camera pose for Capture0/0266_dh_pray/cam400262"),
        ("camera", '"campos"', '"position"', "camera 0/400262 has no campos"),
        ("camera", "[160.0, 161.0]", "[160.0]", "camera 0/400262 is damaged"),
        ("data", '"capture": ', '"capture": 7', "no 3D joints for Capture0/0266_dh_pray/cam400262/image6.jpg"),
        ("joint_3d", '"world_coord": [[', '"world_coord": [[], [', "0/6 is not 42 x 3 numbers"),
        ("joint_3d", "}}}", "}}} }", "no JSON near character"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path: Path, kind: str, old: str, new: str, message: str) -> None:
    write_mini(tmp_path, "val")
    path = tmp_path / "annotations" / "val" / f"InterHand2.6M_val_{kind}.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputProblem, match=message) as raised:
        open_labelled(tmp_path, "val")
    assert "InterHand2.6M_val_" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "old", "new", "count", "why"),
    [
        ("data", '"camera": "410001"', '"camera": "410002"', 6, "no camera pose"),
        ("joint_3d", '"12"', '"11"', 6, "no 3D joints"),
        ("camera", "[160.0, 161.0]", "[160.0]", 4, "camera 0/400262 is damaged"),
        ("joint_3d", '"world_coord": [[', '"world_coord": [[], [', 2, "0/6 is not 42 x 3 numbers"),
    ],
)
def test_damaged_entries_cost_their_own_hands(
    tmp_path: Path, kind: str, old: str, new: str, count: int, why: str
) -> None:
    write_mini(tmp_path, "val")
    path = tmp_path / "annotations" / "val" / f"InterHand2.6M_val_{kind}.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1 if count in (4, 2) else -1))
    val = open_labelled(tmp_path, "val")
    (left,) = val.left_out()
    assert (len(val), left.count, why in left.why) == (14 - count, count, True)
    assert not {val[k].sample_id for k in range(len(val))} & set(left.names)


def test_portrait_and_landscape_pictures_are_both_used(tmp_path: Path) -> None:
    """Captures of InterHand2.6M have pictures of different shapes; each states its own."""
    write_mini(tmp_path, "val")
    path = tmp_path / "annotations" / "val" / "InterHand2.6M_val_data.json"
    data = json.loads(path.read_text())
    for entry in data["images"][6:]:
        entry["width"], entry["height"] = 90, 70
    path.write_text(json.dumps(data))
    val = open_labelled(tmp_path, "val")
    sizes = label_details(val).size_px
    assert {tuple(size) for size in sizes[:7].tolist()} == {(200, 160)}
    assert {tuple(size) for size in sizes[7:].tolist()} == {(90, 70)}


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    (tmp_path / "annotations" / "val" / "InterHand2.6M_val_camera.json").unlink()
    with pytest.raises(InputProblem, match=r"InterHand2\.6M_val_camera\.json is missing"):
        open_labelled(tmp_path, "val")
