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


def named_model(model: str, workspace: Workspace) -> Path:
    """The model of a fine-tuning run, given by its folder or its name in the workspace, or the file itself.

    Raises:
        InputProblem: it is not there, or the run is not finished.
    """
    path = Path(model)
    # A folder here that holds no run, say of the data that a run is named after, does not hide the run of that name.
    is_run = path.is_file() or any((path / name).is_file() for name in (MODEL_FILE, "identity.json"))
    if not is_run and path.name == model:
        path = workspace.run_dir("finetune", model.removeprefix("finetune-"))
    file = path / MODEL_FILE if path.is_dir() else path
    if file.is_file():
        return file
    found = sorted(one.parent.name for one in workspace.runs_dir.glob(f"finetune-*/{MODEL_FILE}"))
    known = f"; finished runs in {workspace.root}: {', '.join(found)}" if found else ""
    if (path / "identity.json").is_file():
        raise InputProblem(
            f"--model {model}: the run is not finished; the same 'simhand finetune' goes on with it{known}"
        )
    raise InputProblem(f"--model {model}: no such fine-tuning run or model file{known}")


def model_name(model_file: Path) -> str:
    """A short name: a run's model is called after its run, another file after itself."""
    # Every run's file has the same name, so that it tells nothing.
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
