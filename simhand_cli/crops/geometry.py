"""Square crops of frames as exact affine maps.

Convention (the whole package): pixel coordinates are pixel *centres*, so pixel (column, row) = (0, 0) has
its centre at (0.0, 0.0) and an image of width W spans [-0.5, W - 0.5]. Affine maps are (2, 3) float64
matrices ``A`` acting on column vectors: ``y = A[:, :2] @ x + A[:, 2]``.
"""

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]


def square_crop(center_px: NDArray[np.floating], side_px: float, size_px: int, mirrored: bool = False) -> Affine:
    """Affine map from crop pixels to frame pixels for a square region.

    Args:
        center_px: (2,) centre of the square in the frame, pixel centres.
        side_px: side of the square in frame pixels, > 0.
        size_px: side of the crop image in pixels, > 0.
        mirrored: the crop is the left-right mirror image of the region.

    Returns:
        ``frame_from_crop`` (2, 3): frame coordinates of a crop coordinate.
    """
    if side_px <= 0 or size_px <= 0:
        raise ValueError(f"square_crop needs positive sizes, got side {side_px} and crop {size_px}")
    scale = side_px / size_px
    # The crop's centre, at pixel-centre coordinate (size - 1) / 2, lies on center_px.
    middle = (size_px - 1) / 2
    # Mirroring is part of the map, so keypoints and pictures cannot disagree about it.
    x_scale = -scale if mirrored else scale
    cx, cy = float(center_px[0]), float(center_px[1])
    return np.array([[x_scale, 0.0, cx - x_scale * middle], [0.0, scale, cy - scale * middle]])


def invert_affine(affine: Affine) -> Affine:
    """Inverse of a (2, 3) affine map, or of a stack (..., 2, 3)."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], axis=-1)


def compose_affine(outer: Affine, inner: Affine) -> Affine:
    """The map x -> outer(inner(x)) of two (..., 2, 3) affine maps."""
    linear = outer[..., :2] @ inner[..., :2]
    return np.concatenate([linear, outer[..., :2] @ inner[..., 2:] + outer[..., 2:]], axis=-1)


def apply_affine(affine: Affine, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map points (..., P, 2) by an affine (..., 2, 3); returns (..., P, 2) float64."""
    points = np.asarray(points_px, dtype=np.float64)
    return points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def square_around(points_px: NDArray[np.floating], scale: float) -> tuple[NDArray[np.float64], float]:
    """Centre (2,) and side of the square of ``scale`` times the larger extent of points (P, 2), in pixels."""
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    # Points in one place still get a square, since a map of side 0 has no inverse.
    side = float(max((high - low).max(), 1.0)) * scale
    return np.asarray((low + high) / 2, dtype=np.float64), side


def inside_frame(frame_from_crop: Affine, size_px: int, frame_wh: tuple[int, int]) -> NDArray[np.float32]:
    """The part of a crop that shows the frame, as ``xyxy`` in crop pixels (edges at half-integers).

    Returns:
        (4,) float32 box ``x0, y0, x1, y1`` clipped to the crop's span [-0.5, size - 0.5]; the rest of the crop is
        padding. An empty overlap gives x1 <= x0 or y1 <= y0.
    """
    width, height = frame_wh
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    # Least and greatest afterwards: mirroring exchanges the corners.
    in_crop = apply_affine(invert_affine(frame_from_crop), corners)
    low, high = in_crop.min(axis=0), in_crop.max(axis=0)
    limit = size_px - 0.5
    return np.concatenate([np.clip(low, -0.5, limit), np.clip(high, -0.5, limit)]).astype(np.float32)


def warp_crop(frame: NDArray[np.uint8], frame_from_crop: Affine, size_px: int) -> NDArray[np.uint8]:
    """Draw the crop (size, size, 3) of a frame (H, W, 3); outside the frame is black.

    Shrinking averages over the source area first, so that thin fingers do not alias.
    """
    import cv2

    source: NDArray[np.uint8] = frame
    shrink = float(np.abs(np.linalg.det(frame_from_crop[:, :2]))) ** 0.5
    # Bilinear sampling sees 2 x 2 pixels: up to about 1.5 that misses nothing, beyond it fingers would break up.
    if shrink > 1.5:
        height, width = frame.shape[:2]
        small_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        source = np.asarray(cv2.resize(frame, small_wh, interpolation=cv2.INTER_AREA), np.uint8)
        sx, sy = small_wh[0] / width, small_wh[1] / height
        # Pixel centres: x becomes (x + 0.5) * s - 0.5.
        small_from_frame = np.array([[sx, 0.0, (sx - 1) / 2], [0.0, sy, (sy - 1) / 2]])
        frame_from_crop = compose_affine(small_from_frame, frame_from_crop)
    warped = cv2.warpAffine(
        source,
        frame_from_crop,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(warped, np.uint8)


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes (4,) ``xyxy`` in the same pixels; 0 where both are empty."""
    both = float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / union if union > 0 else 0.0
