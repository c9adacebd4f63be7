"""Batches fetched ahead by worker processes, in parts: a whole batch lies ready, however many workers made it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils.data import DataLoader

from simhand_cli.errors import SimhandError
from simhand_cli.pretrain.pairs.epoch_order import Request, StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.training.loader_workers import worker_options
from simhand_cli.training.processes.ranks import Ranks

#: Pairs a worker fetches at once: of 224 px crops 150 MB.
FETCHED_PAIRS: Final = 512


def pair_batches(dataset: PairDataset, steps: StepBatches, ranks: Ranks, workers: int) -> Iterator[PairBatch]:
    """The batches of the remaining steps on this rank's device, fetched ahead by worker processes.

    Raises:
        InputProblem: a crop cannot be read.
    """
    fetches = _Fetches(steps)
    loader = DataLoader(
        dataset,
        batch_sampler=fetches,  # type: ignore[arg-type]  # torch asks for a Sampler, any iterable will do
        # The dataset gives whole batches; torch's own would try to stack them.
        collate_fn=_as_fetched,
        pin_memory=ranks.device.startswith("cuda"),
        # Loader seeds are drawn from a generator of its own: the run's random state is for the model alone.
        generator=torch.Generator().manual_seed(steps.seed),
        **worker_options(workers, ahead=fetches.per_step),
    )
    filling = _Filling(steps.batch_size // steps.world_size)
    for fetched in loader:
        # Raised here, in the main process, where it is one line.
        if isinstance(fetched, SimhandError):
            raise fetched
        # Part by part: copying to the GPU goes on while the next part is fetched.
        filling.add(fetched.to(ranks.device))
        if filling.missing == 0:
            yield filling.taken()


class _Filling:
    """A batch whose parts arrive one after the other; each is copied and let go, so that none is held twice."""

    def __init__(self, pairs: int) -> None:
        self._pairs = self.missing = pairs
        self._batch: PairBatch | None = None

    def add(self, part: PairBatch) -> None:
        """The next part; a batch of one part is that part itself."""
        count = len(part.rows1)
        if count == self._pairs:
            self._batch = part
        else:
            # Memory of the whole batch at once, as parts of it joined would be there twice for a moment.
            self._batch = part.enlarged(self._pairs) if self._batch is None else self._batch
            self._batch.fill(self._pairs - self.missing, part)
        self.missing -= count

    def taken(self) -> PairBatch:
        """The full batch, which only the caller then holds; the next one begins."""
        batch, self._batch, self.missing = self._batch, None, self._pairs
        assert batch is not None
        return batch


@dataclass(frozen=True)
class _Fetches:
    """Every step's request in parts of at most :data:`FETCHED_PAIRS`, one after the other."""

    steps: StepBatches

    @property
    def per_step(self) -> int:
        return math.ceil(self.steps.batch_size // self.steps.world_size / FETCHED_PAIRS)

    def __len__(self) -> int:
        return len(self.steps) * self.per_step

    def __iter__(self) -> Iterator[Request]:
        for epoch, pairs, repeats in self.steps:
            for start in range(0, len(pairs), FETCHED_PAIRS):
                part = slice(start, start + FETCHED_PAIRS)
                yield Request(epoch, pairs[part], None if repeats is None else repeats[part])


def _as_fetched(batch: Any) -> Any:
    return batch
