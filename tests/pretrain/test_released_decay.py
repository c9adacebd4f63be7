"""Which scales the released code decays: against its own rule on its own names."""

import pytest
import torch
import torchvision
from torch import nn

from simhand_cli.models.encoder import Encoder
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.pretrain.model import ContrastiveModel, build_model, released_scales
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.optimisers import parameter_groups
from simhand_cli.training.step.sync_batch_norm import synchronise_batch_norm


class Released(nn.Module):
    """The released layout: a ResNet's parts in a Sequential, and a head in another one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        resnet = torchvision.models.get_model(name, weights=None)
        self.features = nn.Sequential(*list(resnet.children())[:-1])
        width = resnet.fc.in_features
        self.projection_head = nn.Sequential(
            nn.Linear(width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128, bias=False)
        )

    def decayed(self) -> list[bool]:
        """Of every parameter: base_model.py, lines 32 to 53."""
        return ["bias" not in name and "bn" not in name for name, _ in self.named_parameters()]


def ours_decayed(model: ContrastiveModel) -> list[bool]:
    groups = parameter_groups([model], 1e-6, also_decayed=released_scales(model))
    decayed = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    return [id(p) in decayed for p in model.parameters()]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("synchronised", [False, True])
def test_resnets_decay_what_the_released_names_decay(name, synchronised):
    with torch.device("meta"):
        ours, theirs = build_model(name, 0), Released(name)
    if synchronised:  # the layers are then others
        ours = synchronise_batch_norm(build_model(name, 0), Ranks(rank=0, world_size=2, grouped=True))
    shapes = [[p.shape for p in model.parameters()] for model in (ours, theirs)]
    assert shapes[0] == shapes[1]  # the same layers in the same order
    decayed = ours_decayed(ours)
    assert decayed == theirs.decayed()
    kernels = sum(p.ndim > 1 for p in ours.parameters())
    assert sum(decayed) - kernels == {"resnet18": 1 + 3 + 1, "resnet50": 1 + 4 + 1}[name]


def test_scales_of_torchvision_s_own_resnet_have_the_same_names():
    with torch.device("meta"):
        model = build_model("resnet18", 0)
        torchvisions = torchvision.models.get_model("resnet18", weights=None)
        torchvisions.fc = nn.Identity()
        torchvisions.num_features, torchvisions.feature_info = 512, [{"reduction": 32}]
        other = ContrastiveModel(Encoder("resnet18", torchvisions))
    assert isinstance(other.projection, ProjectionHead)
    assert ours_decayed(other) == ours_decayed(model)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_lite0", {"bn1"}),
        ("regnety_002", {"stem.bn"}),
        ("test_vit", set()),
        ("resnet50d", {"conv1.1", "conv1.4", "bn1", *(f"layer{n}.0.downsample.2" for n in (1, 2, 3, 4))}),
    ],
)
def test_of_other_encoders_those_of_the_stem_and_those_that_are_not_named_as_norms(name, expected):
    with torch.device("meta"):
        model = build_model(name, 0)
    names = {id(p): path for path, p in model.named_parameters()}
    found = {names[id(p)].removesuffix(".weight") for p in released_scales(model)}
    assert "projection.layers.1" in found
    assert found - {"projection.layers.1"} == {f"encoder.backbone.{path}" for path in expected}
