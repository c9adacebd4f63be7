"""The image encoder: any timm model, with weights from a run, a safetensors file or a torchvision-style file."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.models.encoder_weights import match_names, read_weights
from simhand_cli.workspace.paths import BACKBONE_FILE

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class LoadReport:
    """What happened to the tensors of a weight file.

    Attributes:
        missing: tensors of the encoder that the file lacks; they keep their random values.
        unexpected: tensors of the file that the encoder has no place for (a classifier, a projection head).
    """

    missing: list[str]
    unexpected: list[str]


class Encoder(nn.Module):
    """A timm backbone without classifier.

    Attributes:
        name: timm's name of the model.
        num_features: length of the pooled feature vector.
        map_channels: channels of :meth:`feature_map`; for a few models not ``num_features``.
        stride: input pixels per cell of the feature map.
    """

    def __init__(self, name: str, backbone: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.map_channels = int(backbone.num_features)  # type: ignore[arg-type]  # timm declares neither
        # Some models put another layer between the map and the pooled features.
        self.num_features = int(getattr(backbone, "head_hidden_size", 0) or self.map_channels)
        self.stride = int(backbone.feature_info[-1]["reduction"])  # type: ignore[index]  # timm declares neither

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features.

        Args:
            images: (B, 3, H, W) from :func:`normalise`.

        Returns:
            (B, num_features).
        """
        features: Tensor = self.backbone(images)
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """Features before pooling.

        Args:
            images: (B, 3, H, W) from :func:`normalise`.

        Returns:
            (B, map_channels, H / stride, W / stride), whatever layout the model itself uses.
        """
        features: Tensor = self.backbone.forward_features(images)  # type: ignore[operator]  # timm declares neither
        if features.ndim == 3:  # tokens of a transformer: class tokens first, then rows of patches
            patches = features[:, int(getattr(self.backbone, "num_prefix_tokens", 0)) :]
            height, width = images.shape[-2] // self.stride, images.shape[-1] // self.stride
            return patches.transpose(1, 2).reshape(len(patches), -1, height, width)
        # Swin and its kin keep channels last.
        if features.shape[1] != self.map_channels and features.shape[-1] == self.map_channels:
            return features.permute(0, 3, 1, 2)
        return features


def build_encoder(name: str) -> Encoder:
    """An encoder with random weights.

    Args:
        name: a timm model, e.g. ``resnet50``, ``resnet18``, ``vit_small_patch16_224``.

    Raises:
        UsageProblem: timm has no such model, or it cannot serve as an encoder of small images.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.3)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UsageProblem(f"--backbone: timm has no model '{name}'{hint}")
    # Vision transformers are made for one size; their position embeddings can be interpolated.
    options: dict[str, Any] = {"dynamic_img_size": True} if _fixed_input(name) else {}
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, **options)
    # Of a model that knows no dynamic_img_size.
    except TypeError:
        raise UsageProblem(
            f"--backbone {name} takes one input size only; choose a convolutional model or a plain vision transformer"
        ) from None
    if not getattr(backbone, "feature_info", None) or not hasattr(backbone, "forward_features"):
        raise UsageProblem(f"--backbone {name} gives no feature map; try resnet50 or another convolutional model")
    return Encoder(name, backbone)


def weight_file(path: Path) -> Path:
    """The file of weights that a path stands for: itself, or that of a finished pretrain or finetune run's folder.

    Raises:
        InputProblem: a folder without one.
    """
    if not path.is_dir():
        return path
    for name in (BACKBONE_FILE, "model.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputProblem(f"{path} holds no {BACKBONE_FILE}: is it a finished 'simhand pretrain' run?")


def load_encoder_weights(encoder: Encoder, path: Path) -> LoadReport:
    """Fill an encoder from a file.

    Args:
        encoder: changed in place.
        path: the folder of a pretrain or finetune run, a .safetensors file, or a .pth/.pt/.ckpt file of tensors with
            torchvision's names, plain or inside ``state_dict``, also with the prefixes of wrappers and of the official
            SiMHand and PeCLR releases.

    Returns:
        what was missing and what was not used.

    Raises:
        InputProblem: unreadable, of another architecture, or with too little in common with the encoder.
    """
    file = weight_file(path)
    weights, architecture = read_weights(file)
    own = encoder.backbone.state_dict()
    found, unexpected = match_names(weights, own)
    # Counters of batch normalisation are absent from files of old torch versions and do not affect the result.
    missing = [name for name in own if name not in found and not name.endswith("num_batches_tracked")]
    described = f" (made for {architecture})" if architecture else ""
    # Before anything is loaded: an encoder half filled would train without a word.
    wrong = [name for name, tensor in found.items() if tensor.shape != own[name].shape]
    if wrong:
        have, want = tuple(found[wrong[0]].shape), tuple(own[wrong[0]].shape)
        raise InputProblem(f"{file}{described} does not fit encoder {encoder.name}: {wrong[0]} is {have}, not {want}")
    needed = sum(not name.endswith("num_batches_tracked") for name in own)
    # A few may be missing (a norm at the end); with most of them the file is of another network.
    if len(missing) > needed // 2:
        raise InputProblem(
            f"{file}{described} does not fit encoder {encoder.name}: it lacks {len(missing)} of {needed} tensors"
        )
    encoder.backbone.load_state_dict(found, strict=False)
    return LoadReport(missing, unexpected)


def save_backbone(encoder: Encoder, path: Path, input_px: int, facts: Mapping[str, str] | None = None) -> None:
    """Write the backbone under timm's own names; for ResNets these are torchvision's without ``fc``.

    Args:
        encoder: what to write.
        path: a .safetensors file, written atomically.
        input_px: side of the images it was trained on.
        facts: further metadata, e.g. the method.
    """
    from simhand_cli.models.weight_file import write_weights

    metadata = {
        "format": "pt",
        "schema": "simhand.backbone",
        "arch": encoder.name,
        "input_px": str(input_px),
        "normalisation": "imagenet",
        **(facts or {}),
    }
    write_weights(path, encoder.backbone.state_dict(), metadata)


def normalise(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its standard deviation.

    Args:
        images: (..., 3, H, W) RGB, uint8 in 0..255 or floating point in 0..1.

    Returns:
        the same shape, float32, or the floating type given.
    """
    scaled = images.float() / 255 if images.dtype == torch.uint8 else images
    statistics = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], dtype=scaled.dtype)
    mean, std = statistics.to(scaled.device, non_blocking=True).view(2, 3, 1, 1).unbind()  # the host does not wait
    return (scaled - mean) / std


def _fixed_input(name: str) -> bool:
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name, allow_unregistered=False)
    return bool(config and config.fixed_input_size)
