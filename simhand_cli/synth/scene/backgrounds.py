"""Pictures behind the hand: panoramas, sharp procedural clutter, plain walls."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.scene.panorama import Panorama, look

Floats = NDArray[np.float32]
Backdrop = Literal["panorama", "photo", "clutter", "plain"]


def panorama_view(
    scene: Panorama,
    world_from_camera: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    yaw: float,
    size_wh: tuple[int, int],
) -> Floats:
    """The panorama as a camera sees it, (H, W, 3) linear.

    A panorama's pixel is many of the picture's; it is drawn out of focus, so that its pixels do not show as squares.
    """
    import cv2

    out = np.empty((size_wh[1], size_wh[0], 3), np.float32)
    look(scene.radiance, world_from_camera.astype(np.float32), intrinsics.astype(np.float32), yaw, out)
    # Picture pixels a panorama pixel covers: focal length in pixels over panorama pixels a radian.
    enlarged = float(intrinsics[0, 0]) * 2 * np.pi / scene.radiance.shape[1]
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.45 * enlarged), np.float32) if enlarged > 1.2 else out


def clutter(rng: np.random.Generator, size_wh: tuple[int, int], palette: Floats) -> Floats:
    """A sharp picture of overlapping things: shapes of all sizes, textured and shaded, nearest last ("dead leaves").

    Args:
        rng: source of chance.
        size_wh: size in pixels.
        palette: (P, 3) linear colours to choose from.

    Returns:
        (H, W, 3) linear.
    """
    import cv2

    width, height = size_wh
    side = max(width, height)
    picture = _texture(rng, size_wh, _colour(rng, palette))
    for _ in range(int(rng.integers(5, 28))):
        # A heavy tail, as natural scenes have it: many small things and a few that fill the picture.
        radius = side * 0.09 * (rng.pareto(1.7) + 0.5)
        if radius > side:
            continue
        centre = rng.uniform([-0.1 * width, -0.1 * height], [1.1 * width, 1.1 * height])
        mask = np.zeros((height, width), np.uint8)
        kind = rng.random()
        if kind < 0.35:
            axes = (int(radius) + 1, int(radius * rng.uniform(0.2, 1)) + 1)
            cv2.ellipse(
                mask, (int(centre[0]), int(centre[1])), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA
            )
        else:
            corners = 4 if kind < 0.8 else int(rng.integers(3, 8))
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners != 4 else np.deg2rad([35, 145, 215, 325])
            stretch = np.array([1.0, rng.uniform(0.1, 1)]) if corners == 4 else np.ones(2)
            shape = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius * stretch
            tilt = rng.uniform(0, np.pi) if rng.random() < 0.5 else 0.0
            turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
            # Sixteenths of a pixel (4 bits), so that edges are anti-aliased at their true place.
            cv2.fillPoly(mask, [np.round((shape @ turn.T + centre) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        box = cv2.boundingRect(mask)
        if box[2] == 0:
            continue
        # Only the shape's own box is painted: most shapes are small, and texture costs by the pixel.
        x, y, w, h = box
        alpha = mask[y : y + h, x : x + w, None].astype(np.float32) / 255
        inside = _texture(rng, (w, h), _colour(rng, palette))
        picture[y : y + h, x : x + w] = picture[y : y + h, x : x + w] * (1 - alpha) + inside * alpha
    # Often sharp: before busy sharp backgrounds detectors do worst, and panoramas have none.
    defocus = float(rng.choice([0.0, 0.0, 0.6, 1.5, 4.0])) * side / 256
    if defocus:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), defocus), np.float32)
    return np.ascontiguousarray(picture, np.float32)


def plain(rng: np.random.Generator, size_wh: tuple[int, int], palette: Floats) -> Floats:
    """A wall: one colour, uneven light, faint grain; (H, W, 3) linear."""
    return _texture(rng, size_wh, _colour(rng, palette), calm=True)


def _colour(rng: np.random.Generator, palette: Floats) -> Floats:
    if rng.random() < 0.6:
        return np.asarray(palette[rng.integers(len(palette))] * rng.uniform(0.4, 1.4), np.float32)
    grey = rng.uniform(0.03, 0.8)
    return (grey * np.exp(rng.normal(0, 0.35, 3))).astype(np.float32)


def _texture(rng: np.random.Generator, size_wh: tuple[int, int], colour: Floats, calm: bool = False) -> Floats:
    """A patch of one material (H, W, 3): gradient, and stripes, blotches or grain of random scale and contrast."""
    import cv2

    width, height = size_wh
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = rng.normal(0, 0.25, 2).astype(np.float32)
    shade = 1 + slope[0] * x + slope[1] * y
    kind = 1.0 if calm else rng.random()
    if kind < 0.25:
        period, angle = rng.uniform(3, 30), rng.uniform(0, np.pi)
        phase = (x * width * np.cos(angle) + y * height * np.sin(angle)) * (np.pi / period)
        shade = shade * (1 + rng.uniform(0.1, 0.6) * np.sign(np.sin(phase, dtype=np.float32)))
    if kind > 0.15:
        cells = max(2, int(max(size_wh) / rng.uniform(3, 40)))
        coarse = rng.standard_normal((cells, cells), dtype=np.float32)
        blotches = cv2.resize(coarse, size_wh, None, 0, 0, cv2.INTER_CUBIC)
        shade = shade * np.exp((0.05 if calm else rng.uniform(0.03, 0.35)) * blotches)
    tint = np.maximum(shade, 0.05)[..., None] * colour
    return np.asarray(tint, np.float32)
