"""The projection head of contrastive pre-training."""

from typing import cast

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Linear, batch norm, ReLU, Linear: encoder features to P points of two coordinates (PeCLR, Spurr et al. 2021).

    The batch norm is an ``nn.BatchNorm1d``, so ``nn.SyncBatchNorm.convert_sync_batchnorm`` finds it. The output is
    not normalised; the loss does that.

    Args:
        in_features: of the encoder.
        hidden: width of the middle layer.
        out_features: 2P numbers, taken as (x0, y0, x1, y1, ...) by the feature-space inverse.
    """

    def __init__(self, in_features: int, hidden: int = 512, out_features: int = 128) -> None:
        super().__init__()
        if out_features % 2:
            raise ValueError(f"the projection is a set of 2D points, so its size must be even, not {out_features}")
        self.out_features = out_features
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            # Without bias, as released: a constant would be part of every point set that T is undone on.
            nn.Linear(hidden, out_features, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, in) to projections (B, out)."""
        return cast(Tensor, self.layers(features))
