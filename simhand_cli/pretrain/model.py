"""What is trained, encoder and projection head, and one batch's loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from simhand_cli.models.encoder import Encoder, build_encoder, normalise
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.pretrain.loss_options import LossSettings
from simhand_cli.pretrain.methods.method import Method, PairIds, Projected
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.training.step.precision import Precision
from simhand_cli.views.counter_rng import combine
from simhand_cli.views.options import ViewSettings
from simhand_cli.views.transform import View, apply_view, draw_parameters

if TYPE_CHECKING:
    from simhand_cli.pretrain.settings import PretrainSettings


class ContrastiveModel(nn.Module):
    """Encoder and projection head in one module, as DistributedDataParallel wants it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = ProjectionHead(encoder.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, 128) projections, not of unit length."""
        projections: Tensor = self.projection(self.encoder(images))
        return projections


def build_model(encoder_name: str, seed: int) -> ContrastiveModel:
    """A model with random weights that follow from the seed alone."""
    # Weights are drawn on the CPU, so that they are the same for any device and number of processes.
    torch.manual_seed(seed)
    return ContrastiveModel(build_encoder(encoder_name))


@dataclass(frozen=True)
class PairLoss:
    """From a batch of stored crops to the loss.

    Attributes:
        method: which second view, whether T is undone, which loss.
        views: how views are drawn.
        settings: how features are compared.
        seed: of the run.
        precision: number format.
        device: where the views are drawn.
        companion: the module that the method keeps beside the model, if it keeps one.
    """

    method: Method
    views: ViewSettings
    settings: LossSettings
    seed: int
    precision: Precision
    device: str
    companion: nn.Module | None = None

    @classmethod
    def of(
        cls, settings: "PretrainSettings", precision: Precision, device: str, companion: nn.Module | None = None
    ) -> "PairLoss":
        """The loss of a run."""
        seed = settings.seed
        return cls(settings.chosen_method, settings.views, settings.loss, seed, precision, device, companion)

    def draw_views(self, batch: PairBatch) -> tuple[View, View]:
        """Both views of every pair; a function of (seed, epoch, key), whatever batch, rank or worker it is in."""
        seed = combine(self.seed, batch.epoch)
        # Streams 0 and 1: with one stream both views of a crop would be the same.
        first = draw_parameters(seed, batch.keys, 0, self.views)
        second = draw_parameters(seed, batch.keys, 1, self.views)
        keypoints1 = batch.keypoints1_px.to(self.precision.dtype)
        keypoints2 = batch.keypoints2_px.to(self.precision.dtype)
        return (
            apply_view(batch.crops1.permute(0, 3, 1, 2), keypoints1, first, self.views),
            apply_view(batch.crops2.permute(0, 3, 1, 2), keypoints2, second, self.views),
        )

    def __call__(self, model: nn.Module, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (scalar, with gradient) and metrics (detached) of this rank's part of a batch.

        Args:
            model: a :class:`ContrastiveModel`, wrapped or not.
            batch: on this rank's device.
        """
        return self.compare(self.project(model, batch), batch)

    def project(self, model: nn.Module, batch: PairBatch) -> Projected:
        """Draw both views of every pair and project them."""
        view1, view2 = self.draw_views(batch)
        # Both views in one pass: batch norm's statistics are of all 2B images, as published.
        images = normalise(torch.cat([view1.images, view2.images]).to(self.precision.dtype))
        # The faster layout of convolutions.
        images = images.contiguous(memory_format=torch.channels_last)
        # The network alone: geometry and losses in half precision would lose small angles and distances.
        with self.precision.autocast(self.device):
            z1, z2 = self.method.project(model, images, self.companion)
        return Projected(z1, z2, view1.params, view2.params, view1.keypoints_px, view2.keypoints_px)

    def compare(self, projected: Projected, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics of the projections of a batch."""
        # Rows tell images apart, so that a positive that is another pair's anchor is known as such.
        ids = PairIds(torch.stack([batch.rows1, batch.rows2], dim=1), self._embeddings(batch))
        return self.method.compare(self.settings, projected, ids, self.views.output_px, self.companion)

    def _embeddings(self, batch: PairBatch) -> tuple[Tensor, Tensor] | None:
        if batch.embeddings1 is None or batch.embeddings2 is None:
            return None
        return batch.embeddings1.to(self.precision.dtype), batch.embeddings2.to(self.precision.dtype)


#: Where a :class:`~simhand_cli.pretrain.model.ContrastiveModel` holds the encoder's own layers.
_BACKBONE: Final = "encoder.backbone."
#: Name of the stem's norm in timm's and torchvision's ResNets.
_STEM_NORM: Final = "bn1"
#: Beginning of the names of other encoders' stems.
_STEM: Final = "stem."


def released_scales(model: nn.Module) -> list[nn.Parameter]:
    """The scales (gammas) that the released code decays, since their names do not say that they belong to a norm.

    It spares parameters whose name contains "bias" or "bn". Its encoder is a Sequential of a ResNet's parts, so the
    stem's norm is called ``features.1``, those of the shortcuts ``downsample.1`` and the projection head's ``1`` (fact
    sheet, section 1.4). In other encoders these are the norms whose own name contains neither "bn" nor "norm", and
    those of the stem.

    Args:
        model: a :class:`~simhand_cli.pretrain.model.ContrastiveModel`, not wrapped.
    """
    found = []
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        # By the type's name: norms of timm and of torch have no common base class.
        if "Norm" not in type(module).__name__ or not isinstance(weight, nn.Parameter) or not weight.requires_grad:
            continue
        within = path.removeprefix(_BACKBONE)
        own = within.rpartition(".")[2]
        if within == _STEM_NORM or within.startswith(_STEM) or not ("bn" in own or "norm" in own):
            found.append(weight)
    return found
