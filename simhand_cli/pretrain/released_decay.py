"""Which scales of norm layers the released code decays beside the weights of linear and convolution layers."""

from typing import Final

from torch import nn

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
        if "Norm" not in type(module).__name__ or not isinstance(weight, nn.Parameter) or not weight.requires_grad:
            continue
        within = path.removeprefix(_BACKBONE)
        own = within.rpartition(".")[2]
        if within == _STEM_NORM or within.startswith(_STEM) or not ("bn" in own or "norm" in own):
            found.append(weight)
    return found
