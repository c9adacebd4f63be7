"""A miniature InterHand2.6M in its published layout."""

import json
from pathlib import Path

import numpy as np
from mini_two_hands import Named, published, random_hands, turned, write_picture

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


def annotation_file(folder: Path, split: str, kind: str) -> Path:
    """Where one of the three annotation files of a split is published."""
    return folder / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json"
