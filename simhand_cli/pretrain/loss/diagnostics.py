"""How the adaptive weights of a batch are spread over [0, 1], in few numbers for the log of every step."""

from typing import Final

import torch
from torch import Tensor

from simhand_cli.pretrain.loss.pair_weights import BatchPoints, WeightOfDistance

#: Bins of equal width over [0, 1]; a weight of 1 is in the last one.
BINS: Final = 10
#: Local rows whose negatives are counted: with a batch of 256 pairs 32,640 weights, at a small part of the loss's cost.
_ROWS: Final = 64


def weight_shares(weights: Tensor, counted: Tensor | None = None) -> Tensor:
    """Share (BINS,) of the weights in each bin; they sum up to 1.

    Args:
        weights: of any shape, in [0, 1].
        counted: of that shape, which of them; None for all, else at least one.
    """
    # By comparison and not torch.histc or bincount, which are not deterministic on a GPU or wait for it.
    place = (weights * BINS).to(torch.int64).clamp(0, BINS - 1)
    hits = place.reshape(-1, 1) == torch.arange(BINS, device=weights.device)
    if counted is not None:
        hits = hits & counted.reshape(-1, 1)
    found = hits.sum(dim=0).double()
    return found / found.sum()


@torch.no_grad()
def negative_weight_shares(points: BatchPoints, of_distance: WeightOfDistance) -> Tensor:
    """:func:`weight_shares` of the negatives of this rank's first rows: all samples but the row's own and its positive.

    Negatives that the loss leaves out as false ones are counted too. Every rank counts as many, so that the mean over
    the ranks is the share among all that were counted.
    """
    samples = len(points.everyone)
    own = points.rows[:_ROWS, None]
    distance = points.distances(0, len(own))
    counted = torch.ones_like(distance, dtype=torch.bool)
    # The positive stands half the batch further on, around the end.
    counted.scatter_(1, own, False).scatter_(1, (own + samples // 2) % samples, False)
    return weight_shares(of_distance(distance), counted)


#: Vectors compared with each other; enough for a stable mean, cheap at any batch size.
_SAMPLES = 512


def uniformity(unit: Tensor) -> Tensor:
    """Log E exp(-2 |a - b|^2) over pairs of unit vectors (Wang & Isola 2020); smaller is more even, 0 all the same.

    Args:
        unit: (B, D) of length 1 and at least two rows, of which the first 512 are used.
    """
    unit = unit[:_SAMPLES]
    count = len(unit)
    # Of unit vectors; rounding can take it below 0.
    squared = (2 - 2 * unit @ unit.T).clamp_min(0)
    apart = ~torch.eye(count, dtype=torch.bool, device=unit.device)
    # Not by the mask as an index, which would make the host wait for the device.
    potential = torch.where(apart, torch.exp(-2 * squared), 0.0)
    return torch.log(potential.sum() / (count * (count - 1)))
