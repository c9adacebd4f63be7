"""EMA: an exponential moving average of a model's weights."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


class MovingAverage(Generic[Net]):
    """Exponential moving average of weights and of normalisation statistics (Polyak averaging).

    The decay rises to its value as (1 + step) / (10 + step), so that the random start is soon forgotten.

    Attributes:
        net: the averaged model; never trained itself.
    """

    def __init__(self, net: Net, decay: float) -> None:
        self.net: Net = copy.deepcopy(net).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, net: Net, step: int) -> None:
        """Take the weights after optimiser step ``step`` (from 1) in."""
        rate = 1.0 - min(self._decay, (1 + step) / (10 + step))
        # Statistics of batch norm are averaged as well: averaged weights have other activations.
        new = net.state_dict()
        for name, value in self.net.state_dict().items():
            # Counters of batch norm are whole numbers, of which there is no average.
            if value.is_floating_point():
                value.lerp_(new[name], rate)
            else:
                value.copy_(new[name])
