"""The optional changes of a view's pixels: edges, cutout, blur, noise, grey. All are off by default.

They act on the finished view, where the released code applies the first three to the source image, so that one
warp suffices and their sizes are in pixels of what the encoder sees.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from simhand_cli.views.counter_rng import uniforms
from simhand_cli.views.parameters import ViewParameters

NOISE_STD = 25 / 255
LUMA = (0.299, 0.587, 0.114)
#: The blur kernel's side over the image's.
BLUR_KERNEL_FRACTION = 0.1


def luma(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) of RGB (B, 3, H, W)."""
    # Moved without waiting: a copy that blocks would make the device idle in every step.
    weights = torch.tensor(LUMA, dtype=images.dtype).to(images.device, non_blocking=True)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)


def _select(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    # All views are changed and some chosen: indexing by a mask would make the host wait for the device.
    return torch.where(chosen[:, None, None, None], changed, images)


def grey(images: Tensor, params: ViewParameters) -> Tensor:
    """Chosen views without colour; shape as given."""
    return _select(params.grey, luma(images).expand_as(images), images)


def edges(images: Tensor, params: ViewParameters) -> Tensor:
    """Chosen views replaced by |d/dx| + |d/dy| of their grey image (3 x 3 Sobel, clipped to 1)."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=images.dtype)
    kernels = torch.stack([kernel, kernel.T])[:, None].to(images.device, non_blocking=True)
    # Replicated, or the border itself would be the strongest edge.
    padded = functional.pad(luma(images), (1, 1, 1, 1), mode="replicate")
    slopes = functional.conv2d(padded, kernels).abs().sum(dim=1, keepdim=True)
    return _select(params.edges, slopes.clamp(0, 1).expand_as(images), images)


def cut_out(images: Tensor, params: ViewParameters, keypoints_px: Tensor) -> Tensor:
    """A black square on one joint of each chosen view; ``keypoints_px`` (B, 21, 2) in the view."""
    size = images.shape[-1]
    index = params.cutout_joint[:, None, None].expand(-1, 1, 2)
    center = keypoints_px.gather(1, index)[:, 0].to(images.dtype)
    half = (params.cutout_fraction * size / 2).to(images.dtype)[:, None]
    pixels = torch.arange(size, device=images.device, dtype=images.dtype)
    columns = (pixels - center[:, :1]).abs() < half
    rows = (pixels - center[:, 1:]).abs() < half
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def blur(images: Tensor, params: ViewParameters) -> Tensor:
    """Gaussian blur of the views whose sigma is not 0; the border is replicated."""
    batch, channels, height, width = images.shape
    # One width for the whole batch, whatever the sigmas: the shape must not depend on drawn numbers.
    reach = max(1, round(BLUR_KERNEL_FRACTION * width) // 2)
    sigma = params.blur_sigma_px.to(images.dtype)[:, None]
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    # A sigma of 0 means no blur; its kernel is not used, but must not be NaN.
    kernel = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    # One group a channel and sample: a single convolution can then have another kernel for each sample.
    flat = flat.reshape(1, batch * channels, height + 2 * reach, width + 2 * reach)
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    return _select(params.blur_sigma_px > 0, flat.reshape(images.shape), images)


def add_noise(images: Tensor, params: ViewParameters) -> Tensor:
    """Gaussian noise on the chosen views, a function of (its noise key, pixel); clipped to 0..1."""
    count = images[0].numel()
    first = uniforms(0, params.noise_key, 0, count)
    second = uniforms(0, params.noise_key, 1, count)
    # Box-Muller; 1 - u lies in (0, 1], so the logarithm is finite.
    normal = torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * math.pi * second)
    noisy = images + normal.reshape(images.shape).to(images.dtype) * NOISE_STD
    return _select(params.noisy, noisy.clamp(0, 1), images)
