"""An optimiser step whose numbers may still be on their way, and an update that the device itself can skip."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from simhand_cli.training.processes.gather import reduce_over_ranks, world
from simhand_cli.training.step.async_metrics import Readback
from simhand_cli.training.step.stop import Verdict, refuse_non_finite

#: Digits of a vector's numbers (shares of a histogram) in the log.
_SHARE_DIGITS = 4


@dataclass(frozen=True)
class LaunchedStep:
    """An optimiser step whose numbers may still be on their way from the device.

    Attributes:
        step: its number, from 1.
        lr: its learning rate.
        logged: whether its metrics are means over all ranks, to be logged.
        numbers: ``stop``, ``save`` and ``bad``, agreed by all ranks, and the metrics.
    """

    step: int
    lr: float
    logged: bool
    numbers: Readback

    def outcome(self) -> tuple[Verdict, dict[str, Any]]:
        """What all ranks do, and the metrics; waits for the step if need be.

        Raises:
            InputProblem: the loss or the gradient was not finite on some rank, so that no rank was updated.
        """
        values = self.numbers.read()
        stop, save, bad = (values.pop(name) for name in ("stop", "save", "bad"))
        # Out of the way first, so that they come first in the log.
        loss, norm = values.pop("loss"), values.pop("grad_norm")
        assert isinstance(loss, float)
        assert isinstance(norm, float)
        if bad:
            raise refuse_non_finite(self.step, loss, norm)
        shown = {k: [round(x, _SHARE_DIGITS) for x in v] if isinstance(v, list) else v for k, v in values.items()}
        return Verdict(bool(stop), bool(save)), {"loss": loss, "grad_norm": norm, "lr": self.lr, **shown}


def runs_ahead(optimiser: Optimizer) -> bool:
    """Whether the optimiser itself can skip an update on the device, so that the host need not know how a step went."""
    # torch's own mark of the optimisers that heed found_inf.
    return bool(getattr(optimiser, "_step_supports_amp_scaling", False))


@contextmanager
def skipped_if(bad: Tensor, optimiser: Optimizer | None) -> Iterator[None]:
    """Within, the optimiser skips its update where ``bad`` is 1: the device decides, the host does not wait for it.

    This is how torch's loss scaler tells its fused optimisers of infinite gradients (``found_inf``).
    """
    if optimiser is None:
        yield
        return
    optimiser.found_inf = bad.float()  # type: ignore[attr-defined]  # read by torch's fused step, declared nowhere
    try:
        yield
    finally:
        del optimiser.found_inf  # type: ignore[attr-defined]  # as above


def means_over_ranks(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means over all ranks of small tensors, by one exchange."""
    sizes = [value.numel() for value in values.values()]
    flat = torch.cat([value.detach().double().reshape(-1) for value in values.values()])
    # In double: sums over many ranks, and shares that have to add up to 1.
    parts = torch.split(reduce_over_ranks(flat) / world()[1], sizes)
    return {name: part.reshape(value.shape) for (name, value), part in zip(values.items(), parts, strict=True)}
