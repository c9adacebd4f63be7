"""``environment.json``: on what a run ran, each time it was started."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from simhand_cli import __version__
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import Precision, PrecisionName
from simhand_cli.workspace.atomic import read_document, write_json

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
    path: Path, ranks: Ranks, precision: Precision, steps_done: int, decoding: Choice | None = None
) -> None:
    """Write environment.json, or add one more start to it; the choices of the first start stay the run's.

    Args:
        path: of environment.json.
        ranks: this process's place.
        precision: number format.
        steps_done: before this start.
        decoding: where crops are decoded, if that was a choice.
    """
    document = read_document(path) if steps_done else {}
    for what, choice in (("precision", precision), ("decoding", decoding)):
        if choice is not None:
            document.setdefault(what, {"name": choice.name, "reason": choice.reason})
    starts = [*document.get("starts", []), {"steps_done": steps_done, **describe_environment(ranks)}]
    write_json(path, {**document, "starts": starts})


def recorded_precision(path: Path) -> PrecisionName | None:
    """The precision a run was started with, or None if it has not been started."""
    name = read_document(path).get("precision", {}).get("name")
    return name if name in ("fp32", "bf16", "fp16", "fp64") else None


def recorded_decoding(path: Path) -> Literal["workers", "gpu"] | None:
    """Where the crops of a run were decoded when it was started, or None if it has not been started."""
    name = read_document(path).get("decoding", {}).get("name")
    return name if name in ("workers", "gpu") else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
