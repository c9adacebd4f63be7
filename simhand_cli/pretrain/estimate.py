"""What a run would cost, for ``--dry-run``: time from a short measurement, memory from a formula."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simhand_cli.pretrain.loop import TrialStep
from simhand_cli.pretrain.model import build_model
from simhand_cli.training.precision import Precision

_IMAGES = 8
_REPEATS = 2
#: Copies of the weights in memory: weights, gradients, two moments of Adam.
_WEIGHT_COPIES = 4


@dataclass(frozen=True)
class Estimate:
    """Costs of a step.

    Attributes:
        seconds_per_view: forward and backward, fp32 on a CPU and bf16 on a GPU; loading and the update left out.
        bytes_per_process: weights, gradients, optimiser and stored activations.
        checkpoint_bytes: of one checkpoint.
    """

    seconds_per_view: float
    bytes_per_process: int
    checkpoint_bytes: int


def estimate_step(encoder: str, image_px: int, views_per_process: int, device: str) -> Estimate:
    """Measure a few images on this device.

    Args:
        encoder: timm's name.
        image_px: side of the views.
        views_per_process: views of a step on one process.
        device: where to measure.
    """
    model = build_model(encoder, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trial = TrialStep(model, image_px, _IMAGES)
    precision = Precision("fp32" if device == "cpu" else "bf16", "")
    trial(precision)
    start = time.perf_counter()
    for _ in range(_REPEATS):
        trial(precision)
    seconds = (time.perf_counter() - start) / (_REPEATS * _IMAGES)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    activations = _activation_bytes(model, image_px, device) * views_per_process // (1 if device == "cpu" else 2)
    return Estimate(seconds, _WEIGHT_COPIES * weights + activations, 3 * weights)


def _activation_bytes(model: nn.Module, image_px: int, device: str) -> int:
    """Bytes of all layers' outputs for one image in fp32: what backward needs, to a factor of about two."""
    total = 0

    def add(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(add) for m in leaves]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, image_px, image_px, device=device))
    for hook in hooks:
        hook.remove()
    return total
