"""Training and validation crops as a torch data loader: random choices keyed by (seed, epoch, sample)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from simhand_cli.errors import InputProblem
from simhand_cli.finetune.augmentation import draw_placement, vary_colours
from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.labelled.sample_crop import CENTRED, HandCrop, crop_sample
from simhand_cli.training.loader_workers import prepare_loader_worker, worker_options

#: (epoch, position in the rows, how often it came before in the epoch): which crop, and in which variation.
Key = tuple[int, int, int]
_ORDER_STREAM, _CROP_STREAM = 21, 22


@dataclass
class CropBatch:
    """A batch of crops.

    Attributes:
        images: (B, S, S, 3) uint8.
        joints_px: (B, 21, 2) float32 in the crop.
        joints_mm: (B, 21, 3) float32 camera frame.
        valid: (B, 21) bool.
        broken: what was wrong with samples that could not be read; they are not in the batch.
    """

    images: Tensor
    joints_px: Tensor
    joints_mm: Tensor
    valid: Tensor
    broken: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> "CropBatch":
        """Some of the crops."""
        return self._map(lambda tensor: tensor[start:stop])

    def pin_memory(self) -> "CropBatch":
        """Called by the loader so that copies to the GPU overlap with work."""
        return self._map(lambda tensor: tensor.pin_memory())

    def to(self, device: str) -> "CropBatch":
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "CropBatch":
        return CropBatch(
            images=change(self.images),
            joints_px=change(self.joints_px),
            joints_mm=change(self.joints_mm),
            valid=change(self.valid),
            broken=self.broken,
        )


class CropDataset(Dataset[HandCrop | str]):
    """Crops of chosen samples; a sample that cannot be read gives its error message instead.

    Args:
        sets: the labelled sets.
        rows: (N, 2) of (set, sample).
        size_px: side of the crops.
        augment: how to vary them; None gives the crops of evaluation.
        seed: of the variations.
    """

    def __init__(
        self,
        sets: Sequence[LabelledSet],
        rows: NDArray[np.int64],
        size_px: int,
        augment: AugmentOptions | None,
        seed: int,
    ) -> None:
        self._sets, self._rows, self._size_px = sets, rows, size_px
        self._augment, self._seed = augment, seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Key) -> HandCrop | str:
        epoch, position, repeat = key
        set_number, index = self._rows[position]
        try:
            sample = self._sets[int(set_number)][int(index)]
        # A message and no other sample in its place: what was trained on must be known.
        except InputProblem as problem:
            return str(problem)
        if self._augment is None:
            return crop_sample(sample, self._size_px, CENTRED)
        # Keyed, not drawn in turn: the same crop on any rank, with any number of workers, after any resume.
        rng = np.random.default_rng([self._seed, _CROP_STREAM, epoch, position, repeat])
        crop = crop_sample(sample, self._size_px, draw_placement(rng, self._augment))
        image = vary_colours(crop.image_rgb, rng, self._augment)
        return HandCrop(image, crop.joints_px, crop.joints_mm, crop.joint_valid, crop.intrinsics, crop.image_from_crop)


class StepSampler(Sampler[list[Key]]):
    """Keys of one rank's share of every training step from ``first_step`` to the end of the run.

    Every epoch is a new permutation, the same on every rank and after a resume; what does not fill a batch is left to
    the next epoch's permutation. Sets smaller than a batch give batches of the whole set.

    Args:
        sizes: number of samples of each set; the samples stand in this order.
        batch_size: samples of a step over all ranks.
        epochs: of the run.
        seed: of the permutations.
        rank: this process.
        world_size: how many there are.
        quotas: samples of each set in an epoch (None: all of them once). From a set with more than its quota an epoch
            has other samples than the one before; of a set with fewer, samples come again.
        max_steps: the run ends after so many steps at the latest.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        quotas: Sequence[int] | None = None,
        max_steps: int | None = None,
    ) -> None:
        self._sizes, self._quotas = sizes, sizes if quotas is None else quotas
        self._seed, self._rank = seed, rank
        samples = sum(self._quotas)
        #: Samples per step and rank.
        self.share = max(1, min(batch_size, samples) // world_size)
        self._step_samples = self.share * world_size
        # Fewer samples than a batch still make a step.
        self.steps_per_epoch = max(1, samples // self._step_samples)
        self.total_steps = min(self.steps_per_epoch * epochs, max_steps or self.steps_per_epoch * epochs)
        self.first_step = 0

    def __len__(self) -> int:
        return self.total_steps - self.first_step

    def __iter__(self) -> Iterator[list[Key]]:
        order, order_epoch = np.zeros((0, 2), np.int64), -1
        for step in range(self.first_step, self.total_steps):
            epoch, within = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = self._order(epoch), epoch
            start = within * self._step_samples + self._rank * self.share
            yield [(epoch, position, repeat) for position, repeat in order[start : start + self.share].tolist()]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """(N, 2) of the epoch's samples in order: position, and how often it came before."""
        rng = np.random.default_rng([self._seed, _ORDER_STREAM, epoch])
        firsts = np.cumsum(self._sizes) - self._sizes
        parts = [
            # Whole permutations one after the other: no sample comes a third time before all came twice.
            np.column_stack([first + np.resize(rng.permutation(size), quota), np.arange(quota) // max(size, 1)])
            for first, size, quota in zip(firsts, self._sizes, self._quotas, strict=True)
        ]
        order = rng.permutation(np.concatenate(parts))
        # More ranks than samples: everybody still gets one.
        return np.resize(order, (max(len(order), self._step_samples), 2))


def training_loader(dataset: CropDataset, sampler: StepSampler, workers: int, device: str) -> "DataLoader[CropBatch]":
    """Batches of all remaining steps of the run, from one set of worker processes."""
    return _loader(dataset, sampler, workers, device)


def validation_loader(
    dataset: CropDataset, batch_size: int, workers: int, device: str, rank: int = 0, world_size: int = 1
) -> "DataLoader[CropBatch]":
    """All samples once in order, every ``world_size``-th on this rank."""
    # Interleaved: ranks differ by one sample at most, and none is measured twice.
    own = range(rank, len(dataset), world_size)
    batches = [[(0, i, 0) for i in own[start : start + batch_size]] for start in range(0, len(own), batch_size)]
    return _loader(dataset, batches, workers, device)


def _loader(
    dataset: CropDataset, batches: "Sampler[list[Key]] | list[list[Key]]", workers: int, device: str
) -> "DataLoader[CropBatch]":
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # a sampler gives lists of keys
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=device.startswith("cuda"),
        # Four batches a worker: decoding takes uneven times, as pictures differ in size.
        **{**worker_options(workers, ahead=4 * workers), "worker_init_fn": _start_worker if workers else None},
    )


def _start_worker(worker_id: int) -> None:
    import cv2

    prepare_loader_worker(worker_id)
    cv2.setNumThreads(0)  # the workers themselves are the parallelism


def collate(items: Sequence[HandCrop | str]) -> CropBatch:
    """Stack crops; messages of broken samples are kept aside, and the batch is empty if all are broken."""
    crops = [item for item in items if isinstance(item, HandCrop)]
    broken = [item for item in items if isinstance(item, str)]
    if not crops:
        none = torch.zeros(0)
        return CropBatch(none, none, none, none, broken)
    return CropBatch(
        images=torch.from_numpy(np.stack([crop.image_rgb for crop in crops])),
        joints_px=torch.from_numpy(np.stack([crop.joints_px for crop in crops]).astype(np.float32)),
        joints_mm=torch.from_numpy(np.stack([crop.joints_mm for crop in crops]).astype(np.float32)),
        valid=torch.from_numpy(np.stack([crop.joint_valid for crop in crops])),
        broken=broken,
    )
