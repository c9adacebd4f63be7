"""What a method of contrastive pre-training says: its second view, whether T is undone, its weights and its loss."""

from dataclasses import dataclass
from typing import ClassVar, Final

from torch import Tensor, nn

from simhand_cli.pretrain.loss.contrastive import contrastive_loss
from simhand_cli.pretrain.loss_options import LossOptions, LossSettings, MethodName, Recipe, WeightKind
from simhand_cli.pretrain.pairs.pair_table import Positive
from simhand_cli.views.options import ViewOptions, ViewSettings
from simhand_cli.views.parameters import ViewParameters

#: The released code cuts views off at the frame; its jitter goes one way, and its SimCLR moves but does not scale.
_OFFICIAL_TRANSLATION: Final = (0.0, 15 / 224)
_OFFICIAL_SIMCLR_MARGIN: Final = (1.25, 1.25)


@dataclass(frozen=True)
class Projected:
    """Projections of B pairs, and what a loss needs to know of their views.

    Attributes:
        z1, z2: (B, 2P), not of unit length.
        params1, params2: of the views, as :func:`~simhand_cli.views.transform.apply_view` returned them.
        keypoints1_px, keypoints2_px: (B, 21, 2) in the views.
    """

    z1: Tensor
    z2: Tensor
    params1: ViewParameters
    params2: ViewParameters
    keypoints1_px: Tensor
    keypoints2_px: Tensor


@dataclass(frozen=True)
class PairIds:
    """What the two crops of B pairs are.

    Attributes:
        images: (B, 2) int64 ids of the images; negatives that share one may be left out.
        embeddings: (B, D) pose embeddings of both crops, where the weights are of these.
    """

    images: Tensor
    embeddings: tuple[Tensor, Tensor] | None = None


class Method:
    """A method: attributes that say what it does, and steps that one with a loss of its own overrides.

    Attributes:
        name: on the command line.
        positive: what the second view shows.
        geometric: T rotates and moves the hand, and this is undone in feature space.
        weights: the adaptive weights used unless the options say otherwise.
    """

    name: ClassVar[MethodName]
    positive: ClassVar[Positive]
    geometric: ClassVar[bool] = True
    weights: ClassVar[WeightKind] = "none"

    def settle_loss(self, options: LossOptions) -> LossSettings:
        """The options of its loss with every open one set."""
        return options.settled(self.weights, same_image=self.positive == "same-image")

    def settle_views(self, recipe: Recipe, options: ViewOptions) -> ViewSettings:
        """Fill the open view options as method and recipe say; what the user set stays.

        SimCLR takes scale and colour only (SiMHand, Sec. 4.1), but translation and colour under ``recipe=official``.
        """
        still = (0.0, 0.0)
        if recipe == "official":
            options = options.filled(
                hue_order="bgr-swapped",
                border="cut",
                translation=_OFFICIAL_TRANSLATION,
                margin=None if self.geometric else _OFFICIAL_SIMCLR_MARGIN,
            )
        if not self.geometric:
            # Last, and only what is still open: a user may rotate SimCLR's views on purpose.
            options = options.filled(rotation_deg=still, translation=still)
        return options.settled()

    def companion(self, model: nn.Module) -> nn.Module | None:
        """A further module that a run keeps beside its model and checkpoints hold: a momentum encoder, a queue.

        It must stay the same on every rank, since only the first one's is saved: what it collects of a batch is
        gathered (:func:`simhand_cli.training.processes.gather.gather`), and what is random is drawn from a seed.
        """
        del model
        return None

    def project(self, model: nn.Module, images: Tensor, companion: nn.Module | None) -> tuple[Tensor, Tensor]:
        """The (B, 2P) projections of the first and of the second views; ``images`` (2B, 3, H, W) are those in turn."""
        del companion
        z1, z2 = model(images).chunk(2)
        return z1, z2

    def compare(
        self, settings: LossSettings, projected: Projected, ids: PairIds, output_px: int, companion: nn.Module | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """This rank's mean loss and detached metrics; NT-Xent unless a method says otherwise."""
        del companion
        return contrastive_loss(
            self.geometric,
            settings,
            projected.z1,
            projected.z2,
            projected.params1,
            projected.params2,
            projected.keypoints1_px,
            projected.keypoints2_px,
            images=ids.images,
            embeddings=ids.embeddings,
            output_px=output_px,
        )

    def updated(self, model: nn.Module, companion: nn.Module | None) -> None:
        """After every optimiser step, e.g. to move a momentum encoder."""
