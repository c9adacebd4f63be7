"""Colour jitter in HSV, per sample, on any device."""

import torch
from torch import Tensor

#: Samples worked on together on a CPU, so that the planes stay in its cache.
CPU_CHUNK = 8


def jitter_colours(images: Tensor, factors: Tensor, swapped: bool) -> Tensor:
    """Multiply hue, saturation and value, and add to the value.

    Args:
        images: (B, 3, H, W) float32 RGB in 0..1.
        factors: (B, 4) factors on hue, saturation and value, and what is added to the value. Hue is an angle in
            [0, 360), so a factor below 1 turns it towards red.
        swapped: read RGB as BGR while in HSV, as the released code does: skin's hue of about 20 degrees is then
            read as 220, and the same factors sweep it over blue, green and red.

    Returns:
        (B, 3, H, W) float32 in 0..1.
    """
    if images.device.type == "cpu" and len(images) > CPU_CHUNK:
        parts = zip(torch.split(images, CPU_CHUNK), torch.split(factors, CPU_CHUNK), strict=True)
        return torch.cat([jitter_colours(image, factor, swapped) for image, factor in parts])
    hue, saturation, value, brightness = factors.to(images.dtype)[:, :, None, None].unbind(1)
    channels = images.flip(1).unbind(1) if swapped else images.unbind(1)
    angle, chroma, largest = _hue_chroma_value(*channels)
    changed = torch.clamp(largest * value + brightness, 0, 1)
    # saturation = chroma / value; where the value is 0 the chroma is 0 too.
    new_chroma = changed * (chroma / largest.clamp_min(1e-8) * saturation).clamp(0, 1)
    red, green, blue = _from_hue_chroma_value(angle * hue, new_chroma, changed)
    return torch.stack([blue, green, red] if swapped else [red, green, blue], dim=1)


def _hue_chroma_value(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of a turn [0, 6), chroma and value."""
    largest = torch.maximum(torch.maximum(red, green), blue)
    chroma = largest - torch.minimum(torch.minimum(red, green), blue)
    inverse = 1 / chroma.clamp_min(1e-8)
    from_red = (green - blue) * inverse
    from_red = torch.where(from_red < 0, from_red + 6, from_red)
    angle = torch.where(largest == green, (blue - red) * inverse + 2, (red - green) * inverse + 4)
    return torch.where(largest == red, from_red, angle), chroma, largest


def _from_hue_chroma_value(angle: Tensor, chroma: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each channel falls from the value by the chroma as the hue leaves it: a clipped triangle wave."""
    red = value - chroma * (2 - (angle - 3).abs()).clamp(0, 1)
    green = value - chroma * ((angle - 2).abs() - 1).clamp(0, 1)
    blue = value - chroma * ((angle - 4).abs() - 1).clamp(0, 1)
    return red, green, blue
