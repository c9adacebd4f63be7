"""Batches fetched ahead by worker processes, in parts, so that a batch of any size needs little memory on its way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils.data import DataLoader

from simhand_cli.errors import SimhandError
from simhand_cli.pretrain.data import PairDataset
from simhand_cli.pretrain.epoch_order import Request, StepBatches
from simhand_cli.pretrain.pair_batch import PairBatch
from simhand_cli.training.loader import worker_options
from simhand_cli.training.ranks import Ranks

#: Pairs a worker fetches at once: of 224 px crops 150 MB, of which a worker holds two ready and makes a third.
FETCHED_PAIRS: Final = 512


def pair_batches(dataset: PairDataset, steps: StepBatches, ranks: Ranks, workers: int) -> Iterator[PairBatch]:
    """The batches of the remaining steps on this rank's device, fetched ahead by worker processes.

    Raises:
        InputProblem: a crop cannot be read.
    """
    fetches = _Fetches(steps)
    loader = DataLoader(
        dataset,
        batch_sampler=fetches,  # type: ignore[arg-type]
        collate_fn=_as_fetched,
        pin_memory=ranks.device.startswith("cuda"),
        # Loader seeds are drawn from a generator of its own: the run's random state is for the model alone.
        generator=torch.Generator().manual_seed(steps.seed),
        **worker_options(workers),
    )
    parts: list[PairBatch] = []
    for fetched in loader:
        if isinstance(fetched, SimhandError):
            raise fetched
        parts.append(fetched.to(ranks.device))
        if len(parts) == fetches.per_step:
            yield _taken(parts)


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


def _taken(parts: list[PairBatch]) -> PairBatch:
    """The parts as one batch, which only the caller then holds."""
    batch = PairBatch.joined(parts)
    parts.clear()
    return batch


def _as_fetched(batch: Any) -> Any:
    return batch
