"""Adaptive weights of pairs from the distances of their joints or embeddings (SiMHand, Eq. 2), in row blocks.

The 2N samples of a batch are ordered [view 1 of all ranks, view 2 of all ranks]. A rank computes the rows of its own
samples, in blocks, so the whole (2N, 2N) matrix exists nowhere. Extremes and means are taken over all ranks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from simhand_cli.pretrain.loss_options import WeightRange
from simhand_cli.training.processes.gather import reduce_over_ranks

#: Pixels, or units of the embedding. Where the extremes are no further apart than this, every weight is 1, hence the
#: plain NT-Xent, not 0 / 0.
SAME_DISTANCE = 1e-6

WeightOfDistance = Callable[[Tensor], Tensor]


def point_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean over P points of their distances in C dimensions: (A, P, C) and (B, P, C) to (A, B)."""
    total = first.new_zeros(len(first), len(second))
    # Joint by joint: all at once would be (A, B, 21, 2), 0.7 GB for 1,024 pairs.
    for a, b in zip(first.unbind(1), second.unbind(1), strict=True):
        # Not by a matrix product, which loses the small distances, and they matter most here; nor by torch.cdist, whose
        # GPU kernel spends a block of threads on every pair of 2D points.
        squared = (a[:, None, 0] - b[None, :, 0]).square_()
        for axis in range(1, first.shape[2]):
            apart = a[:, None, axis] - b[None, :, axis]
            squared.addcmul_(apart, apart)
        total += squared.sqrt_()
    return total / first.shape[1]


@dataclass(frozen=True)
class BatchPoints:
    """What tells how far the hands of a batch are apart, as one rank sees it.

    The distance of two samples is the mean over P points of their distances in C dimensions: 21 joints in pixels of
    the view (P = 21, C = 2), or a pose embedding, which is one point (P = 1).

    Attributes:
        local: (2n, P, C) of this rank's rows, [view 1, view 2].
        everyone: (2N, P, C) of all ranks, [view 1, view 2].
        offset: index in each view of this rank's first sample.
        reduce: whether N spans all ranks, so that extremes and means must too.
    """

    local: Tensor
    everyone: Tensor
    offset: int
    reduce: bool

    @property
    def rows(self) -> Tensor:
        """Index (2n,) of the local rows among the 2N."""
        n, total = len(self.local) // 2, len(self.everyone) // 2
        first = torch.arange(self.offset, self.offset + n, device=self.local.device)
        return torch.cat([first, first + total])

    def positive_distance(self) -> Tensor:
        """Distance (n,) between the two views of each local pair."""
        first, second = self.local.chunk(2)
        distance: Tensor = torch.linalg.vector_norm(first - second, dim=-1).mean(dim=-1)
        return distance

    def blocks(self, block_rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of at most ``block_rows`` local rows: (their distances (r, 2N), their indices (r,))."""
        rows = self.rows
        for start in range(0, len(rows), block_rows):
            stop = min(start + block_rows, len(rows))
            yield self.distances(start, stop), rows[start:stop]

    def distances(self, start: int, stop: int) -> Tensor:
        """Distances (stop - start, 2N) of these local rows to all samples."""
        return point_distance(self.local[start:stop], self.everyone)

    def largest(self, *values: Tensor) -> list[Tensor]:
        """Each scalar's maximum over the ranks that share the batch."""
        stacked = torch.stack(values)
        return list((reduce_over_ranks(stacked, dist.ReduceOp.MAX) if self.reduce else stacked).unbind())

    def sums(self, *values: Tensor) -> list[Tensor]:
        """Each scalar's sum over the ranks that share the batch."""
        stacked = torch.stack(values)
        return list((reduce_over_ranks(stacked) if self.reduce else stacked).unbind())


@dataclass(frozen=True)
class PairWeights:
    """Weights of the similarities of a batch.

    Attributes:
        positive: (n,) weight of each local positive pair; the same in both directions.
        of_distance: weight of the pairs in the denominator, elementwise in their distance; None where all are 1.
    """

    positive: Tensor
    of_distance: WeightOfDistance | None


def _linear(low: Tensor, high: Tensor) -> WeightOfDistance:
    width = high - low
    # A tensor and no Python bool, so that the host does not wait for the device.
    equal = width <= SAME_DISTANCE

    def weight(distance: Tensor) -> Tensor:
        # The clamp only removes rounding beyond the extremes.
        # Divided by 1 where all are equal, as 0 / 0 would be NaN even where it is not chosen.
        scaled = ((high - distance) / torch.where(equal, 1, width)).clamp(0, 1)
        return torch.where(equal, 1, scaled)

    return weight


def _nonlinear(mean: Tensor, steepness: float) -> WeightOfDistance:
    def weight(distance: Tensor) -> Tensor:
        # The same as 1 / (1 + exp), but exp does not overflow where hands are far apart.
        return torch.sigmoid(steepness * (mean - distance))

    return weight


@torch.no_grad()
def linear_weights(points: BatchPoints, weight_range: WeightRange, block_rows: int = 1024) -> PairWeights:
    """Weights falling linearly with the distance, from 1 at the smallest to 0 at the largest (Eq. 2).

    Args:
        points: of the batch, whose distances count.
        weight_range: ``single``: the extremes of all pairs of different samples, positive or not, as printed; so a
            pair's weight is the same as numerator and in the denominator. ``separate``: the released code's:
            positives by the extremes of the positives alone (the most distant one has weight 0), the rest by those of
            the whole matrix with its diagonal, hence ``1 - d / d_max``.
        block_rows: rows of distances held at once.
    """
    positive = points.positive_distance()
    infinity = positive.new_full((), torch.inf)
    low, high = infinity, -infinity
    for distance, rows in points.blocks(block_rows):
        high = torch.maximum(high, distance.amax())
        if weight_range == "single":
            # The zero distance of a sample to itself is no pair's.
            distance.scatter_(1, rows[:, None], torch.inf)
        low = torch.minimum(low, distance.amin())
    # Minima as maxima of the negated: one exchange over the ranks for all four.
    negated_low, high, negated_low_positive, high_positive = points.largest(
        -low, high, -positive.amin(), positive.amax()
    )
    of_distance = _linear(-negated_low, high)
    of_positive = of_distance if weight_range == "single" else _linear(-negated_low_positive, high_positive)
    return PairWeights(of_positive(positive), of_distance)


@torch.no_grad()
def nonlinear_weights(
    points: BatchPoints,
    weight_range: WeightRange,
    lambda_positive: float,
    lambda_negative: float,
    block_rows: int = 1024,
) -> PairWeights:
    """Weights ``1 / (1 + exp(lambda (d - mean d)))``, the released code's alternative to Eq. 2.

    The mean is over the positives for the positives, and over all pairs for the rest: of different samples
    (``single``), or of the whole matrix with its zero diagonal (``separate``, as released).
    """
    positive = points.positive_distance()
    total = positive.new_zeros(())
    for distance, _ in points.blocks(block_rows):
        total = total + distance.sum()
    total, total_positive = points.sums(total, positive.sum())
    samples = len(points.everyone)
    pairs = samples * samples - (samples if weight_range == "single" else 0)
    of_positive = _nonlinear(total_positive / (samples // 2), lambda_positive)
    return PairWeights(of_positive(positive), _nonlinear(total / pairs, lambda_negative))
