"""One warp from the stored crop to the view, averaging over each view pixel's area.

Each view pixel is the mean of n x n bilinear samples of the crop spread over its area, so that thin fingers do not
alias when the window is shrunk. n follows from the sizes alone, never from a sample's own window: what a sample
looks like must not depend on the rest of its batch, and the device must not wait to learn n.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Crop pixels between two samples at most, where the window is as wide as the crop.
MAX_STEP_PX = 1.5
#: Views drawn together on an accelerator; bounds the memory of the oversampled images.
CHUNK = 256


def samples_per_pixel(crop_px: int, output_px: int) -> int:
    """The n of the n x n samples whose mean a view pixel is."""
    return max(1, math.ceil(crop_px / output_px / MAX_STEP_PX))


def warp(crops: Tensor, crop_from_view: Tensor, output_px: int) -> Tensor:
    """Draw the views; outside the crop is black.

    Args:
        crops: (B, 3, S, S) uint8; on a CPU fastest in channels-last memory, as decoders give it.
        crop_from_view: (B, 2, 3) float64, pixel centres.
        output_px: side of the views.

    Returns:
        (B, 3, output, output) float32, 0 to 255. On a CPU the values are rounded to whole numbers, and the memory
        is channels-last.
    """
    n = samples_per_pixel(crops.shape[-1], output_px)
    if crops.device.type == "cpu":
        return warp_opencv(crops, crop_from_view, output_px, n)
    # Sample by sample the same, however a batch is split.
    parts = zip(torch.split(crops, CHUNK), torch.split(crop_from_view, CHUNK), strict=True)
    return torch.cat([warp_torch(crop, affine, output_px, n) for crop, affine in parts])


def black_outside(images: Tensor, crop_from_view: Tensor, frame: Tensor) -> Tensor:
    """Views whose source lies within a frame as they are, all others black.

    The change takes as long as a view pixel is wide in the crop, at least a crop pixel, as in bilinear interpolation
    with a black border.

    Args:
        images: (B, 3, output, output), changed in place.
        crop_from_view: (B, 2, 3) float64.
        frame: (B, 3) float64, centre (x, y) and side in the crop.
    """
    pixels = torch.arange(images.shape[-1], dtype=images.dtype, device=images.device)
    from_center = crop_from_view.clone()
    from_center[:, :, 2] -= frame[:, :2]
    width = from_center[:, :, :2].abs().sum(dim=2).clamp_min(1)
    # In units of the change's width; the first row for x, the second for y.
    slopes = (from_center / width[:, :, None]).to(images.dtype)
    reach = ((frame[:, 2:] / 2) / width + 0.5).to(images.dtype)
    for axis in (0, 1):
        across, down, start = slopes[:, axis].unbind(1)
        rows = down[:, None] * pixels + start[:, None]
        place = across[:, None, None] * pixels + rows[:, :, None]
        images.mul_((reach[:, axis, None, None] - place.abs_()).clamp_(0, 1)[:, None])
    return images


def warp_torch(crops: Tensor, crop_from_view: Tensor, output_px: int, n: int) -> Tensor:
    """:func:`warp` by ``grid_sample``; exact, and fast where there is an accelerator."""
    size = crops.shape[-1]
    linear, offset = crop_from_view[:, :, :2], crop_from_view[:, :, 2:]
    # grid_sample counts from -1 to 1 between the outer edges: u = (2 x + 1) / size - 1.
    middle = linear.sum(dim=2, keepdim=True) * ((output_px - 1) / 2) + offset
    theta = torch.cat([linear * (output_px / size), (2 * middle + 1) / size - 1], dim=2).to(torch.float32)
    fine_px = output_px * n
    grid = functional.affine_grid(theta, [len(crops), 3, fine_px, fine_px], align_corners=False)
    fine = functional.grid_sample(crops.to(torch.float32), grid, padding_mode="zeros", align_corners=False)
    return functional.avg_pool2d(fine, n) if n > 1 else fine


def warp_opencv(crops: Tensor, crop_from_view: Tensor, output_px: int, n: int) -> Tensor:
    """:func:`warp` by OpenCV on uint8, ten times as fast as ``grid_sample`` on a CPU."""
    import cv2

    images = crops.permute(0, 2, 3, 1).contiguous().numpy()
    affines = crop_from_view.numpy().copy()
    # Fine pixel k lies at view coordinate (k - (n - 1) / 2) / n.
    affines[:, :, 2] += affines[:, :, :2].sum(axis=2) * ((1 - n) / (2 * n))
    affines[:, :, :2] /= n
    views = np.empty((len(images), output_px, output_px, 3), dtype=np.uint8)
    fine_wh = (output_px * n, output_px * n)
    for image, affine, view in zip(images, affines, views, strict=True):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(image, affine, fine_wh, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        cv2.resize(fine, (output_px, output_px), dst=view, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(views).permute(0, 3, 1, 2).to(torch.float32)
