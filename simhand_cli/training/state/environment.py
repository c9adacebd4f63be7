"""``environment.json``: on what a run ran, each time it was started."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import torch

from simhand_cli import __version__
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import Precision, PrecisionName, precision_name
from simhand_cli.workspace.atomic import read_document, write_json
from simhand_cli.workspace.cores import usable_cores

#: In a run's folder.
ENVIRONMENT_FILE = "environment.json"
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "h5py", "opencv-python", "safetensors")


class Choice(Protocol):
    """Something a run decided when it was started, and keeps."""

    @property
    def name(self) -> str:
        """What was chosen."""

    @property
    def reason(self) -> str:
        """Why."""


def describe_environment(ranks: Ranks) -> dict[str, Any]:
    """Versions, machine and device as plain values."""
    facts: dict[str, Any] = {
        "simhand": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cores": usable_cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "device": ranks.device,
        "processes": ranks.world_size,
    }
    if ranks.device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(ranks.device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
        }
    return facts


def record_start(
    path: Path, ranks: Ranks, precision: Precision, steps_done: int, further: Mapping[str, Choice] | None = None
) -> None:
    """Write environment.json, or add one more start to it; the choices of the first start stay the run's.

    Args:
        path: of environment.json.
        ranks: this process's place.
        precision: number format.
        steps_done: before this start.
        further: other choices, by what was chosen.
    """
    # A run that begins anew forgets what an earlier one chose.
    document = read_document(path) if steps_done else {}
    for what, choice in {"precision": precision, **(further or {})}.items():
        # The first choice stays: two number formats in one run would be no run at all.
        document.setdefault(what, {"name": choice.name, "reason": choice.reason})
    starts = [*document.get("starts", []), {"steps_done": steps_done, **describe_environment(ranks)}]
    write_json(path, {**document, "starts": starts})


def recorded_choices(path: Path) -> dict[str, str]:
    """What a run's first start chose, by what was chosen; empty if it has not been started."""
    document = read_document(path)
    return {what: str(one["name"]) for what, one in document.items() if isinstance(one, dict) and "name" in one}


def recorded_precision(path: Path) -> PrecisionName | None:
    """The precision a run was started with, or None if it has not been started."""
    return precision_name(recorded_choices(path).get("precision"))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
