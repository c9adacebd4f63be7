"""What a training benchmark ran on."""

import os
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """Cores, device and torch's version, for the results."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "torch": torch.__version__,
    }
