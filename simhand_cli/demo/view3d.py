"""A small 3D view of hands, drawn with OpenCV lines: fast enough for every frame."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.report.draw import joint_colour
from simhand_cli.skeleton import BONES, NUM_JOINTS

Rgb = tuple[int, int, int]
Floats = NDArray[np.float64]

_MIDDLE_RAD: Final = np.deg2rad(38.0)
_SWAY_RAD: Final = np.deg2rad(34.0)
_SWAY_PERIOD_S: Final = 7.0
_PITCH_RAD: Final = np.deg2rad(18.0)
#: Radius of what a view shows, mm, and the virtual camera's distance.
_REACH_MM: Final = 112.0
_CAMERA_MM: Final = 620.0
_BACKGROUND: Final[Rgb] = (18, 20, 26)
_GRID: Final[Rgb] = (58, 64, 76)
_GRID_LINES: Final = 5
_SHIFT: Final = 4  # fractional bits of cv2's fixed-point coordinates


def sway(time_s: float) -> float:
    """Angle of the view about the vertical at a time, radians.

    It swings slowly to one side of the camera's own view, which the overlay shows already: depth shows in motion.
    """
    return float(_MIDDLE_RAD + _SWAY_RAD * np.sin(2 * np.pi * time_s / _SWAY_PERIOD_S))


def draw_hand_3d(joints_mm: NDArray[np.floating], size_px: int, yaw_rad: float) -> NDArray[np.uint8]:
    """Draw one hand in 3D over a floor grid.

    Args:
        joints_mm: (21, 3) joints, camera axes (x right, y down, z forward), any origin.
        size_px: side of the picture.
        yaw_rad: angle of the view about the vertical; 0 looks as the camera did.

    Returns:
        (size, size, 3) uint8.
    """
    import cv2

    # Drawn at twice the size: thin lines stay smooth and even.
    canvas = np.full((2 * size_px, 2 * size_px, 3), _BACKGROUND, dtype=np.uint8)
    joints = np.asarray(joints_mm, dtype=np.float64)
    if np.isfinite(joints).all():
        centred = joints - (joints.min(axis=0) + joints.max(axis=0)) / 2
        radius = float(np.linalg.norm(centred, axis=1).max())
        # Hands of any size (a child's, a wrong prediction) fit the view; ordinary ones keep their true size.
        centred *= min(1.0, 0.95 * _REACH_MM / max(radius, 1e-9))
        _draw_floor(canvas, yaw_rad)
        _draw_bones(canvas, *_project(centred, yaw_rad, canvas.shape[0]))
    return np.asarray(cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _project(points_mm: Floats, yaw_rad: float, side_px: int) -> tuple[Floats, Floats]:
    """Pixels (P, 2) and nearness (P,) in [0, 1] of points around the origin."""
    cy, sy, cp, sp = np.cos(yaw_rad), np.sin(yaw_rad), np.cos(_PITCH_RAD), np.sin(_PITCH_RAD)
    turn = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    # Seen from a little above, so that the floor shows as an area.
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    seen = points_mm @ (tilt @ turn).T
    depth = np.maximum(seen[:, 2] + _CAMERA_MM, 1.0)
    focal = 0.5 * side_px * _CAMERA_MM / (1.12 * _REACH_MM)
    pixels = seen[:, :2] / depth[:, None] * focal + side_px / 2
    nearness: Floats = np.clip(0.5 - seen[:, 2] / (2 * _REACH_MM), 0.0, 1.0)
    return pixels, nearness


def _draw_floor(canvas: NDArray[np.uint8], yaw_rad: float) -> None:
    import cv2

    at = np.linspace(-_REACH_MM, _REACH_MM, _GRID_LINES) * 0.8
    low, high = at[0], at[-1]
    floor = 0.86 * _REACH_MM
    ends = [((x, floor, low), (x, floor, high)) for x in at] + [((low, floor, z), (high, floor, z)) for z in at]
    pixels, _ = _project(np.array(ends).reshape(-1, 3), yaw_rad, canvas.shape[0])
    for start, end in _fixed(pixels).reshape(-1, 2, 2).tolist():
        cv2.line(canvas, start, end, _GRID, 2, cv2.LINE_AA, _SHIFT)


def _draw_bones(canvas: NDArray[np.uint8], pixels: Floats, nearness: Floats) -> None:
    """Bones and joints from far to near; far ones are darker and thinner."""
    import cv2

    fixed = _fixed(pixels).tolist()
    unit = canvas.shape[0] / 100
    strokes: list[tuple[float, int, int]] = [((nearness[a] + nearness[b]) / 2, a, b) for a, b in BONES]
    # A hair nearer than the bones that end there, so that joints are drawn over them.
    strokes += [(nearness[j] + 0.01, j, j) for j in range(NUM_JOINTS)]
    # Painter's order: no depth buffer is needed for lines as thin as these.
    for near, a, b in sorted(strokes):
        shade = 0.6 + 0.4 * near
        colour = tuple(round(c * shade) for c in joint_colour(b))
        if a == b:
            radius = round((1.15 + 0.75 * near) * unit * (1 << _SHIFT))
            cv2.circle(canvas, fixed[a], radius, colour, -1, cv2.LINE_AA, _SHIFT)
        else:
            cv2.line(canvas, fixed[a], fixed[b], colour, max(1, round((1.3 + 0.9 * near) * unit)), cv2.LINE_AA, _SHIFT)


def _fixed(pixels: Floats) -> NDArray[np.int64]:
    # Far-away points would overflow cv2's 32-bit fixed point.
    return np.round(np.clip(pixels, -1e4, 1e4) * (1 << _SHIFT)).astype(np.int64)
