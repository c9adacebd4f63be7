"""DetNet's losses: heatmaps, location maps, delta maps; masked, and independent of the batch size.

SiMHand (ICLR 2025), equation 4: L = L_heat + L_loc + L_delta (its L_reg is in no released code and left out, see
docs/decisions.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from simhand_cli.finetune.options import LossOptions
from simhand_cli.finetune.targets import Targets
from simhand_cli.models.detnet import DetNetMaps

#: Errors well below this (bone lengths, about a tenth of a millimetre) are squared rather than absolute.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Losses:
    """Scalar losses of a batch; ``total`` is the weighted sum."""

    total: Tensor
    heat: Tensor
    location: Tensor
    delta: Tensor


def detnet_losses(maps: DetNetMaps, targets: Targets, options: LossOptions) -> Losses:
    """All losses of a batch, in float32 or better whatever the maps' precision."""
    heat = heat_loss(_full(maps.heat), targets.heat, targets.heat_weight)
    three_d = mean_map_loss if options.form == "mean" else frobenius_map_loss
    location = three_d(_full(maps.location), targets.location, targets.location_weight, targets.heat)
    delta = three_d(_full(maps.delta), targets.delta, targets.delta_weight, targets.heat)
    total = options.heat * heat + options.location * location + options.delta * delta
    return Losses(total, heat, location, delta)


def heat_loss(heat: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``sum_j 0.5 mean_{batch, cells} weight_j (heat_j - target_j)^2``.

    Args:
        heat: (B, J, M, M) predicted.
        target: (B, J, M, M).
        weight: (B, J).
    """
    squared = (heat - target).square().mean(dim=(2, 3))
    return 0.5 * (weight * squared).mean(dim=0).sum()


def mean_map_loss(values: Tensor, target: Tensor, weight: Tensor, heat: Tensor) -> Tensor:
    """Mean length of the error, each cell weighted by the target heatmap's mass there.

    ``sum w h |v - t| / sum w h`` over batch, joints and cells: an MPJPE in bone lengths. Repeating the batch changes
    nothing, and a batch without any 3D label gives 0 (with zero gradient) instead of 0/0. The length and not its
    square, because it learns faster (docs/decisions.md); rounded below a thousandth to have a gradient at 0.

    Args:
        values: (B, J, 3, M, M) predicted.
        target: (B, J, 3), the same for all cells.
        weight: (B, J).
        heat: (B, J, M, M) target heatmaps.
    """
    mass = heat * weight[..., None, None]
    squared = (values - target[..., None, None]).square().sum(dim=2)
    length = torch.sqrt(squared + _ROUNDING**2) - _ROUNDING
    return (mass * length).sum() / mass.sum().clamp_min(1e-6)


def frobenius_map_loss(values: Tensor, target: Tensor, weight: Tensor, heat: Tensor) -> Tensor:
    """The released code's form: ``|| h (v - t) ||_F / n``, one norm over the batch, n = samples with a 3D label.

    Its size goes with 1 / sqrt(n); kept to reproduce published behaviour. 0 for a batch without a 3D label.
    Arguments as in :func:`mean_map_loss`.
    """
    error = (values - target[..., None, None]) * (heat * weight[..., None, None])[:, :, None]
    labelled = (weight.sum(dim=1) > 0).sum()
    # The gradient of a norm at zero is undefined; the tiny constant makes it zero.
    norm = torch.sqrt(error.square().sum() + 1e-12)
    return torch.where(labelled > 0, norm / labelled.clamp_min(1), (0.0 * values).sum())


def _full(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
