"""The methods of contrastive pre-training, each a choice among shared parts, and the loss they share."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor

from simhand_cli.pretrain.loss.diagnostics import negative_weight_shares, uniformity, weight_shares
from simhand_cli.pretrain.loss.feature_inverse import hand_spread, invert_view_in_features
from simhand_cli.pretrain.loss.gather import gather, gather_with_gradient, world
from simhand_cli.pretrain.loss.nt_xent import FalseNegatives, weighted_nt_xent
from simhand_cli.pretrain.loss.pair_weights import BatchPoints, PairWeights, linear_weights, nonlinear_weights
from simhand_cli.pretrain.loss_options import LossOptions, Recipe, WeightKind
from simhand_cli.views.geometry import undo_view
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters

MethodName = Literal["simclr", "peclr", "tempclr", "handclr", "simhand"]
#: What the second view shows: the same image, the same hand a moment later, or one mined from another video.
Positive = Literal["same-image", "next-frame", "mined"]


@dataclass(frozen=True)
class Method:
    """What distinguishes a method.

    Attributes:
        name: on the command line.
        positive: what the second view shows.
        geometric: T rotates and moves the hand, and this is undone in feature space.
        weights: the adaptive weights used unless the options say otherwise.
    """

    name: MethodName
    positive: Positive
    geometric: bool
    weights: WeightKind

    def filled(self, options: LossOptions) -> LossOptions:
        """The options of its loss with every open one set."""
        return options.filled(self.weights, same_image=self.positive == "same-image")


METHODS: Final[dict[MethodName, Method]] = {
    "simclr": Method("simclr", "same-image", geometric=False, weights="none"),
    "peclr": Method("peclr", "same-image", geometric=True, weights="none"),
    "tempclr": Method("tempclr", "next-frame", geometric=True, weights="none"),
    "handclr": Method("handclr", "mined", geometric=True, weights="none"),
    "simhand": Method("simhand", "mined", geometric=True, weights="linear"),
}

#: The released code cuts views off at the frame; its jitter goes one way, and its SimCLR moves but does not scale.
_OFFICIAL_TRANSLATION = (0.0, 15 / 224)
_OFFICIAL_SIMCLR_MARGIN = (1.25, 1.25)


def resolve_views(method: Method, recipe: Recipe, options: ViewOptions) -> ViewOptions:
    """Fill the open view options as method and recipe say; what the user set stays.

    SimCLR takes scale and colour only (SiMHand, Sec. 4.1), but translation and colour under ``recipe=official``.
    """
    still = (0.0, 0.0)
    official = recipe == "official"
    if official:
        options = options.filled(
            hue_order="bgr-swapped",
            border="cut",
            translation=_OFFICIAL_TRANSLATION,
            margin=None if method.geometric else _OFFICIAL_SIMCLR_MARGIN,
        )
    if not method.geometric:
        options = options.filled(rotation_deg=still, translation=still)
    return options.resolved()


def contrastive_loss(
    method: Method,
    options: LossOptions,
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
        method: what to do.
        options: how; open ones are filled by their recipe.
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
    options = method.filled(options)
    z = torch.cat([z1, z2]).to(torch.promote_types(z1.dtype, torch.float32))
    params = ViewParameters.joined(params1, params2)
    joints_px = torch.cat([keypoints1_px, keypoints2_px])
    with torch.autocast(z.device.type, enabled=False):
        z = _undone(method, options, z, params, joints_px, output_px)
        share = options.negatives == "global"
        joints = _batch_joints(options, joints_px, params, output_px, share)
        weighed = _weighed(options, joints, embeddings, share)
        weights = None if weighed is None else _pair_weights(options, weighed)
        first, second = z.chunk(2)
        everyone = gather_with_gradient(torch.stack([first, second], dim=1)) if share else None
        all_first, all_second = (first, second) if everyone is None else everyone.unbind(1)
        result = weighted_nt_xent(
            first,
            second,
            all_z1=all_first,
            all_z2=all_second,
            offset=world()[0] * len(first) if share else 0,
            temperature=options.temperature,
            joints=joints,
            weighed=weighed,
            weights=weights,
            positive_denominator=options.positive_denominator or "w_neg",
            false_negatives=_false_negatives(options, images, share),
            centred=weights is not None and options.similarities == "centred",
            block_rows=options.block_rows,
        )
    metrics = {"top1": result.top1, **_similarities(first.detach(), second.detach())}
    metrics["alignment"] = 2 - 2 * metrics["positive_similarity"]
    metrics["uniformity"] = uniformity(first.detach())
    if weights is not None and weighed is not None:
        metrics |= _weight_metrics(weighed, weights)
    return result.loss, metrics


def _undone(
    method: Method, options: LossOptions, z: Tensor, params: ViewParameters, joints_px: Tensor, output_px: int
) -> Tensor:
    return invert_view_in_features(
        z,
        params,
        undo_rotation=method.geometric,
        undo_translation=method.geometric,
        shift_unit=options.shift_unit or "hand",
        spread=hand_spread(joints_px, output_px),
        output_px=output_px,
    )


def _batch_joints(
    options: LossOptions, joints_px: Tensor, params: ViewParameters, output_px: int, share: bool
) -> BatchPoints | None:
    """The joints whose distances are needed, or None."""
    if options.false_negative_px == 0 and (options.weights == "none" or options.weight_metric == "embedding"):
        return None
    if options.weight_joints == "undone":
        joints_px = undo_view(joints_px, params, output_px)
    return _batch_points(joints_px, share)


def _weighed(
    options: LossOptions, joints: BatchPoints | None, embeddings: tuple[Tensor, Tensor] | None, share: bool
) -> BatchPoints | None:
    """What the weights are of: the joints, or the embeddings as one point each; None without weights."""
    if options.weights == "none":
        return None
    if options.weight_metric != "embedding":
        return joints
    if embeddings is None:
        raise ValueError("weight_metric='embedding' needs the pose embeddings of the batch")
    return _batch_points(torch.cat(embeddings)[:, None], share)


def _batch_points(points: Tensor, share: bool) -> BatchPoints:
    """This rank's points (2n, P, C), among those of all ranks if they share the batch."""
    if not share:
        return BatchPoints(points, points, offset=0, reduce=False)
    everyone = gather(torch.stack(points.chunk(2), dim=1))
    return BatchPoints(points, torch.cat(everyone.unbind(1)), offset=world()[0] * (len(points) // 2), reduce=True)


def _pair_weights(options: LossOptions, points: BatchPoints) -> PairWeights | None:
    weight_range = options.weight_range or "single"
    if options.weights == "linear":
        weights = linear_weights(points, weight_range, options.block_rows)
    elif options.weights == "nonlinear":
        weights = nonlinear_weights(
            points, weight_range, options.lambda_positive, options.lambda_negative, options.block_rows
        )
    else:
        return None
    if options.weighted == "positives":
        return replace(weights, of_distance=None)
    if options.weighted == "negatives":
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


def _false_negatives(options: LossOptions, images: Tensor | None, share: bool) -> FalseNegatives:
    if images is not None and options.false_negatives == "mask":
        return FalseNegatives(gather(images) if share else images, options.false_negative_px)
    return FalseNegatives(None, options.false_negative_px)


def _similarities(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Mean cosine of this rank's positive pairs and of its negative pairs."""
    positive = (first * second).sum()
    count = 2 * len(first)
    # The sum over all ordered pairs is the squared length of the vectors' sum.
    everything = (first + second).sum(dim=0).square().sum()
    negative = (everything - count - 2 * positive) / max(1, count * (count - 2))
    return {"positive_similarity": positive / len(first), "negative_similarity": negative}
