"""A miniature AssemblyHands in the published layout: two cameras of a headset that moves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mini_two_hands import Named, published, random_hands, turned, write_picture

SEQUENCES = {
    "train": ("nusar-2021_action_both_9012-c07c_9012_user_id_2021-02-01_164345", "a_recording_of_somebody"),
    "val": ("nusar-2021_action_both_9081-c11b_9081_user_id_2021-02-12_161433",),
}
CAMERAS = ("HMC_21176875", "HMC_84346135")
FRAMES = (8, 1030)
#: (frame, number of the camera) -> the hands with a box, and which of their joints are valid; no picture if empty.
Sees = Callable[[int, int], dict[str, list[int]]]
K = np.array([[150.0, 0, 98.0], [0, 152.0, 81.0], [0, 0, 1]])


def camera_pose(camera: int, frame: int) -> np.ndarray:
    """R and t: the headset moves, so every frame has its own."""
    return np.column_stack([turned(0.02 * frame / 1030 + 0.1 * camera - 0.05), [5.0 * camera, -3.0, 0.01 * frame]])


def project(point_mm: np.ndarray, pose: np.ndarray) -> np.ndarray:
    x, y, z = (sum(pose[row, k] * point_mm[k] for k in range(3)) + pose[row, 3] for row in range(3))
    return np.array([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]])


def file_name(split: str, sequence: str, camera: str, frame: int) -> str:
    return f"ego_images_rectified/{split}/{sequence}/{camera}_mono10bit/{frame:06d}.jpg"


def _sees(_frame: int, camera: int) -> dict[str, list[int]]:
    """The second camera sees no left hand, the first half of its thumb (4, 3)."""
    right = {"right": [1] * 21}
    return right if camera else {**right, "left": [0, 0] + [1] * 19}


def write_mini(
    folder: Path, split: str, *, annotations_first: bool = False, frames: Sequence[int] = FRAMES, sees: Sees = _sees
) -> dict[tuple[str, int], dict[str, Named]]:
    """Every sequence, frame and camera, with the joints in the world of every sequence and frame."""
    rng = np.random.default_rng(len(split))
    world, images, annotations, joint_3d, calib = {}, [], [], {}, {}
    for sequence in SEQUENCES[split]:
        calib[sequence] = {"intrinsics": {f"{c}_mono10bit": K.tolist() for c in CAMERAS}, "extrinsics": {}}
        joint_3d[sequence] = {}
        for frame in frames:
            hands = world[sequence, frame] = random_hands(rng)
            joint_3d[sequence][f"{frame:06d}"] = {"world_coord": published(hands), "joint_valid": [1] * 42}
            poses = [camera_pose(c, frame) for c in range(2)]
            named = {f"{c}_mono10bit": pose.tolist() for c, pose in zip(CAMERAS, poses, strict=True)}
            calib[sequence]["extrinsics"][f"{frame:06d}"] = named
            for c, camera in enumerate(CAMERAS):
                seen = sees(frame, c)
                if not seen:
                    continue
                number, name = 100 + 7 * len(images), file_name(split, sequence, camera, frame)
                dots = [project(hands[side]["index4"], poses[c]) for side in ("right", "left")]
                write_picture(folder / "images" / name, dots, grey=c == 0)
                images.append({
                    "id": number, "seq_name": sequence, "camera": camera, "frame_idx": frame, "file_name": name,
                    "width": 200, "height": 160,
                })  # fmt: skip
                boxes = {"right": [1, 2, 90, 95], "left": [3, 4, 80, 85]}
                valid = [flag for side in boxes for flag in seen.get(side, [1] * 21)]
                bbox = {side: box if side in seen else None for side, box in boxes.items()}
                annotations.append({"id": len(annotations), "image_id": number, "bbox": bbox, "joint_valid": valid})
    place = folder / "annotations" / split
    place.mkdir(parents=True)
    lists = {"images": images, "annotations": annotations}
    if annotations_first:
        lists = dict(reversed(lists.items()))
    stem = f"assemblyhands_{split}"
    (place / f"{stem}_ego_data_v1-1.json").write_text(json.dumps({"info": {"version": "v1-1"}, **lists}))
    (place / f"{stem}_joint_3d_v1-1.json").write_text(json.dumps({"annotations": joint_3d}, indent=1))
    (place / f"{stem}_ego_calib_v1-1.json").write_text(json.dumps({"calibration": calib}))
    return world


def annotation_file(folder: Path, split: str, kind: str) -> Path:
    """Where one of the three annotation files of a split is published."""
    return folder / "annotations" / split / f"assemblyhands_{split}_{kind}_v1-1.json"
