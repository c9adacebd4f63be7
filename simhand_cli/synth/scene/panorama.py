"""Light and backgrounds from panoramas (data: assets/PROVENANCE.md).

World frame: y up; the panorama's middle column looks along -z, its columns turn towards +x. Radiance is relative to
each panorama's median.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.assets import asset_path
from simhand_cli.synth.render.jit import kernel

Floats = NDArray[np.float32]
#: One depth map each and frame: more cost time in proportion, fewer show as separate shadows.
NUM_DIRECTIONS: Final = 28
#: Shares of linear red, green and blue in luminance (Rec. 709).
LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)
KEY_THRESHOLD: Final = 6.0  # radiance above it is the key light's, not the sky's


@dataclass(frozen=True)
class Panorama:
    """One surrounding.

    Attributes:
        radiance: (256, 512, 3) linear.
        sky: (NUM_DIRECTIONS, 3) radiance x solid angle from each of :func:`sky_directions`, without the key light.
        small: (16, 32, 3) blurred radiance, for glossy reflections.
        key_direction: (3,) towards the brightest light; ``key_irradiance`` (3,), zero where there is none.
    """

    name: str
    radiance: Floats
    sky: Floats
    small: Floats
    key_direction: Floats
    key_irradiance: Floats


@lru_cache(maxsize=1)
def sky_directions() -> Floats:
    """(NUM_DIRECTIONS, 3) unit directions spread evenly over the sphere (Fibonacci lattice)."""
    index = np.arange(NUM_DIRECTIONS) + 0.5
    height = 1 - 2 * index / NUM_DIRECTIONS
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def panorama_names() -> tuple[str, ...]:
    """Names of the packaged panoramas."""
    with np.load(asset_path("panoramas.npz"), allow_pickle=False) as data:
        return tuple(name for name in data.files if "." not in name and name != "log2_range")


@lru_cache(maxsize=32)
def panorama(name: str) -> Panorama:
    """Decode one packaged panorama (kept for the process, 1.6 MB each)."""
    import cv2

    with np.load(asset_path("panoramas.npz"), allow_pickle=False) as data:
        low, high = data["log2_range"]
        code = np.asarray(cv2.imdecode(data[name], cv2.IMREAD_COLOR_RGB), np.float32)
        key = data[f"{name}.key"]
    # Eight bits over fourteen stops, evenly in the logarithm: steps of 4 %.
    radiance = np.exp2(code / 255 * (high - low) + low).astype(np.float32)
    sky_part = np.minimum(radiance, KEY_THRESHOLD)
    around = np.concatenate([sky_part[:, -64:], sky_part, sky_part[:, :64]], axis=1)  # it closes on itself
    blurred = cv2.GaussianBlur(around, (0, 0), 18)[:, 64:-64]
    small = np.asarray(cv2.resize(blurred, (32, 16), None, 0, 0, cv2.INTER_AREA), np.float32)
    return Panorama(name, radiance, _gather_sky(sky_part), small, key[:3], key[3:])


def _gather_sky(radiance: Floats) -> Floats:
    height, width = radiance.shape[:2]
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    sine = np.sin(theta)[:, None]
    toward = np.stack(
        [sine * np.sin(phi), np.broadcast_to(np.cos(theta)[:, None], (height, width)), -sine * np.cos(phi)], axis=-1
    ).reshape(-1, 3)
    cell = (toward.astype(np.float32) @ sky_directions().T).argmax(axis=1)
    # Rows near the poles cover less of the sphere.
    solid = np.broadcast_to(sine * (np.pi / height) * (2 * np.pi / width), (height, width)).ravel()
    flat = radiance.reshape(-1, 3)
    sums = [np.bincount(cell, weights=flat[:, c] * solid, minlength=NUM_DIRECTIONS) for c in range(3)]
    return np.stack(sums, axis=1).astype(np.float32)


@kernel
def look(radiance: Floats, world_from_camera: Floats, intrinsics: Floats, yaw: float, out: Floats) -> None:
    """Fill ``out`` (H, W, 3) with the panorama as the camera sees it, bilinear; ``yaw`` turns it about the vertical."""
    height, width = radiance.shape[0], radiance.shape[1]
    m = world_from_camera
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            cx = (x - intrinsics[0, 2]) / intrinsics[0, 0]
            cy = (y - intrinsics[1, 2]) / intrinsics[1, 1]
            dx = m[0, 0] * cx + m[0, 1] * cy + m[0, 2]
            dy = m[1, 0] * cx + m[1, 1] * cy + m[1, 2]
            dz = m[2, 0] * cx + m[2, 1] * cy + m[2, 2]
            azimuth = np.arctan2(dx, -dz) + yaw
            u = (azimuth / (2 * np.pi) + 0.5) * width - 0.5
            v = np.arccos(dy / np.sqrt(dx * dx + dy * dy + dz * dz)) / np.pi * height - 0.5
            u0, v0 = int(np.floor(u)), int(np.floor(v))
            fu, fv = u - u0, v - v0
            ua, ub = u0 % width, (u0 + 1) % width
            va, vb = max(v0, 0), min(v0 + 1, height - 1)
            for c in range(3):
                top = radiance[va, ua, c] * (1 - fu) + radiance[va, ub, c] * fu
                bottom = radiance[vb, ua, c] * (1 - fu) + radiance[vb, ub, c] * fu
                out[y, x, c] = top * (1 - fv) + bottom * fv
