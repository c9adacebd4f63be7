"""``model.safetensors``: a fine-tuned model with everything needed to build it again."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.models.detnet import DetNet
from simhand_cli.models.encoder import build_encoder
from simhand_cli.models.options import Readout
from simhand_cli.models.weight_file import write_weights

MODEL_FILE = "model.safetensors"
_SCHEMA, _SCHEMA_VERSION = "simhand.detnet", 1


@dataclass(frozen=True)
class ModelFacts:
    """What the weights alone do not say.

    Attributes:
        encoder: timm name of the backbone.
        width: channels of DetNet's own layers.
        input_px: side of the crop.
        root_joint: joint that the location maps are relative to.
        bone_length_mm: mean length of the bone wrist - middle knuckle in the training labels; None of a model of 2D
            joints alone.
        readout: how joints are read from the maps.
        training: how the model came about, for reports.
    """

    encoder: str
    width: int
    input_px: int
    root_joint: int
    bone_length_mm: float | None
    readout: Readout = "average"
    training: dict[str, Any] = field(default_factory=dict)


def save_model(path: Path, net: DetNet, facts: ModelFacts) -> None:
    """Write a model atomically."""
    document = {"schema": _SCHEMA, "schema_version": _SCHEMA_VERSION, **asdict(facts)}
    write_weights(path, net.state_dict(), {"simhand": json.dumps(document)})


def load_model(path: Path) -> tuple[DetNet, ModelFacts]:
    """A model in evaluation mode, on the CPU.

    Args:
        path: a ``model.safetensors`` or the folder of a finished fine-tuning run.

    Raises:
        EnvironmentProblem: there is no such file.
        InputProblem: the file is damaged or no fine-tuned model of a known version.
    """
    from safetensors import SafetensorError, safe_open

    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        kind = f"holds no {MODEL_FILE}: is the fine-tuning run finished?" if path.is_dir() else "is not there"
        raise EnvironmentProblem(f"--model {path} {kind}")
    try:
        with safe_open(file, framework="pt") as stored:
            document = json.loads((stored.metadata() or {}).get("simhand", "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - the file is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputProblem(f"--model {file} is not a readable safetensors file: {error}") from error
    if (document.pop("schema", None), document.pop("schema_version", None)) != (_SCHEMA, _SCHEMA_VERSION):
        raise InputProblem(f"--model {file} is not a model that this version of 'simhand finetune' wrote")
    # Named fields only: files of later versions may say more.
    facts = ModelFacts(**{f.name: document[f.name] for f in fields(ModelFacts)})
    net = DetNet(build_encoder(facts.encoder), facts.width, facts.input_px)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputProblem(f"--model {file} does not fit its own description: {error}") from error
    return net.eval(), facts
