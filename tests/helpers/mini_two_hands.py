"""What the miniature sets of two hands share: joints by name, in the published order and in ours; turned cameras."""

from pathlib import Path

import cv2
import numpy as np
from mini_freihand import random_hand_mm

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
#: As the sets' skeleton.txt lists one hand: every finger from its tip (4) to its base (1), then the wrist.
PUBLISHED = [f"{finger}{k}" for finger in FINGERS for k in (4, 3, 2, 1)] + ["wrist"]
#: As docs/conventions.md lists them.
OURS = ["wrist"] + [f"{finger}{k}" for finger in FINGERS for k in (1, 2, 3, 4)]

Named = dict[str, np.ndarray]


def random_hands(rng: np.random.Generator) -> dict[str, Named]:
    """World positions in mm of the joints of a right and a left hand, by side and name."""
    right, left = (random_hand_mm(rng) for _ in range(2))
    places = {"right": right + np.array([70, 0, 0]), "left": left * [-1, 1, 1] - np.array([70, 0, 0])}
    return {side: dict(zip(OURS, joints, strict=True)) for side, joints in places.items()}


def published(hands: dict[str, Named]) -> list[list[float]]:
    """The 42 rows of ``world_coord``."""
    return [hands[side][name].tolist() for side in ("right", "left") for name in PUBLISHED]


def turned(angle: float) -> np.ndarray:
    """A rotation that is not symmetric, so that its transpose would be noticed."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def write_picture(path: Path, dots_px: list[np.ndarray], grey: bool) -> None:
    """A dark picture of 200 x 160 with a bright dot of 3 x 3 at each place."""
    picture = np.full((160, 200), 20, np.uint8)
    for x, y in np.round(dots_px).astype(int):
        picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture if grey else np.stack([picture] * 3, axis=-1), [cv2.IMWRITE_JPEG_QUALITY, 100])
