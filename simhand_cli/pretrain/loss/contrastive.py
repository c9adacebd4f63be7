"""The contrastive loss of the NT-Xent methods: T undone in features, ranks gathered, pairs weighed and compared."""

from dataclasses import replace

import torch
from torch import Tensor

from simhand_cli.pretrain.loss.diagnostics import negative_weight_shares, uniformity, weight_shares
from simhand_cli.pretrain.loss.feature_inverse import hand_spread, invert_view_in_features
from simhand_cli.pretrain.loss.nt_xent import FalseNegatives, weighted_nt_xent
from simhand_cli.pretrain.loss.pair_weights import BatchPoints, PairWeights, linear_weights, nonlinear_weights
from simhand_cli.pretrain.loss_options import LossSettings
from simhand_cli.training.processes.gather import gather, gather_with_gradient, world
from simhand_cli.views.geometry import undo_view
from simhand_cli.views.parameters import ViewParameters


def contrastive_loss(
    geometric: bool,
    settings: LossSettings,
    z1: Tensor,
    z2: Tensor,
    params1: ViewParameters,
    params2: ViewParameters,
    keypoints1_px: Tensor,
    keypoints2_px: Tensor,
    *,
    images: Tensor | None = None,
    embeddings: tuple[Tensor, Tensor] | None = None,
    output_px: int = 128,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Undo T in feature space, collect the ranks' samples, weigh the pairs, compare.

    Args:
        geometric: T has rotated and moved the hand, and this is undone in the features.
        settings: how they are compared.
        z1: (n, 2P) projections of this rank's first views, not normalised.
        z2: (n, 2P) of their positives.
        params1: parameters of the first views as ``apply_view`` returned them.
        params2: of their positives.
        keypoints1_px: (n, 21, 2) joints in the first views.
        keypoints2_px: (n, 21, 2) in their positives.
        images: (n, 2) int64 ids of the images the two views show; needed to leave out false negatives, which
            otherwise are kept.
        embeddings: (n, D) pose embeddings of both views' crops, for ``weight_metric="embedding"``.
        output_px: side of the views.

    Returns:
        this rank's mean loss (with DDP's averaging, loss and gradient of the joined batch) and detached scalars:
        ``positive_similarity``, ``negative_similarity``, ``top1``, ``alignment`` and ``uniformity`` of the features as
        they are compared, and, with weights, ``positive_weight``, its minimum and maximum, and two vectors of shares,
        ``positive_weight_histogram`` and ``negative_weight_histogram``.
    """
    # Float32 from here on: exp of similarities over a low temperature overflows fp16 and is coarse in bf16.
    z = torch.cat([z1, z2]).to(torch.promote_types(z1.dtype, torch.float32))
    params = ViewParameters.joined(params1, params2)
    joints_px = torch.cat([keypoints1_px, keypoints2_px])
    with torch.autocast(z.device.type, enabled=False):
        # Before gathering: each rank knows its own views' parameters only.
        z = _undone(geometric, settings, z, params, joints_px, output_px)
        share = settings.negatives == "global"
        joints = _batch_joints(settings, joints_px, params, output_px, share)
        weighed = _weighed(settings, joints, embeddings, share)
        weights = None if weighed is None else _pair_weights(settings, weighed)
        first, second = z.chunk(2)
        # Both views in one exchange.
        everyone = gather_with_gradient(torch.stack([first, second], dim=1)) if share else None
        all_first, all_second = (first, second) if everyone is None else everyone.unbind(1)
        result = weighted_nt_xent(
            first,
            second,
            all_z1=all_first,
            all_z2=all_second,
            # With negatives of the own rank the batch is this rank's, and begins at 0.
            offset=world()[0] * len(first) if share else 0,
            temperature=settings.temperature,
            joints=joints,
            weighed=weighed,
            weights=weights,
            positive_denominator=settings.positive_denominator,
            false_negatives=_false_negatives(settings, images, share),
            centred=weights is not None and settings.similarities == "centred",
            block_rows=settings.block_rows,
        )
    metrics = {"top1": result.top1, **_similarities(first.detach(), second.detach())}
    metrics["alignment"] = 2 - 2 * metrics["positive_similarity"]
    metrics["uniformity"] = uniformity(first.detach())
    if weights is not None and weighed is not None:
        metrics |= _weight_metrics(weighed, weights)
    return result.loss, metrics


def _undone(
    geometric: bool, settings: LossSettings, z: Tensor, params: ViewParameters, joints_px: Tensor, output_px: int
) -> Tensor:
    return invert_view_in_features(
        z,
        params,
        undo_rotation=geometric,
        undo_translation=geometric,
        shift_unit=settings.shift_unit,
        spread=hand_spread(joints_px, output_px),
        output_px=output_px,
    )


def _batch_joints(
    settings: LossSettings, joints_px: Tensor, params: ViewParameters, output_px: int, share: bool
) -> BatchPoints | None:
    """The joints whose distances are needed, or None."""
    if settings.false_negative_px == 0 and (settings.weights == "none" or settings.weight_metric == "embedding"):
        return None
    # In the views, distances are those of the two rotations, not of the poses (docs/decisions.md).
    if settings.weight_joints == "undone":
        joints_px = undo_view(joints_px, params, output_px)
    return _batch_points(joints_px, share)


def _weighed(
    settings: LossSettings, joints: BatchPoints | None, embeddings: tuple[Tensor, Tensor] | None, share: bool
) -> BatchPoints | None:
    """What the weights are of: the joints, or the embeddings as one point each; None without weights."""
    if settings.weights == "none":
        return None
    if settings.weight_metric != "embedding":
        return joints
    if embeddings is None:
        raise ValueError("weight_metric='embedding' needs the pose embeddings of the batch")
    # An embedding as a hand of one point, so that one formula serves both.
    return _batch_points(torch.cat(embeddings)[:, None], share)


def _batch_points(points: Tensor, share: bool) -> BatchPoints:
    """This rank's points (2n, P, C), among those of all ranks if they share the batch."""
    if not share:
        return BatchPoints(points, points, offset=0, reduce=False)
    # By pair, then parted again: ranks follow each other within each view, as in the features.
    everyone = gather(torch.stack(points.chunk(2), dim=1))
    return BatchPoints(points, torch.cat(everyone.unbind(1)), offset=world()[0] * (len(points) // 2), reduce=True)


def _pair_weights(settings: LossSettings, points: BatchPoints) -> PairWeights | None:
    if settings.weights == "linear":
        weights = linear_weights(points, settings.weight_range, settings.block_rows)
    elif settings.weights == "nonlinear":
        weights = nonlinear_weights(
            points, settings.weight_range, settings.lambda_positive, settings.lambda_negative, settings.block_rows
        )
    else:
        return None
    if settings.weighted == "positives":
        # None and not ones: a matrix of ones would cost the distances of all pairs once more.
        return replace(weights, of_distance=None)
    if settings.weighted == "negatives":
        return replace(weights, positive=torch.ones_like(weights.positive))
    return weights


def _weight_metrics(points: BatchPoints, weights: PairWeights) -> dict[str, Tensor]:
    low, high = weights.positive.aminmax()
    found = {
        "positive_weight": weights.positive.mean(),
        "positive_weight_min": low,
        "positive_weight_max": high,
        "positive_weight_histogram": weight_shares(weights.positive),
    }
    if weights.of_distance is None:
        return found
    return {**found, "negative_weight_histogram": negative_weight_shares(points, weights.of_distance)}


def _false_negatives(settings: LossSettings, images: Tensor | None, share: bool) -> FalseNegatives:
    if images is not None and settings.false_negatives == "mask":
        return FalseNegatives(gather(images) if share else images, settings.false_negative_px)
    return FalseNegatives(None, settings.false_negative_px)


def _similarities(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Mean cosine of this rank's positive pairs and of its negative pairs."""
    positive = (first * second).sum()
    # Vectors have length 1, so that the pairs of each with itself add up to their number.
    count = 2 * len(first)
    # The sum over all ordered pairs is the squared length of the vectors' sum.
    everything = (first + second).sum(dim=0).square().sum()
    negative = (everything - count - 2 * positive) / max(1, count * (count - 2))
    return {"positive_similarity": positive / len(first), "negative_similarity": negative}
