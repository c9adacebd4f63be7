"""Hand skeletons drawn over images, one colour a finger."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.skeleton import BONES, FINGERS, NUM_JOINTS

Rgb = tuple[int, int, int]

#: One colour a finger; neighbours differ in hue and lightness, so that they stay apart.
FINGER_COLOURS: Final[dict[str, Rgb]] = {
    "thumb": (255, 92, 72),
    "index": (255, 190, 11),
    "middle": (76, 214, 110),
    "ring": (64, 170, 255),
    "little": (222, 112, 255),
}
WRIST_COLOUR: Final[Rgb] = (250, 250, 250)
_CASING: Final[Rgb] = (16, 18, 24)
_HIDDEN_STRENGTH = 0.35
_SHIFT = 4  # cv2 takes fixed-point coordinates with this many fractional bits
_DRAWN_AT_PX = 512  # smaller images are drawn enlarged and averaged down: smooth lines of fractional width


def joint_colour(joint: int) -> Rgb:
    """The colour of one of the 21 joints: its finger's, or white for the wrist."""
    for finger, joints in FINGERS.items():
        if joint in joints:
            return FINGER_COLOURS[finger]
    return WRIST_COLOUR


def draw_skeleton(
    image_rgb: NDArray[np.uint8],
    keypoints_px: NDArray[np.floating],
    *,
    joint_valid: NDArray[np.bool_] | None = None,
    thickness: float | None = None,
) -> NDArray[np.uint8]:
    """Draw the 21 joints and 20 bones over a copy of an image.

    Args:
        image_rgb: (H, W, 3) uint8.
        keypoints_px: (21, 2) x, y in pixel centres; joints with a non-finite coordinate are left out.
        joint_valid: (21,) bool; bones that touch an invalid joint are drawn faint. None: all valid.
        thickness: bone width in pixels; None: a ninetieth of the image's smaller side.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    import cv2

    points = np.asarray(keypoints_px, dtype=np.float64)
    if points.shape != (NUM_JOINTS, 2):
        raise ValueError(f"draw_skeleton needs keypoints of shape (21, 2), got {points.shape}")
    valid = np.ones(NUM_JOINTS, bool) if joint_valid is None else np.asarray(joint_valid, dtype=bool)
    small_side = min(image_rgb.shape[:2])
    factor = max(1, round(_DRAWN_AT_PX / small_side))
    width = max(1, round((thickness or max(1.0, small_side / 90)) * factor))
    drawn: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1), dtype=bool)
    solid = drawn & valid
    # Whole repeats, no interpolation: averaged down again, the picture comes back exactly where nothing is drawn.
    canvas = np.ascontiguousarray(image_rgb.repeat(factor, axis=0).repeat(factor, axis=1))
    # Pixel centres: (x + 0.5) is what scales.
    points = (points + 0.5) * factor - 0.5
    if not solid.all():
        # Faint ones first and blended as a whole: strokes that overlap would add up to solid.
        faint = _strokes(canvas.copy(), points, drawn, drawn & ~valid, width)
        cv2.addWeighted(faint, _HIDDEN_STRENGTH, canvas, 1.0 - _HIDDEN_STRENGTH, 0.0, dst=canvas)
    _strokes(canvas, points, solid, solid, width)
    if factor == 1:
        return canvas
    size = (image_rgb.shape[1], image_rgb.shape[0])
    shrunk: NDArray[np.uint8] = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return shrunk


def _strokes(
    canvas: NDArray[np.uint8],
    points: NDArray[np.float64],
    usable: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    width: int,
) -> NDArray[np.uint8]:
    """Bones between usable joints that touch a wanted one, and the wanted joints, over a dark casing."""
    import cv2

    # Far-away coordinates would overflow cv2's 32-bit fixed point; nothing of them is visible anyway.
    fixed = np.round(np.clip(np.nan_to_num(points), -1e5, 1e5) * (1 << _SHIFT)).astype(int).tolist()
    bones = [(a, b) for a, b in BONES if usable[a] and usable[b] and (wanted[a] or wanted[b])]
    joints = [j for j in range(NUM_JOINTS) if usable[j] and wanted[j]]
    radius = width * 0.85 * (1 << _SHIFT)
    # All casings before all colours, or one bone's outline would cut through the next bone.
    casing = max(1, round(width * 0.45))
    for a, b in bones:
        cv2.line(canvas, fixed[a], fixed[b], _CASING, width + 2 * casing, cv2.LINE_AA, _SHIFT)
    for j in joints:
        cv2.circle(canvas, fixed[j], round(radius) + (casing << _SHIFT), _CASING, -1, cv2.LINE_AA, _SHIFT)
    for a, b in bones:
        cv2.line(canvas, fixed[a], fixed[b], joint_colour(b), width, cv2.LINE_AA, _SHIFT)
    for j in joints:
        cv2.circle(canvas, fixed[j], round(radius), joint_colour(j), -1, cv2.LINE_AA, _SHIFT)
    return canvas
