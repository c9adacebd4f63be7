"""DetNet's losses: heatmaps, location maps, delta maps; masked, and independent of the batch size.

SiMHand (ICLR 2025), equation 4: L = L_heat + L_loc + L_delta + L_reg. L_reg is in no released code; the original
DetNet's, half the sum of all squared kernels, can be switched on (:func:`kernel_loss`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


@dataclass(frozen=True)
class MapMass:
    """What the 3D map losses of a batch are divided by, see :func:`mean_map_loss`; of all ranks together.

    Attributes:
        location: scalar.
        delta: scalar.
    """

    location: Tensor
    delta: Tensor


def map_mass(targets: Targets, over_ranks: Callable[[Tensor], Tensor]) -> MapMass:
    """Of a whole batch, so that the losses of its parts add up to its own."""
    location, delta = (
        over_ranks((targets.heat * weight[..., None, None]).sum())
        for weight in (targets.location_weight, targets.delta_weight)
    )
    return MapMass(location, delta)


def detnet_losses(
    maps: DetNetMaps,
    targets: Targets,
    options: LossOptions,
    over_ranks: Callable[[Tensor], Tensor] | None = None,
    mass: MapMass | None = None,
) -> Losses:
    """All losses of a batch, in float32 or better whatever the maps' precision.

    Args:
        maps: of the model.
        targets: of the same crops.
        options: weights and form.
        over_ranks: mean over all ranks of a scalar, so that the mean of their losses is the loss of the joined batch.
        mass: of the batch that these crops are a part of; None: they are the batch.
    """
    heat = heat_loss(_full(maps.heat), targets.heat, targets.heat_weight)

    def three_d(values: Tensor, target: Tensor, weight: Tensor, total: Tensor | None) -> Tensor:
        if options.form == "mean":
            return mean_map_loss(_full(values), target, weight, targets.heat, over_ranks, total)
        return frobenius_map_loss(_full(values), target, weight, targets.heat)

    location = three_d(maps.location, targets.location, targets.location_weight, mass.location if mass else None)
    delta = three_d(maps.delta, targets.delta, targets.delta_weight, mass.delta if mass else None)
    total = options.heat * heat + options.location * location + options.delta * delta
    return Losses(total, heat, location, delta)


def kernel_loss(net: nn.Module) -> Tensor:
    """Half the sum of the squares of all kernels (weights of more than one dimension), in float32 or better."""
    squares = [_full(p).square().sum() for p in net.parameters() if p.ndim > 1 and p.requires_grad]
    return 0.5 * torch.stack(squares).sum()


def heat_loss(heat: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``sum_j 0.5 mean_{batch, cells} weight_j (heat_j - target_j)^2``.

    Args:
        heat: (B, J, M, M) predicted.
        target: (B, J, M, M).
        weight: (B, J).
    """
    # Mean over cells, as published; nearly all are empty, which the weight of 100 makes up for.
    squared = (heat - target).square().mean(dim=(2, 3))
    return 0.5 * (weight * squared).mean(dim=0).sum()


def mean_map_loss(
    values: Tensor,
    target: Tensor,
    weight: Tensor,
    heat: Tensor,
    over_ranks: Callable[[Tensor], Tensor] | None = None,
    total: Tensor | None = None,
) -> Tensor:
    """Mean length of the error, each cell weighted by the target heatmap's mass there.

    ``sum w h |v - t| / sum w h`` over batch, joints and cells: an MPJPE in bone lengths. Repeating the batch changes
    nothing, and a batch without any 3D label gives 0 (with zero gradient) instead of 0/0. The length and not its
    square, because it learns faster (docs/decisions.md); rounded below a thousandth to have a gradient at 0.

    Args:
        values: (B, J, 3, M, M) predicted.
        target: (B, J, 3), the same for all cells.
        weight: (B, J).
        heat: (B, J, M, M) target heatmaps.
        over_ranks: see :func:`detnet_losses`.
        total: what to divide by, if not this batch's own mass.
    """
    mass = heat * weight[..., None, None]
    squared = (values - target[..., None, None]).square().sum(dim=2)
    length = torch.sqrt(squared + _ROUNDING**2) - _ROUNDING
    if total is None:
        total = mass.sum() if over_ranks is None else over_ranks(mass.sum())
    # Without any 3D label the sum is 0, and so is the loss.
    return (mass * length).sum() / total.clamp_min(1e-6)


def frobenius_map_loss(values: Tensor, target: Tensor, weight: Tensor, heat: Tensor) -> Tensor:
    """The released code's form: ``|| h (v - t) ||_F / n``, one norm over the batch, n = samples with a 3D label.

    Its size goes with 1 / sqrt(n); kept to reproduce published behaviour. 0 for a batch without a 3D label.
    Arguments as in :func:`mean_map_loss`.
    """
    error = (values - target[..., None, None]) * (heat * weight[..., None, None])[:, :, None]
    labelled = (weight.sum(dim=1) > 0).sum()
    # The gradient of a norm at zero is undefined; the tiny constant makes it zero.
    norm = torch.sqrt(error.square().sum() + 1e-12)
    # 0 times the maps and no constant: DDP waits for a gradient of every parameter.
    return torch.where(labelled > 0, norm / labelled.clamp_min(1), (0.0 * values).sum())


def _full(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
