"""What a camera does with the light that falls into it: metering, white balance, tone curve, grain, eight bits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.render.jit import kernel
from simhand_cli.synth.scene.panorama import LUMINANCE
from simhand_cli.synth.scene.surroundings import Scene

Floats = NDArray[np.float32]
#: Mean linear luminance a hand has at least after metering: middle grey, which a spot meter would give it.
DARKEST: Final = 0.18


def exposure_gains(linear_rgb: Floats, coverage: Floats, behind: Floats, light: Floats, scene: Scene) -> Floats:
    """Gains (3,) on linear light: metering and white balance together.

    Args:
        linear_rgb: (H, W, 3) what is drawn, times its coverage.
        coverage: (H, W) 0..1.
        behind: (H, W, 3) the backdrop.
        light: (3,) mean light on what is drawn.
        scene: how the camera is set.
    """
    return (_meter(linear_rgb, coverage, behind, scene) * _white_balance(scene, light)).astype(np.float32)


def _meter(linear_rgb: Floats, coverage: Floats, behind: Floats, scene: Scene) -> float:
    """Gain that puts a weighted mean of hand and backdrop near middle grey, as a camera's metering would."""
    hand = float((linear_rgb @ LUMINANCE).sum() / max(float(coverage.sum()), 1.0))
    # Capped: a bare lamp in the backdrop would turn the picture black.
    around = float(np.minimum(behind @ LUMINANCE, 3.0).mean())
    # The hand counts most, as with a camera's spot for what is in the middle.
    exposure = 0.22 * 2.0**scene.exposure_ev / max(0.7 * hand + 0.3 * around, 1e-3)
    # Whoever films hands sees to it that they are not mere silhouettes.
    return float(max(exposure, DARKEST * 2.0 ** (0.5 * scene.exposure_ev) / max(hand, 1e-3)))


def _white_balance(scene: Scene, on_hand: Floats) -> Floats:
    """Gains (3,) that take most of the colour of the light away, that of the place and that on the hand alike."""
    # Both are brought to luminance 1 first, so that neither counts for more because it is brighter.
    place = scene.surrounding.sky.sum(axis=0) * scene.tint
    light = place / float(place @ LUMINANCE) + on_hand / max(float(on_hand @ LUMINANCE), 1e-6)
    gains = (float(light @ LUMINANCE) / np.maximum(light, 1e-6)) ** scene.white_balance
    return np.asarray(gains / float(gains @ LUMINANCE), np.float32)


def develop(picture: Floats, gains: Floats, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) uint8 of linear light (H, W, 3)."""
    import cv2

    # Sigma is for 256 pixels: the same scene in a larger picture is blurred as much relative to the hand.
    sigma = scene.blur_px * min(picture.shape[:2]) / 256
    if sigma > 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(scene.grain)
    out = np.empty(picture.shape, np.uint8)
    # The kernel runs over every pixel once: in numpy the same steps would make a dozen copies of the picture.
    _encode(np.ascontiguousarray(picture, np.float32), gains, scene.vivid, grain, out)
    return out


@kernel
def _encode(picture: Floats, gains: Floats, vivid: float, grain: Floats, out: NDArray[np.uint8]) -> None:
    """Balance and exposure, more vivid colours, soft shoulder, sRGB curve, grain, eight bits."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            grey = 0.0
            for c in range(3):
                grey += (0.2126, 0.7152, 0.0722)[c] * picture[y, x, c] * gains[c]
            for c in range(3):
                value = max(grey + vivid * (picture[y, x, c] * gains[c] - grey), 0.0)
                # Film-like shoulder: same slope as the line at 0.6, and never quite 1, so that lights do not clip hard.
                if value > 0.6:
                    value = 1.0 - 0.4 * np.exp(-(value - 0.6) / 0.4)
                value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
                value += 0.35 * value * (1 - value) * (2 * value - 1)  # a little contrast, black and white kept
                value = (value + grain[y, x, c]) * 255.0 + 0.5
                out[y, x, c] = np.uint8(min(max(value, 0.0), 255.0))
