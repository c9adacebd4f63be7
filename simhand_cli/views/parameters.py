"""The random numbers of one view of each sample: what T does to it."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from simhand_cli.skeleton import NUM_JOINTS
from simhand_cli.views.counter_rng import uniforms
from simhand_cli.views.options import Range, ViewSettings

#: Ranges of the optional corruptions, as published for PeCLR and SiMHand.
BLUR_SIGMA_PX: Range = (0.1, 2.0)
CUTOUT_FRACTION: Range = (0.0, 0.16)


@dataclass(frozen=True)
class ViewParameters:
    """T of each of B samples; every field is a tensor on the batch's device.

    Attributes:
        angle_deg: (B,) float64; rotation about the hand, counter-clockwise as seen (OpenCV's convention).
        margin: (B,) float64; half the window's side over the hand's radius.
        shift: (B, 2) float64; how far the window moves right and down in the rotated crop, over its side. The hand
            moves the other way. With ``border="cut"`` it is drawn over the frame's side, and ``apply_view`` puts in its
            place where the view shows the mean of the joints: at its centre minus ``shift * output_px``.
        hue, saturation, value: (B,) float64 factors. brightness: (B,) float64, added.
        blur_sigma_px: (B,) float64, 0 = no blur. cutout_fraction: (B,) float64, 0 = none.
        cutout_joint: (B,) int64. noisy, grey, edges: (B,) bool.
        noise_key: (B,) int64; seeds the pixel noise.
        jitter_px: (B, 2) float64; how far the window's origin (left, top) was moved, in pixels of the stored crop; with
            ``border="cut"`` in pixels of a frame of 224, with what the frame's left and top border took back. None
            until ``apply_view`` knows it.
        stretch: (B, 2) float64; what ``border="cut"`` left of the window's width and height, over the whole; None where
            nothing is cut off.
    """

    angle_deg: Tensor
    margin: Tensor
    shift: Tensor
    hue: Tensor
    saturation: Tensor
    value: Tensor
    brightness: Tensor
    blur_sigma_px: Tensor
    cutout_fraction: Tensor
    cutout_joint: Tensor
    noisy: Tensor
    grey: Tensor
    edges: Tensor
    noise_key: Tensor
    jitter_px: Tensor | None = None
    stretch: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "ViewParameters":
        """The same with ``change`` applied to every tensor, e.g. a slice of the batch or a copy to a device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(t) for name, t in tensors.items() if t is not None})

    @staticmethod
    def joined(*batches: "ViewParameters") -> "ViewParameters":
        """The samples of several batches, one after the other."""

        def join(name: str) -> Any:
            values = [getattr(batch, name) for batch in batches]
            return None if any(value is None for value in values) else torch.cat(values)

        return ViewParameters(**{f.name: join(f.name) for f in fields(ViewParameters)})


def draw_parameters(seed: int, sample_keys: Tensor, view: int, options: ViewSettings) -> ViewParameters:
    """Draw T for each sample, as a function of (seed, key, view) alone.

    The same seed and key give the same T in every epoch and for every duplicate of a key, so put what shall differ
    into them: ``seed = combine(run_seed, epoch)`` and the sample's position in the epoch as key.

    Args:
        seed: of the run and epoch.
        sample_keys: (B,) int64, on the device where the views will be drawn.
        view: 0 (anchor) or 1 (positive).
        options: ranges and probabilities.

    Returns:
        parameters of (B,) samples on the device of ``sample_keys``.
    """
    # Every number is drawn whether it is used or not: turning on one option leaves all others as they were.
    u = uniforms(seed, sample_keys, view, channels=17)

    def within(channel: int, limits: Range) -> Tensor:
        return limits[0] + (limits[1] - limits[0]) * u[:, channel]

    def happens(channel: int, probability: float) -> Tensor:
        return u[:, channel] < probability

    return ViewParameters(
        angle_deg=within(0, options.rotation_deg),
        margin=within(1, options.margin),
        shift=torch.stack([within(2, options.translation), within(3, options.translation)], dim=1),
        hue=within(4, options.hue),
        saturation=within(5, options.saturation),
        value=within(6, options.value),
        brightness=within(7, options.brightness),
        blur_sigma_px=happens(8, options.blur_probability) * within(9, BLUR_SIGMA_PX),
        cutout_fraction=happens(10, options.cutout_probability) * within(11, CUTOUT_FRACTION),
        # Below 1 always, so the last joint is the highest index.
        cutout_joint=(u[:, 12] * NUM_JOINTS).to(torch.int64),
        noisy=happens(13, options.noise_probability),
        grey=happens(14, options.grey_probability),
        edges=happens(15, options.sobel_probability),
        noise_key=(u[:, 16] * 2.0**53).to(torch.int64),
    )
