"""Metrics of a step on their way from the device, so that the host can go on launching work meanwhile."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Readback:
    """Small tensors of one device, copied to the host without waiting for them; on a CPU they are there at once.

    Args:
        values: name -> scalar, or vector.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._sizes = {name: value.numel() if value.ndim else None for name, value in values.items()}
        # One copy for all: every transfer from a GPU has a fixed cost.
        flat = torch.cat([value.detach().double().reshape(-1) for value in values.values()])
        # The host may read this only after the event: before, the memory holds anything.
        self._host = flat.to("cpu", non_blocking=True)
        self._arrived: torch.cuda.Event | None = None
        if flat.is_cuda:
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types here
            self._arrived.record()

    def read(self) -> dict[str, float | list[float]]:
        """The values by name, a list for a vector; waits until they are here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        numbers = self._host.tolist()
        values: dict[str, float | list[float]] = {}
        for name, size in self._sizes.items():
            values[name] = numbers.pop(0) if size is None else [numbers.pop(0) for _ in range(size)]
        return values
