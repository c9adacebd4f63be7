"""What a run would cost, for ``--dry-run``: time from a short measurement, memory from a formula."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simhand_cli.pretrain.model import build_model
from simhand_cli.pretrain.trial_step import TrialStep
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import PrecisionName, PrecisionOption, choose_precision, shortest_s

#: Images of the measured step: on a GPU as many as the run's own, up to what keeps one busy.
_CPU_IMAGES, _GPU_IMAGES = 8, 256
#: Copies of the weights in memory: weights, gradients, two moments of Adam.
_WEIGHT_COPIES = 4


@dataclass(frozen=True)
class Estimate:
    """Costs of a step.

    Attributes:
        seconds_per_view: forward and backward in the run's precision; loading and the update left out.
        images: on which that was measured.
        precision: that precision.
        bytes_per_process: weights, gradients, optimiser and stored activations.
        checkpoint_bytes: of one checkpoint.
    """

    seconds_per_view: float
    images: int
    precision: PrecisionName
    bytes_per_process: int
    checkpoint_bytes: int


def estimate_step(
    encoder: str,
    image_px: int,
    views_per_process: int,
    device: str,
    requested: PrecisionOption,
    usual: PrecisionName | None = None,
) -> Estimate:
    """Measure a few images on this device.

    Args:
        encoder: timm's name.
        image_px: side of the views.
        views_per_process: views of a step on one process.
        device: where to measure.
        requested: the run's precision; ``auto`` is decided as the run would.
        usual: see :func:`simhand_cli.training.step.precision.choose_precision`.
    """
    # The stub of Module.to knows no memory_format.
    model = build_model(encoder, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = _CPU_IMAGES if device == "cpu" else min(_GPU_IMAGES, views_per_process)
    trial = TrialStep(model, image_px, images)
    precision = choose_precision(requested, Ranks(device=device), trial, usual=usual)
    model.to(precision.dtype)
    seconds = shortest_s(TrialStep(model, image_px, images), precision) / images
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    stored = _activation_bytes(model, image_px, device) // (2 if precision.name in ("bf16", "fp16") else 1)
    return Estimate(seconds, images, precision.name, _WEIGHT_COPIES * weights + stored * views_per_process, 3 * weights)


def crop_bytes(size_px: int) -> int:
    """Of one fetched crop: three bytes a pixel."""
    return 3 * size_px**2


def _activation_bytes(model: nn.Module, image_px: int, device: str) -> int:
    """Bytes of all layers' outputs for one image: what backward needs, to a factor of about two."""
    total = 0

    def add(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(add) for m in leaves]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, image_px, image_px, device=device, dtype=next(model.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    return total
