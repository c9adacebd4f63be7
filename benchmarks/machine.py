"""What a benchmark ran on."""

import os
import platform
from pathlib import Path
from typing import Any


def processor() -> str:
    """The processor's name where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine(device: str) -> dict[str, Any]:
    """Cores, processor, device and torch's version of a training, for the results."""
    import torch

    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "torch": torch.__version__,
    }
