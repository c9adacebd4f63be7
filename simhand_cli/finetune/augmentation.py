"""How training crops are varied: where they are cut, their colours and sharpness as one matrix and one blur."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.labelled.sample_crop import Placement

#: Published ranges of DetNet's training: factors 1 +- these, and hue in turns.
BRIGHTNESS, CONTRAST, SATURATION, HUE_TURNS = 0.5, 0.5, 0.5, 0.15
_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
# Inverted instead of typed: rounded published coefficients would tint a picture that nothing changes.
_RGB = np.linalg.inv(_YIQ)
#: A narrower blur changes nothing that 8 bits show.
_LEAST_BLUR_PX = 0.2


def colour_matrix(
    brightness: float, contrast: float, saturation: float, hue_turns: float, grey: float
) -> NDArray[np.float64]:
    """One affine map of RGB for all four changes.

    Args:
        brightness: factor on all values.
        contrast: factor on the distance from ``grey``.
        saturation: factor on the distance from a pixel's own luma.
        hue_turns: turn of the chroma plane (YIQ), 1 = full circle.
        grey: mean luma of the image, 0..255.

    Returns:
        (3, 4): ``rgb' = M[:, :3] @ rgb + M[:, 3]``.
    """
    angle = 2 * np.pi * hue_turns
    chroma = np.eye(3)
    chroma[1:, 1:] = saturation * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # One matrix for four changes: a single pass over the pixels, clipped to 8 bits once.
    linear = brightness * contrast * (_RGB @ chroma @ _YIQ)
    return np.column_stack([linear, np.full(3, brightness * (1 - contrast) * grey)])


def vary_colours(image_rgb: NDArray[np.uint8], rng: np.random.Generator, options: AugmentOptions) -> NDArray[np.uint8]:
    """A randomly recoloured and blurred copy of an image (H, W, 3)."""
    import cv2

    ranges = options.colour * np.array([BRIGHTNESS, CONTRAST, SATURATION, HUE_TURNS])
    # Drawn whether used or not, so that one option's value does not change the others' random numbers.
    change = rng.uniform(-ranges, ranges)
    blur_px = float(rng.uniform(0, options.blur_px))
    if options.colour > 0:
        # Of the whole crop, black border included, as colour jitters commonly take it.
        grey = float(np.array(cv2.mean(image_rgb)[:3]) @ _LUMA)
        # A factor below 0 would invert the picture.
        factors = np.maximum(1 + change[:3], 0.0)
        matrix = colour_matrix(factors[0], factors[1], factors[2], float(change[3]), grey)
        image_rgb = np.asarray(cv2.transform(image_rgb, matrix), dtype=np.uint8)
    if blur_px > _LEAST_BLUR_PX:
        image_rgb = np.asarray(cv2.GaussianBlur(image_rgb, (0, 0), blur_px), dtype=np.uint8)
    return image_rgb


def draw_placement(rng: np.random.Generator, options: AugmentOptions) -> Placement:
    """A random placement: uniform rotation and shift, log-uniform scale."""
    angle = np.deg2rad(options.rotation_deg)
    # In logarithms, so that larger and smaller are equally likely.
    widest = np.log1p(options.scale)
    shift = rng.uniform(-options.shift, options.shift, 2)
    return Placement(
        rotation_rad=float(rng.uniform(-angle, angle)),
        scale=float(np.exp(rng.uniform(-widest, widest))),
        shift=(float(shift[0]), float(shift[1])),
    )
