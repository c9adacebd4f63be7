"""A miniature FreiHAND in the published layout, with drawn skeletons as images, for tests."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from simhand_cli.skeleton import BONES

IMAGE_PX = 224
#: Rest pose of a right hand in mm, seen from the palm side (thumb to the right, fingers up, y down).
_FINGER_BASE = {1: (25, -25), 5: (28, -85), 9: (5, -92), 13: (-15, -86), 17: (-33, -75)}
_FINGER_DIRECTION = {1: (0.7, -0.7), 5: (0.2, -1), 9: (0, -1), 13: (-0.12, -1), 17: (-0.25, -1)}
_SEGMENTS = {1: (38, 30, 26), 5: (42, 25, 22), 9: (46, 28, 23), 13: (42, 27, 22), 17: (34, 21, 19)}
_COLOURS = [(220, 220, 220), (230, 60, 60), (60, 230, 60), (70, 90, 240), (230, 220, 60), (220, 60, 220)]


def random_hand_mm(rng: np.random.Generator) -> NDArray[np.float64]:
    """A hand with random finger curls, turned and placed before the camera, (21, 3) mm."""
    joints = np.zeros((21, 3))
    for base, start in _FINGER_BASE.items():
        point = np.array([*start, 0.0])
        direction = np.array([*_FINGER_DIRECTION[base], 0.0])
        direction /= np.linalg.norm(direction)
        curl = rng.uniform(0.0, 1.2)
        joints[base] = point
        for step, length in enumerate(_SEGMENTS[base], start=1):
            angle = curl * step / 1.5
            # Fingers curl to the palm, which faces the camera: to smaller z.
            bent = direction * np.cos(angle) + np.array([0.0, 0.0, -1.0]) * np.sin(angle)
            point = point + bent * length
            joints[base + step] = point
    rotation, _ = cv2.Rodrigues(rng.normal(0, 0.35, 3))
    joints = (joints - joints.mean(axis=0)) @ rotation.T * rng.uniform(0.9, 1.1)
    return joints + np.array([rng.uniform(-20, 20), rng.uniform(-20, 20), rng.uniform(520, 640)])


def draw_hand(joints_px: NDArray[np.float64], background: int) -> NDArray[np.uint8]:
    """The hand as thick coloured bones on a plain background, RGB."""
    image = np.full((IMAGE_PX, IMAGE_PX, 3), background, np.uint8)
    for parent, child in BONES:
        ends = [tuple(int(v) for v in np.round(joints_px[j] * 16)) for j in (parent, child)]
        cv2.line(image, ends[0], ends[1], _COLOURS[(child - 1) // 4 + 1], 7, cv2.LINE_AA, shift=4)
    return image


def write_mini_freihand(path: Path, hands: int = 5, test_hands: int = 3, seed: int = 0) -> dict[str, NDArray]:
    """Write ``hands`` labelled hands before four backgrounds and ``test_hands`` evaluation images.

    Returns:
        ``xyz`` (hands, 21, 3) m, ``K`` (hands, 3, 3), ``test_xyz``, ``test_K``.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray] = {}
    for prefix, count, key in (("training", hands, ""), ("evaluation", test_hands, "test_")):
        xyz = np.stack([random_hand_mm(rng) / 1000.0 for _ in range(count)])
        intrinsics = np.tile(np.array([[480.0, 0, 111.5], [0, 482.0, 112.0], [0, 0, 1]]), (count, 1, 1))
        made[f"{key}xyz"], made[f"{key}K"] = xyz, intrinsics
        _write_labels(path, prefix, xyz, intrinsics, rng)
        rgb = path / prefix / "rgb"
        rgb.mkdir(parents=True)
        for variant in range(4 if prefix == "training" else 1):
            for i in range(count):
                projected = xyz[i] @ intrinsics[i].T
                image = draw_hand(projected[:, :2] / projected[:, 2:], 20 + 40 * variant)
                name = f"{variant * count + i:08d}.jpg"
                cv2.imwrite(str(rgb / name), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
                if prefix == "training" and variant == 0:
                    (path / "training" / "mask").mkdir(exist_ok=True)
                    mask = np.where(image.max(axis=2) > 60, 255, 0).astype(np.uint8)
                    cv2.imwrite(str(path / "training" / "mask" / name), mask)
    return made


def _write_labels(path: Path, prefix: str, xyz: NDArray, intrinsics: NDArray, rng: np.random.Generator) -> None:
    path.mkdir(parents=True, exist_ok=True)
    count = len(xyz)
    labels = {
        "K": intrinsics.tolist(),
        "xyz": xyz.tolist(),
        "scale": np.linalg.norm(xyz[:, 9] - xyz[:, 10], axis=1).tolist(),
        "mano": rng.normal(size=(count, 1, 61)).tolist(),
        "verts": rng.normal(size=(count, 778, 3)).tolist(),
    }
    for kind, values in labels.items():
        (path / f"{prefix}_{kind}.json").write_text(json.dumps(values))
