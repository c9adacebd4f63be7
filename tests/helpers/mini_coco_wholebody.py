"""A miniature COCO-WholeBody in its published layout (data_format.md of jin-s13/COCO-WholeBody)."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from memory_set import SIZE_PX, K, posed_hands

#: Names of the 21 values of a hand's keypoints, in the file's order.
NAMES = ["wrist"] + [f"{finger}{k}" for finger in ("thumb", "index", "middle", "ring", "pinky") for k in (1, 2, 3, 4)]


@dataclass
class Hand:
    """One hand as it was meant: pixels by joint name, and the names that carry a label."""

    px: dict[str, tuple[float, float]]
    labelled: set[str]


def write_mini(folder: Path, split: str, people: int = 12, seed: int = 0) -> dict[tuple[str, int, str], Hand]:
    """Pictures of two people each; the second has a left hand only, whose little finger is not labelled.

    Returns:
        (file name, annotation, side) -> hand, of all valid hands.
    """
    joints, right = posed_hands(3 * people, seed=100 + seed)
    hands = {side: joints[right == (side == "right")] for side in ("right", "left")}
    images, annotations, truth = [], [], {}
    for p in range(people):
        name, picture = f"{397000 + 7 * (p // 2):012d}.jpg", 397000 + 7 * (p // 2)
        if p % 2 == 0:
            images.append({
                "license": 4, "file_name": name, "height": SIZE_PX[1], "width": SIZE_PX[0], "id": picture,
                "coco_url": f"http://images.cocodataset.org/{split}2017/{name}", "date_captured": "2013-11-14 17:02:52",
            })  # fmt: skip
            canvas = np.full((SIZE_PX[1], SIZE_PX[0], 3), 20, np.uint8)
        person = {
            "segmentation": [[10.5, 20.0, 30.0, 40.5]], "num_keypoints": 0, "area": 1.5, "iscrowd": 0,
            "keypoints": [0] * 51, "image_id": picture, "bbox": [1.0, 2.0, 3.0, 4.0], "category_id": 1, "id": 900 + p,
            "face_box": [0.0] * 4, "face_kpts": [0.0] * 204, "face_valid": False, "foot_kpts": [0.0] * 18,
            "foot_valid": False,
        }  # fmt: skip
        for side in ("left", "right"):
            valid = side == "left" or p % 2 == 0
            kpts, box = [0.0] * 63, [0.0] * 4
            if valid:
                point = hands[side][p % len(hands[side])]
                px = np.array([[K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]] for x, y, z in point])
                unlabelled = {f"pinky{k}" for k in (1, 2, 3, 4)} if p % 2 else set()
                kpts, kept = [], []
                for joint, (x, y) in zip(NAMES, px.tolist(), strict=True):
                    # Some keypoints have a fraction as visibility; more than 0 is reliable.
                    v = 0.0 if joint in unlabelled else (0.14 if joint == "thumb1" else 1.0)
                    kpts += [x, y, v] if v else [0.0, 0.0, 0.0]
                    kept += [(x, y)] if v else []
                low, high = np.min(kept, axis=0), np.max(kept, axis=0)
                box = [*low.tolist(), *(high - low).tolist()]
                named = {joint: (float(x), float(y)) for joint, (x, y) in zip(NAMES, px, strict=True)}
                truth[name, person["id"], side] = Hand(named, set(NAMES) - unlabelled)
                x, y = np.round(px[NAMES.index("middle1")]).astype(int)
                canvas[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 250
            person |= {f"{side}hand_box": box, f"{side}hand_kpts": kpts, f"{side}hand_valid": valid}
        annotations.append(person)
        (folder / f"{split}2017").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{split}2017" / name), canvas, [cv2.IMWRITE_JPEG_QUALITY, 100])
    crowd = {**annotations[0], "id": 99, "iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [2, 2]}}
    (folder / "annotations").mkdir(exist_ok=True)
    document = {"info": {"version": "1.0"}, "licenses": [], "images": images, "annotations": [*annotations, crowd]}
    annotation_file(folder, split).write_text(json.dumps({**document, "categories": [{"id": 1, "name": "person"}]}))
    return truth


def annotation_file(folder: Path, split: str) -> Path:
    """Where the annotations of a split are published."""
    return folder / "annotations" / f"coco_wholebody_{split}_v1.0.json"
