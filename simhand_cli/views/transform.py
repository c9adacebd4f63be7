"""The augmentation T of a batch of stored crops and their joints, in one warp, on the batch's device.

Where it differs from the released augmenter (which crops a 224 px image that the hand nearly fills):
the window's centre, side and angle are real numbers, not truncated to integers; the window goes beyond the crop into
black instead of being cut off at its border and stretched, unless ``border="cut"``; the jitter goes both ways;
rotation, crop and resize are one resampling instead of three; hue is read from true RGB unless
``hue_order="bgr-swapped"``; and the joints move by exactly the affine map that the pixels do.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from simhand_cli.views import corruptions
from simhand_cli.views.colour import jitter_colours
from simhand_cli.views.geometry import move_points
from simhand_cli.views.options import ViewSettings
from simhand_cli.views.parameters import ViewParameters, draw_parameters
from simhand_cli.views.warp import black_outside, warp
from simhand_cli.views.window import draw_window

__all__ = ["View", "ViewParameters", "apply_view", "draw_parameters"]


@dataclass(frozen=True)
class View:
    """A batch of augmented crops.

    Attributes:
        images: (B, 3, output, output) float32 RGB in 0..1, not yet normalised.
        keypoints_px: (B, 21, 2) joints in view pixels (pixel centres), the dtype of the given ones.
        view_from_crop: (B, 2, 3) float64 affine map from the stored crop.
        params: the parameters as the view has them (see ``draw_window``): give these to the loss.
    """

    images: Tensor
    keypoints_px: Tensor
    view_from_crop: Tensor
    params: ViewParameters


def apply_view(crops: Tensor, keypoints_px: Tensor, params: ViewParameters, options: ViewSettings) -> View:
    """Draw one view of each crop.

    Args:
        crops: (B, 3, S, S) uint8 RGB; on a CPU fastest in channels-last memory.
        keypoints_px: (B, 21, 2) float joints in the stored crop, finite.
        params: from :func:`draw_parameters`, on the device of the crops.
        options: the same options the parameters were drawn with.

    Returns:
        the view; no sample depends on another.
    """
    size = options.output_px
    window = draw_window(keypoints_px, params, options)
    moved = move_points(window.view_from_crop, keypoints_px)
    images = warp(crops, window.crop_from_view, size).mul_(1 / 255)
    if window.frame is not None:
        images = black_outside(images, window.crop_from_view, window.frame)
    images = _change_pixels(images, moved, params, options)
    return View(images, moved, window.view_from_crop, window.params)


def _change_pixels(images: Tensor, keypoints_px: Tensor, params: ViewParameters, options: ViewSettings) -> Tensor:
    """In the published order: edges, cutout, blur, colour, noise, grey."""
    if options.sobel_probability > 0:
        images = corruptions.edges(images, params)
    if options.cutout_probability > 0:
        images = corruptions.cut_out(images, params, keypoints_px)
    if options.blur_probability > 0:
        images = corruptions.blur(images, params)
    swapped = options.hue_order == "bgr-swapped"
    factors = torch.stack([params.hue, params.saturation, params.value, params.brightness], dim=1)
    images = jitter_colours(images, factors, swapped)
    if options.noise_probability > 0:
        images = corruptions.add_noise(images, params)
    return corruptions.grey(images, params) if options.grey_probability > 0 else images
