"""Which fine-tuned model a command means, and where it runs."""

from pathlib import Path
from typing import Final

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.workspace.paths import Workspace

#: The file a finished fine-tuning run holds.
MODEL_FILE: Final = "model.safetensors"


def newest_model(workspace: Workspace) -> Path | None:
    """The model of the newest finished fine-tuning run, or None."""
    run = workspace.latest_run("finetune", MODEL_FILE)
    return run / MODEL_FILE if run else None


def named_model(model: str) -> Path:
    """The model file of a run folder, or the file itself.

    Raises:
        InputProblem: it is not there.
    """
    path = Path(model)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputProblem(f"--model {model}: no such run folder or model file")
    return file


def model_name(model_file: Path) -> str:
    """A short name: a run's model is called after its run, another file after itself."""
    if model_file.name == MODEL_FILE:
        return model_file.resolve().parent.name.removeprefix("finetune-")
    return model_file.stem


def resolve_device(device: str) -> str:
    """The torch device for ``--device``: "cpu" or "cuda".

    Raises:
        EnvironmentProblem: a GPU was asked for and there is none.
    """
    import torch

    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise EnvironmentProblem("--device cuda: no usable GPU here; use --device cpu")
    return "cuda" if device != "cpu" and present else "cpu"
