"""The weighted NT-Xent loss of a batch spread over ranks (SiMHand, Eq. 3), in row blocks, with its own gradient.

For a row i with positive p(i) and similarities s of unit vectors:

    loss_i = -w_pos_i s_ip / t + log( sum_{k != i} exp(w_ik s_ik / t) )

where w_ip is w_neg, w_pos or 1 by option. Without weights all are 1: SimCLR's NT-Xent. The gradient is computed in
the same pass over the blocks as the loss, since a block's softmax is at hand; autograd would keep every block.

With weights the printed loss has a minimum where all vectors are equal: raising all similarities of a row alike
changes its loss by -w_pos_i + sum_k softmax_ik w_ik, which is negative, since positives weigh more than the average
pair. Centred similarities, s_ik less the mean of s_i over all k != i, take this minimum away. They are the printed ones
where that mean is 0, as in features spread over the sphere, and without weights they change nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simhand_cli.pretrain.loss.pair_weights import BatchPoints, PairWeights
from simhand_cli.pretrain.loss_options import PositiveDenominator


class NtXent(NamedTuple):
    """The loss (scalar, with gradient) and, detached, the share of rows whose positive is their nearest sample."""

    loss: Tensor
    top1: Tensor


@dataclass(frozen=True)
class FalseNegatives:
    """Which negatives to leave out of the denominators.

    Attributes:
        images: (N, 2) int64 image ids of all pairs, or None: pairs that share an image are no negatives.
        distance_px: pairs whose joints are nearer than this on average are no negatives; 0 = none.
    """

    images: Tensor | None = None
    distance_px: float = 0.0


@dataclass(frozen=True)
class _Problem:
    """What is constant in the loss: everything but the two sets of vectors."""

    offset: int
    temperature: float
    joints: BatchPoints | None
    weighed: BatchPoints | None
    weights: PairWeights | None
    positive_denominator: PositiveDenominator
    false_negatives: FalseNegatives
    centred: bool
    block_rows: int


def weighted_nt_xent(
    z1: Tensor,
    z2: Tensor,
    *,
    all_z1: Tensor,
    all_z2: Tensor,
    offset: int = 0,
    temperature: float = 0.5,
    joints: BatchPoints | None = None,
    weighed: BatchPoints | None = None,
    weights: PairWeights | None = None,
    positive_denominator: PositiveDenominator = "w_neg",
    false_negatives: FalseNegatives | None = None,
    centred: bool = False,
    block_rows: int = 1024,
) -> NtXent:
    """Mean loss of this rank's 2n rows against the batch of all ranks.

    The average of the ranks' values is the loss of the joined batch, and with ``all_z`` from
    ``gather_with_gradient`` the average of their gradients is its gradient (what DDP computes).

    Args:
        z1: (n, D) this rank's first views, vectors of length 1.
        z2: (n, D) their positives.
        all_z1: (N, D) the first views of all ranks; those of this rank start at ``offset``.
        all_z2: (N, D) their positives.
        offset: index of this rank's first row in ``all_z1``.
        temperature: t.
        joints: of the batch; needed with false negatives by distance, and with weights of their distances.
        weighed: what the weights are of, where that is not ``joints``.
        weights: None for plain NT-Xent.
        positive_denominator: the weight of the positive's own term in the denominator.
        false_negatives: negatives to leave out; None keeps all.
        centred: weigh similarities less their mean over each row.
        block_rows: rows of similarities held at once; memory is about ``block_rows * 2N`` floats, a few times.

    Returns:
        loss and share of rows with the positive nearest; half precision is computed in float32.
    """
    false_negatives = false_negatives or FalseNegatives()
    weighed = joints if weighed is None else weighed
    if (weights is not None and weighed is None) or (joints is None and false_negatives.distance_px > 0):
        raise ValueError("weights and false negatives by distance need the batch's joints")
    problem = _Problem(
        offset, temperature, joints, weighed, weights, positive_denominator, false_negatives, centred, block_rows
    )
    precise = torch.promote_types(z1.dtype, torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        local = torch.cat([z1, z2]).to(precise)
        everyone = torch.cat([all_z1, all_z2]).to(precise)
        loss, top1 = _BlockwiseLoss.apply(local, everyone, problem)
    return NtXent(loss, top1)


class _BlockwiseLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, everyone: Tensor, problem: _Problem) -> tuple[Tensor, Tensor]:
        rows = len(local)
        total, hits = local.new_zeros(()), local.new_zeros(())
        local_gradient, everyone_gradient = torch.empty_like(local), torch.zeros_like(everyone)
        for start in range(0, rows, problem.block_rows):
            stop = min(start + problem.block_rows, rows)
            loss, hit, slope = _block(local[start:stop] @ everyone.T, start, rows, problem)
            total += loss
            hits += hit
            local_gradient[start:stop] = slope @ everyone
            # What this rank's rows do to the others' vectors; gather_with_gradient sums it over the ranks.
            everyone_gradient += slope.T @ local[start:stop]
        # Gradients and no similarities: (2N, D) instead of (2N, 2N).
        ctx.save_for_backward(local_gradient / rows, everyone_gradient / rows)
        top1 = hits / rows
        ctx.mark_non_differentiable(top1)
        return total / rows, top1

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        local_gradient, everyone_gradient = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        return local_gradient * gradient, everyone_gradient * gradient, None


def _block(similarity: Tensor, start: int, rows: int, problem: _Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of the losses of a block of rows, how many have their positive nearest, and d(sum)/d(similarity) (r, 2N)."""
    count, samples = similarity.shape
    n, total = rows // 2, samples // 2
    index = torch.arange(start, start + count, device=similarity.device)
    # Local rows are [view 1, view 2] of this rank; among all samples the second views begin at N.
    own = problem.offset + index + torch.where(index >= n, total - n, 0)
    # Half the batch further on, around the end: it is its own inverse.
    positive = (own + total) % samples
    own, positive = own[:, None], positive[:, None]

    distance, weighed = _distances(problem, start, start + count)
    numerator_weight, denominator_weight = _weights(similarity, weighed, index % n, positive, problem)
    others = samples - 1
    if problem.centred:
        # Over all others; the similarity of a sample with itself is 1 whatever it learns.
        mean = (similarity.sum(dim=1, keepdim=True) - similarity.gather(1, own)) / others
        similarity = similarity - mean
    logits = similarity * denominator_weight / problem.temperature
    # exp of it is 0: a sample is no negative of its own.
    logits.scatter_(1, own, -torch.inf)
    excluded = _excluded(own, positive, distance, samples, problem.false_negatives)
    if excluded is not None:
        logits.masked_fill_(excluded, -torch.inf)

    positive_similarity = similarity.gather(1, positive)
    # Not log of a sum of exp, which overflows at small temperatures.
    log_sum = logits.logsumexp(dim=1, keepdim=True)
    loss = (log_sum - numerator_weight * positive_similarity / problem.temperature).sum()
    # By plain similarities: whether the positive is nearest must not depend on weights and masks.
    nearest = similarity.scatter(1, own, -torch.inf).argmax(dim=1, keepdim=True) == positive

    slope = torch.exp(logits - log_sum) * denominator_weight
    # Added, since the positive is a term of the denominator as well.
    slope.scatter_add_(1, positive, -numerator_weight)
    if problem.centred:  # every other sample of the row has its share in the mean
        slope -= (slope.sum(dim=1, keepdim=True) / others).expand_as(slope).scatter(1, own, 0.0)
    return loss, nearest.sum().to(similarity.dtype), slope / problem.temperature


def _distances(problem: _Problem, start: int, stop: int) -> tuple[Tensor | None, Tensor | None]:
    """Distances (r, 2N) of the joints of a block of rows, and of what its weights are of; None where not needed."""
    of_joints = None
    if problem.joints is not None and problem.false_negatives.distance_px > 0:
        of_joints = problem.joints.distances(start, stop)
    if problem.weights is None or problem.weights.of_distance is None or problem.weighed is None:
        return of_joints, None
    # The same distances serve both; they are the dearest part of a block.
    if of_joints is not None and problem.weighed is problem.joints:
        return of_joints, of_joints
    return of_joints, problem.weighed.distances(start, stop)


def _weights(
    similarity: Tensor, distance: Tensor | None, pair: Tensor, positive: Tensor, problem: _Problem
) -> tuple[Tensor, Tensor]:
    """Weight of each row's numerator (r, 1) and of its denominator's terms (r, 2N); ``pair`` (r,) is local."""
    one = similarity.new_ones(1, 1)
    if problem.weights is None:
        return one.expand(len(similarity), 1), one
    numerator = problem.weights.positive[pair, None].to(similarity.dtype)
    if problem.weights.of_distance is None or distance is None:
        if problem.positive_denominator != "w_pos":
            return numerator, one
        return numerator, torch.ones_like(similarity).scatter(1, positive, numerator)
    denominator = problem.weights.of_distance(distance).to(similarity.dtype)
    if problem.positive_denominator == "w_pos":
        denominator = denominator.scatter(1, positive, numerator)
    elif problem.positive_denominator == "one":
        denominator = denominator.scatter(1, positive, 1.0)
    return numerator, denominator


def _excluded(
    own: Tensor, positive: Tensor, distance: Tensor | None, samples: int, false_negatives: FalseNegatives
) -> Tensor | None:
    """Terms (r, 2N) to leave out of the denominators, never the positive; None where nothing is to be left out."""
    excluded: Tensor | None = None
    if false_negatives.images is not None:
        images = false_negatives.images
        mine = images[own[:, 0] % (samples // 2)]
        shared = (mine[:, None, :, None] == images[None, :, None, :]).any(dim=3).any(dim=2)
        # Both views of a pair show its two images, so one matrix serves both halves.
        excluded = torch.cat([shared, shared], dim=1)
    if false_negatives.distance_px > 0 and distance is not None:
        near = distance < false_negatives.distance_px
        excluded = near if excluded is None else excluded | near
    # A pair shares its images with itself, and its joints are near each other.
    return None if excluded is None else excluded.scatter(1, positive, False)
