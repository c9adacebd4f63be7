"""``environment.json``: on what a run ran, each time it was started."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from simhand_cli import __version__
from simhand_cli.training.precision import Precision, PrecisionName
from simhand_cli.training.ranks import Ranks
from simhand_cli.workspace.atomic import write_json

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "h5py", "opencv-python", "safetensors")


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


def record_start(path: Path, ranks: Ranks, precision: Precision, steps_done: int) -> None:
    """Write environment.json, or add one more start to it; the first start's precision stays the run's."""
    document = _read(path) if steps_done else {}
    document.setdefault("precision", {"name": precision.name, "reason": precision.reason})
    starts = [*document.get("starts", []), {"steps_done": steps_done, **describe_environment(ranks)}]
    write_json(path, {**document, "starts": starts})


def recorded_precision(path: Path) -> PrecisionName | None:
    """The precision a run was started with, or None if it has not been started."""
    name = _read(path).get("precision", {}).get("name")
    return name if name in ("fp32", "bf16", "fp16", "fp64") else None


def recorded_processes(path: Path) -> int | None:
    """The number of processes of a run's last start, or None if it has not been started."""
    starts = _read(path).get("starts", [])
    return int(starts[-1]["processes"]) if starts else None


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
