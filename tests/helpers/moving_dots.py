"""Hands of 21 coloured dots on black: a finder and a poser can read the truth back from the picture alone."""

from dataclasses import dataclass

import cv2
import numpy as np

from simhand_cli.video.decode import Frame

_LEVELS = (0, 85, 170, 255)
_BRIGHT = [(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS if max(r, g, b) == 255]
#: 21 colours, each with a channel at 255: darker pixels are edges of dots.
COLOURS = np.array(_BRIGHT[:21], dtype=np.float64)


def hand_points(center, size=110.0, seed=5):
    """(21, 2) a lopsided hand-like pattern whose dots do not touch."""
    rng = np.random.default_rng(seed)
    grid = np.array([(x, y) for x in range(5) for y in range(5)][:21], dtype=np.float64)
    points = (grid / 4 - 0.5) * size + rng.uniform(-4, 4, (21, 2))
    return points + np.asarray(center, dtype=np.float64)


def picture(hands, size_wh=(320, 240)):
    image = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    for points in hands:
        for (x, y), colour in zip(points, COLOURS, strict=True):
            cv2.circle(image, (round(x * 16), round(y * 16)), 5 * 16, colour.tolist(), -1, cv2.LINE_8, 4)
    return image


def find_dots(image):
    """(21, 2) centres of the dots, NaN for those that are not there."""
    flat = image.reshape(-1, 3).astype(np.float64)
    rows, columns = np.divmod(np.arange(len(flat)), image.shape[1])
    distance = np.linalg.norm(flat[:, None] - COLOURS[None], axis=-1)
    nearest = np.where((flat.max(axis=1) > 215) & (distance.min(axis=1) < 42), distance.argmin(axis=1), -1)
    points = np.full((21, 2), np.nan)
    for j in range(21):
        if (nearest == j).any():
            points[j] = columns[nearest == j].mean(), rows[nearest == j].mean()
    return points


@dataclass
class Hit:
    landmarks_px: np.ndarray
    handedness: str = "right"
    score: float = 0.9

    @property
    def world_mm(self):
        return np.column_stack([self.landmarks_px, np.arange(21.0)])


class ScriptedFinder:
    """Gives the scripted hits of each frame; counts how often it was asked."""

    def __init__(self, script):
        self.script = script
        self.asked = []

    def detect(self, image_rgb, timestamp_s=None):
        index = round(timestamp_s * 30)
        self.asked.append(index)
        return self.script(index)


class DotPoser:
    """Reads the dots from the crop; its 3D joints lie along +x."""

    input_px, crop_scale = 192, 1.6

    def __init__(self):
        self.batches = []

    def poses(self, crops_rgb):
        self.batches.append(len(crops_rgb))
        joints_mm = np.zeros((len(crops_rgb), 21, 3))
        joints_mm[:, :, 0] = np.arange(21) * 8.0
        return np.stack([find_dots(crop) for crop in crops_rgb]), joints_mm


def frames(centers_by_frame):
    """Frames at 30 fps with a hand of dots at each of a frame's centres."""
    for index, centers in enumerate(centers_by_frame):
        yield Frame(picture([hand_points(c) for c in centers]), index / 30, index)
