"""In which order an epoch sees the pairs, and which of them every step sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["shuffle", "replacement"]
#: Numbers of the streams of random numbers that the orders are drawn from; 1 is that of ``--limit-crops``.
_STREAM: dict[Sampling, int] = {"shuffle": 0, "replacement": 2}


class EpochOrder(NamedTuple):
    """The pairs of an epoch as they come.

    Attributes:
        pairs: (P,) int64 indices of pairs.
        repeats: (P,) int64, how often each was drawn before in this epoch; None where every pair comes once.
    """

    pairs: NDArray[np.int64]
    repeats: NDArray[np.int64] | None = None


def epoch_order(pairs: int, seed: int, epoch: int, sampling: Sampling) -> EpochOrder:
    """The order of an epoch, a function of these alone, whoever asks.

    Args:
        pairs: how many there are, and are drawn.
        seed: of the run.
        epoch: 0-based.
        sampling: ``shuffle``: every pair once. ``replacement``: each draw is among all pairs, as in the released code
            (fact sheet, section 1.6), so that an epoch sees 1 - 1/e = 63 % of them.
    """
    generator = np.random.default_rng([seed, _STREAM[sampling], epoch])
    if sampling == "shuffle":
        return EpochOrder(generator.permutation(pairs))
    drawn = generator.integers(0, pairs, pairs)
    return EpochOrder(drawn, earlier_draws(drawn))


def earlier_draws(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each number (P,) stands before itself, (P,) int64."""
    # Stable: among equal numbers the earlier draw stays first, or repeats would be numbered at random.
    by_value = np.argsort(drawn, kind="stable")
    ordered = drawn[by_value]
    place = np.arange(len(drawn))
    starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    repeats = np.empty(len(drawn), dtype=np.int64)
    # The running maximum is where the present run of equal numbers began.
    repeats[by_value] = place - np.maximum.accumulate(np.where(starts, place, 0))
    return repeats


class Request(NamedTuple):
    """What a step asks for: its 0-based epoch, and of its part of that epoch what :class:`EpochOrder` says."""

    epoch: int
    pairs: NDArray[np.int64]
    repeats: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class StepBatches:
    """Which pairs every optimiser step sees, on one rank; a batch sampler over all epochs of a run.

    Each epoch is an order of pairs drawn from (seed, epoch) and cut into global batches; what does not fill a batch is
    left out of that epoch. Rank r takes the r-th equal slice of each global batch, so that the ranks'
    parts joined in rank order are what a single rank would see.

    Attributes:
        pairs: number of pairs.
        batch_size: global batch; at most ``pairs`` and a multiple of ``world_size``.
        total_steps: steps of the whole run.
        start_step: steps already done.
        sampling: which order, see :func:`epoch_order`.
    """

    pairs: int
    batch_size: int
    total_steps: int
    seed: int
    rank: int = 0
    world_size: int = 1
    start_step: int = 0
    sampling: Sampling = "shuffle"

    @property
    def steps_per_epoch(self) -> int:
        """Full global batches in an epoch."""
        return self.pairs // self.batch_size

    def __len__(self) -> int:
        return max(self.total_steps - self.start_step, 0)

    def __iter__(self) -> Iterator[Request]:
        order, drawn_epoch = EpochOrder(np.empty(0, np.int64)), -1
        part = self.batch_size // self.world_size
        for step in range(self.start_step, self.total_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            # One order an epoch, not a step: permuting millions of pairs is not free.
            if epoch != drawn_epoch:
                order, drawn_epoch = epoch_order(self.pairs, self.seed, epoch, self.sampling), epoch
            # Slices in rank order, so that joined they are a single process's batch.
            first = position * self.batch_size + self.rank * part
            mine = slice(first, first + part)
            yield Request(epoch, order.pairs[mine], None if order.repeats is None else order.repeats[mine])
