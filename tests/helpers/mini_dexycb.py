"""A miniature DexYCB in the published layout, for tests: every sequence folder is there, so image ids are official."""

from pathlib import Path

import cv2
import numpy as np
import yaml
from mini_freihand import random_hand_mm

from simhand_cli.labelled.readers.dexycb_frames import SERIALS, SUBJECTS

WIDTH_PX, HEIGHT_PX = 64, 48
K = np.array([[120.0, 0.0, 31.0], [0.0, 121.0, 23.5], [0.0, 0.0, 1.0]])
NO_HAND = np.full((21, 3), -1.0)


def write_val(folder: Path, seed: int = 0) -> dict[int, np.ndarray]:
    """The s0 validation split: people 0 and 1, every fifth of 100 sequences, 8 cameras, one or two frames.

    Every third sequence shows a left hand; every eleventh frame shows none.

    Returns:
        image id -> joints (21, 3) in metres, -1 where there is no hand.
    """
    rng = np.random.default_rng(seed)
    labels: dict[int, np.ndarray] = {}
    _, grey = cv2.imencode(".jpg", np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8))
    for person in (0, 1):
        for index in range(100):
            sequence = folder / SUBJECTS[person] / f"20200709_14{index:04d}"
            sequence.mkdir(parents=True)
            if index % 5 != 4:
                continue
            frames = 1 + (index % 25 == 4)
            side = "left" if index % 3 == 0 else "right"
            meta = {"num_frames": frames, "mano_sides": [side], "ycb_ids": [1], "mano_calib": ["x"]}
            (sequence / "meta.yml").write_text(yaml.safe_dump(meta))
            for serial in SERIALS:
                place = sequence / serial
                place.mkdir()
                for frame in range(frames):
                    number = len(labels)
                    hand_m = random_hand_mm(rng) / 1000 * ([-1, 1, 1] if side == "left" else [1, 1, 1])
                    joints = NO_HAND if number % 11 == 7 else hand_m
                    labels[number] = joints.astype(np.float32)
                    np.savez(place / f"labels_{frame:06d}.npz", joint_3d=labels[number][None])
                    (place / f"color_{frame:06d}.jpg").write_bytes(grey.tobytes())
    intrinsics = folder / "calibration" / "intrinsics"
    intrinsics.mkdir(parents=True)
    for serial in SERIALS:
        content = {"color": {"fx": K[0, 0], "fy": K[1, 1], "ppx": K[0, 2], "ppy": K[1, 2]}}
        (intrinsics / f"{serial}_640x480.yml").write_text(
            yaml.safe_dump({k: {n: float(v) for n, v in c.items()} for k, c in content.items()})
        )
    return labels
