"""Reading weight files of many origins and bringing their names to timm's."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from simhand_cli.errors import InputProblem

#: The official pre-training code wraps a torchvision ResNet as ``features = Sequential(conv1, bn1, relu, maxpool,
#: layer1..4, avgpool)``: position in it -> torchvision's name.
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
#: Where training programs put the weights inside their checkpoint.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher", "encoder")


def read_weights(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """All tensors of a weight file, as named in it, and the architecture it says it is for.

    Raises:
        InputProblem: missing, unreadable, or holding other things than tensors where weights should be.
    """
    if not path.is_file():
        raise InputProblem(f"{path} is not there; give a pretrain run's folder, a .safetensors or a .pth file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path), None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, (file.metadata() or {}).get("arch")
    except (SafetensorError, OSError) as error:
        raise InputProblem(f"{path} is not a readable safetensors file: {error}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        # A pickle can run any program when it is loaded; weights_only takes tensors and plain values alone.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputProblem(
            f"{path} holds program objects, which are not loaded for safety; save its state_dict alone and use that"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputProblem(f"{path} is not a readable torch file{_said_by(error)}") from error
    # The outermost known one: "teacher" and the like lie beside optimiser states.
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise InputProblem(f"{path} holds a {type(content).__name__}, not named tensors")
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise InputProblem(f"{path} holds no named tensors")
    return weights


def _said_by(error: Exception) -> str:
    """The reader's reason, if it gave one: of a file of another kind it may say a mere number."""
    lines = str(error).splitlines()
    return f": {lines[0]}" if lines and " " in lines[0] else ""


def match_names(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Find the naming under which most of a file's tensors fit a model.

    Tried are the names as they are and without any prefix that occurs (``module.``, ``encoder.backbone.``, ...), each
    also with the numbered layers of the official release translated.

    Args:
        weights: tensors as named in the file.
        own: the model's state dict.

    Returns:
        (tensors under the model's names, names in the file that found no place).
    """
    best: dict[str, str] = {}
    for prefix in _prefixes(weights):
        for translate in (False, True):
            names: dict[str, str] = {}
            for name in weights:
                if name.startswith(prefix):
                    bare = name.removeprefix(prefix)
                    names[_from_sequential(bare) if translate else bare] = name
            fitting = {target: source for target, source in names.items() if target in own}
            # More and not as many: the plain naming, which is tried first, wins a tie.
            if len(fitting) > len(best):
                best = fitting
    used = set(best.values())
    return {target: weights[source] for target, source in best.items()}, [n for n in weights if n not in used]


def _prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """The empty prefix and all dotted ones that occur, shortest first."""
    found = {""}
    for name in weights:
        parts = name.split(".")
        # Deeper ones are layers' own names, not wrappers.
        found.update(".".join(parts[:depth]) + "." for depth in range(1, min(len(parts), 5)))
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _from_sequential(name: str) -> str:
    index, dot, rest = name.partition(".")
    return _SEQUENTIAL.get(index, index) + dot + rest
