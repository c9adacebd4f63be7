"""Derive assets/panoramas.npz (light and backgrounds) from the CC0 HDRIs of the npm package ``@pmndrs/assets`` 1.7.0.

Usage: python tools/build_panoramas.py FOLDER_OF_UNPACKED_PACKAGE [assets/panoramas.npz]

Needs the PyPI package OpenEXR, which simhand itself does not. Each 512 x 256 panorama is stored as a JPEG of its
logarithm (see ``simhand_cli/synth/panorama.py``): eight bits over fourteen stops are enough for light and background.
"""

import base64
import re
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import OpenEXR

LOW, HIGH = -6.0, 8.0  # log2 of radiance relative to the panorama's median that 0 and 255 stand for
QUALITY = 92


LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def decode(script: Path) -> np.ndarray:
    """Radiance (256, 512, 3) float32 of one ``*.exr.js`` file, its broken pixels mended.

    The files' lossy compression rings around lamps (negative values) and overflows in the sun (NaN, or one channel
    only). Overflown pixels become white at their largest channel, negative ones the median of their neighbourhood.
    """
    found = re.search(r"base64,([^'\"]+)", script.read_text())
    if found is None:
        raise SystemExit(f"{script} holds no base64 data")
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(found.group(1)))
        file.flush()
        channels = OpenEXR.File(file.name).channels()
    pixels = channels["RGB"].pixels.astype(np.float32)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=3e4, neginf=0.0)
    largest = pixels.max(axis=2)
    median = np.median(largest)
    overflown = (largest > 50 * median) & (pixels.min(axis=2) < 0.05 * largest)
    pixels[overflown] = largest[overflown][:, None]
    smooth = np.stack([cv2.medianBlur(np.ascontiguousarray(pixels[..., c]), 5) for c in range(3)], axis=-1)
    wide = cv2.GaussianBlur(np.minimum(np.maximum(pixels, 0), 20 * median), (0, 0), 3)
    hole = (pixels.min(axis=2) <= 0) | (largest < 0.08 * wide.max(axis=2))
    filled = np.where(smooth.min(axis=2, keepdims=True) > 0.1 * wide, smooth, wide)
    pixels[hole] = filled[hole]
    return np.maximum(pixels, 1e-4 * median)


def key_light(radiance: np.ndarray) -> np.ndarray:
    """What exceeds six times the median, as one distant light: direction (3) and irradiance (3), world axes y up."""
    rows, columns = np.indices(radiance.shape[:2])
    theta = (rows + 0.5) / radiance.shape[0] * np.pi
    phi = ((columns + 0.5) / radiance.shape[1] - 0.5) * 2 * np.pi
    solid = np.sin(theta) * (np.pi / radiance.shape[0]) * (2 * np.pi / radiance.shape[1])
    toward = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi)], axis=-1)
    excess = np.maximum(radiance - 6.0, 0) * solid[..., None]
    power = excess @ LUMINANCE
    brightest = toward[np.unravel_index(np.argmax(power * (radiance @ LUMINANCE)), power.shape)]
    near = (toward @ brightest > np.cos(np.deg2rad(25))).astype(np.float32)
    direction = (toward * (power * near)[..., None]).sum(axis=(0, 1))
    colour = (excess * near[..., None]).sum(axis=(0, 1))
    return np.concatenate([direction / max(np.linalg.norm(direction), 1e-9), colour]).astype(np.float32)


def main() -> None:
    """Build the asset."""
    package = Path(sys.argv[1])
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "assets/panoramas.npz")
    blobs = {}
    for script in sorted((package / "hdri").glob("*.exr.js")):
        radiance = decode(script)
        relative = radiance / np.median(radiance @ LUMINANCE)
        code = (np.log2(np.maximum(relative, 2.0**LOW)) - LOW) / (HIGH - LOW) * 255
        picture = np.clip(np.round(code), 0, 255).astype(np.uint8)
        _, blob = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        name = script.name.removesuffix(".exr.js")
        blobs[name], blobs[f"{name}.key"] = blob.ravel(), key_light(relative)
        key = np.round(blobs[f"{name}.key"], 2)
        print(f"{name}: max {relative.max():.0f} x median, {len(blob) / 1e3:.0f} kB, key {key}")
    np.savez(out, log2_range=np.array([LOW, HIGH], np.float32), **blobs)
    print(f"{out}: {len(blobs) // 2} panoramas, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
