import pytest
import torch
from torch import nn

from simhand_cli.models.projection_head import ProjectionHead


def test_shapes_and_layers():
    head = ProjectionHead(2048)
    assert head(torch.randn(4, 2048)).shape == (4, 128)
    sizes = {name: tuple(value.shape) for name, value in head.named_parameters()}
    assert sizes == {
        "layers.0.weight": (512, 2048),
        "layers.0.bias": (512,),
        "layers.1.weight": (512,),
        "layers.1.bias": (512,),
        "layers.3.weight": (128, 512),
    }


def test_batch_norm_can_be_shared_over_ranks():
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(ProjectionHead(16))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())


def test_points_have_two_coordinates():
    with pytest.raises(ValueError, match="even"):
        ProjectionHead(16, out_features=5)
