"""Forward and backward of a few made-up images, to time a network before it is trained."""

import copy

import torch
from torch import Tensor, nn

from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.training.step.precision import Precision

#: Images of the trial step that decides on bf16 on a CPU.
_TRIAL_IMAGES = 8


def network_kind(settings: PretrainSettings) -> str:
    """What the speed of a number format depends on."""
    return f"{settings.backbone} at {settings.views.output_px} px"


class TrialStep:
    """Forward and backward of a few images on a copy of a model, to time it; leaves no trace."""

    def __init__(self, model: nn.Module, image_px: int, images: int = _TRIAL_IMAGES) -> None:
        self._model, self._image_px, self._images = model, image_px, images
        self._made: tuple[nn.Module, Tensor] | None = None

    def __call__(self, precision: Precision) -> None:
        """One step in a precision."""
        if self._made is None:
            self._made = self._make()
        copied, images = self._made
        # Dropout of the trial must not move the run's random numbers.
        with torch.random.fork_rng(devices=[]):
            with precision.autocast(images.device.type):
                projections = copied(images)
            # Any loss will do: its cost is nothing beside the network's.
            projections.float().square().mean().backward()
        # Launched is not done: without waiting, only the launch would be timed.
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    def _make(self) -> tuple[nn.Module, Tensor]:
        """The copy, and images on its device: made once, so that the host's work is not timed."""
        copied = copy.deepcopy(self._model).train()
        like = next(copied.parameters())
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self._images, 3, self._image_px, self._image_px, generator=generator)
        return copied, images.to(like.device, like.dtype).contiguous(memory_format=torch.channels_last)
