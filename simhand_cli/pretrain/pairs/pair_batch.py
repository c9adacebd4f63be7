"""A batch of pairs on its way from the stored crops to the device: as pixels, or as JPEG files that the GPU decodes."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simhand_cli.crops.reader import decoded_crop
from simhand_cli.errors import InputProblem

#: Rows are fewer than 2 to this power.
_ROW_BITS = 40


def random_keys(rows: Tensor, repeats: Tensor | None) -> Tensor:
    """Rows (B,) int64 made different where a row comes again; themselves where it comes for the first time."""
    return rows if repeats is None else rows + (repeats << _ROW_BITS)


@dataclass(frozen=True)
class PairBatch:
    """One rank's part of a batch, B pairs.

    Attributes:
        crops1, crops2: (B, S, S, 3) uint8 RGB; the same tensor for methods that contrast an image with itself.
        keypoints1_px, keypoints2_px: (B, 21, 2) float32 in the stored crops.
        rows1, rows2: (B,) int64 rows of the embeddings file.
        epoch: 0-based epoch the batch belongs to.
        embeddings1, embeddings2: (B, D) float32 pose embeddings from mining; None where the loss does not need them.
        repeats: (B,) int64, how often each pair came before in this epoch; None where every pair comes once.
    """

    crops1: Tensor
    crops2: Tensor
    keypoints1_px: Tensor
    keypoints2_px: Tensor
    rows1: Tensor
    rows2: Tensor
    epoch: int
    embeddings1: Tensor | None = None
    embeddings2: Tensor | None = None
    repeats: Tensor | None = None

    @property
    def keys(self) -> Tensor:
        """Keys (B,) of the random numbers of the pairs' views, each one only once in an epoch."""
        return random_keys(self.rows1, self.repeats)

    def enlarged(self, pairs: int) -> "PairBatch":
        """A batch of so many pairs with the same epoch, kinds of tensors and device, still to be filled."""
        return self._each(lambda tensor: tensor.new_empty((pairs, *tensor.shape[1:])))

    def fill(self, start: int, part: "PairBatch") -> None:
        """Copy a part to the pairs from ``start`` on."""
        filled = {
            "crops1", "keypoints1_px", "keypoints2_px", "rows1", "rows2", "embeddings1", "embeddings2", "repeats",
            # One tensor for both views of a crop: half the memory and half the transfer.
            *(() if self.crops2 is self.crops1 else ("crops2",)),
        }  # fmt: skip
        for name in filled:
            target = getattr(self, name)
            if target is not None:
                target[start : start + len(part.rows1)] = getattr(part, name)

    def pin_memory(self) -> "PairBatch":
        """Page-locked copies, so that the host need not wait for the copy to a GPU (called by the data loader)."""
        return self._each(Tensor.pin_memory)

    def part(self, start: int, stop: int) -> "PairBatch":
        """Pairs ``start`` to ``stop``; views of the same memory."""
        return self._each(lambda tensor: tensor[start:stop])

    def to(self, device: str) -> "PairBatch":
        """The batch on a device; asynchronous where it is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "PairBatch":
        """All tensors changed alike, and crops that are the same tensor only once."""
        crops1 = change(self.crops1)
        return PairBatch(
            crops1,
            crops1 if self.crops2 is self.crops1 else change(self.crops2),
            change(self.keypoints1_px),
            change(self.keypoints2_px),
            change(self.rows1),
            change(self.rows2),
            self.epoch,
            None if self.embeddings1 is None else change(self.embeddings1),
            None if self.embeddings2 is None else change(self.embeddings2),
            None if self.repeats is None else change(self.repeats),
        )


@dataclass(frozen=True)
class Jpegs:
    """JPEG files of B crops, one after the other.

    Attributes:
        content: (bytes,) uint8.
        lengths: (B,) int64, bytes of each.
        rows: (B,) int64 rows of the embeddings file, to name a damaged one.
        size_px: side of the crops.
    """

    content: Tensor
    lengths: Tensor
    rows: Tensor
    size_px: int

    @classmethod
    def joined(cls, files: list[NDArray[np.uint8]], rows: NDArray[np.int64], size_px: int) -> "Jpegs":
        """Two tensors, however many files: cheap to pass from one process to another."""
        lengths = torch.tensor([len(file) for file in files], dtype=torch.int64)
        return cls(torch.from_numpy(np.concatenate(files)), lengths, torch.from_numpy(rows), size_px)

    def files(self) -> list[Tensor]:
        """B views of the content."""
        return list(torch.split(self.content, self.lengths.tolist()))

    def by_cpu(self) -> Tensor:
        """(B, S, S, 3) uint8 RGB, the pixels that the loader's processes would give.

        Raises:
            InputProblem: a crop is damaged.
        """
        images = np.empty((len(self.lengths), self.size_px, self.size_px, 3), dtype=np.uint8)
        for image, file, row in zip(images, self.files(), self.rows.tolist(), strict=True):
            if not decoded_crop(file.numpy(), image):
                raise InputProblem(
                    f"the crop of row {row} of mining/embeddings.h5 is damaged: run 'simhand detect --redo' and what "
                    "follows"
                )
        return torch.from_numpy(images)

    def by_gpu(self, device: str) -> Tensor:
        """(B, S, S, 3) uint8 RGB on a device, but for rounding as :meth:`by_cpu` has them; by nvJPEG on a GPU.

        The host waits for the GPU first: torchvision decodes on streams of its own, which wait for nobody, into memory
        that the step under way may still be reading (pytorch/vision issue 9606).

        Raises:
            RuntimeError: a crop is damaged, or the device cannot decode.
        """
        from torchvision.io import ImageReadMode, decode_jpeg

        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*TorchCodec")  # the successor: one more dependency
            images = torch.stack(decode_jpeg(self.files(), mode=ImageReadMode.RGB, device=device))
        if device.startswith("cuda"):  # nor may the next call take over what the copy is still reading
            torch.cuda.synchronize(device)
        return images.permute(0, 2, 3, 1)

    def decoded(self, device: str) -> Tensor:
        """(B, S, S, 3) uint8 RGB on a device, decoded there, or all on the CPU if that device refuses one of the files.

        Raises:
            InputProblem: a crop is damaged.
        """
        try:
            return self.by_gpu(device)
        # A full GPU is told as such; decoding elsewhere would hide it.
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # decoders differ in what they forgive
            return self.by_cpu().to(device)


@dataclass(frozen=True)
class EncodedBatch:
    """A batch whose crops are still files.

    Attributes:
        jpegs1, jpegs2: B files each; the same object for methods that contrast an image with itself.
        pairs: everything else; its crops are empty.
    """

    jpegs1: Jpegs
    jpegs2: Jpegs
    pairs: PairBatch

    def pin_memory(self) -> "EncodedBatch":
        """The files stay where the decoder wants them; the rest is page-locked (called by the data loader)."""
        return replace(self, pairs=self.pairs.pin_memory())

    def to(self, device: str) -> PairBatch:
        """The batch on a device, decoded there.

        Raises:
            InputProblem: a crop is damaged.
        """
        crops1 = self.jpegs1.decoded(device)
        # Decoded once where both views are of one crop.
        crops2 = crops1 if self.jpegs2 is self.jpegs1 else self.jpegs2.decoded(device)
        return replace(self.pairs.to(device), crops1=crops1, crops2=crops2)
