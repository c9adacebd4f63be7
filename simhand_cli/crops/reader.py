"""Reading single JPEG crops out of many shards: no HDF5 call and no open file per crop, bounded open files."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION
from simhand_cli.errors import InputProblem
from simhand_cli.workspace.shards import open_h5

#: Shard files kept open by one reader; far below the usual limit of 1024 per process.
MAX_OPEN_FILES = 128
_WORD = 8  # bytes of one offset


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a shard's arrays lie in its file, in bytes; two numbers a video are all a reader remembers."""

    offsets_at: int
    jpeg_at: int
    crops: int


class CropReader:
    """Decodes crops by (video, row); each data loader worker has its own, threads may share one.

    Shards hold their arrays contiguously, so after one look through HDF5 a crop is two reads at known places.
    """

    def __init__(self, crops_dir: Path, video_ids: Sequence[str], crop_size_px: int) -> None:
        self._crops_dir = crops_dir
        self._video_ids = video_ids
        self._size = crop_size_px
        self._layouts: dict[int, _Layout] = {}
        self._open: OrderedDict[int, int] = OrderedDict()
        self._turn = Lock()  # no thread may close a file that another one is reading

    def read(self, videos: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Decode a batch.

        Args:
            videos: (B,) indices into ``video_ids``.
            rows: (B,) rows in the videos' shards.

        Returns:
            (B, S, S, 3) uint8 RGB.

        Raises:
            InputProblem: a shard or a crop is missing or damaged.
        """
        images = np.empty((len(videos), self._size, self._size, 3), dtype=np.uint8)
        for image, video, row in zip(images, videos, rows, strict=True):
            if not decoded_crop(self._file(int(video), int(row)), image):
                raise InputProblem(
                    f"crop {row} of {self._path(int(video))} is damaged: run 'simhand detect --redo' and what follows"
                )
        return images

    def files(self, videos: NDArray[np.int32], rows: NDArray[np.int32]) -> list[NDArray[np.uint8]]:
        """The JPEG files of a batch, B arrays of bytes.

        Args:
            videos: (B,) as for :meth:`read`.
            rows: (B,) as for :meth:`read`.

        Raises:
            InputProblem: a shard or a crop is missing.
        """
        return [self._file(int(video), int(row)) for video, row in zip(videos, rows, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        """All but the open files and their lock, which mean nothing in another process."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_turn")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=OrderedDict(), _turn=Lock())

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _path(self, video: int) -> Path:
        return self._crops_dir / f"{self._video_ids[video]}.h5"

    def _file(self, video: int, row: int) -> NDArray[np.uint8]:
        with self._turn:
            return self._blob(video, row)

    def _blob(self, video: int, row: int) -> NDArray[np.uint8]:
        layout = self._layouts.get(video) or self._look(video)
        if not 0 <= row < layout.crops:
            raise InputProblem(f"{self._path(video)} has no crop {row}: run 'simhand mine --redo'")
        descriptor = self._descriptor(video)
        # pread has no file position that readers could disturb for each other.
        pair = os.pread(descriptor, 2 * _WORD, layout.offsets_at + _WORD * row)
        start, end = np.frombuffer(pair, dtype="<i8")
        content = os.pread(descriptor, int(end - start), layout.jpeg_at + int(start))
        # OpenCV raises on no bytes at all, but says of one wrong byte that the picture is damaged.
        return np.frombuffer(content, dtype=np.uint8) if content else np.zeros(1, np.uint8)

    def _look(self, video: int) -> _Layout:
        path = self._path(video)
        with open_h5(path, CROPS_SCHEMA, CROPS_VERSION) as file:
            offsets, jpeg = file["jpeg_offsets"], file["jpeg"]
            places = offsets.id.get_offset(), jpeg.id.get_offset()
            if None in places or offsets.dtype != np.dtype("<i8"):
                raise InputProblem(f"{path} does not hold its crops contiguously: run 'simhand detect --redo'")
            layout = self._layouts[video] = _Layout(*places, crops=len(offsets) - 1)
        return layout

    def _descriptor(self, video: int) -> int:
        if video in self._open:
            self._open.move_to_end(video)
            return self._open[video]
        if len(self._open) >= MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        # Not handed on to child processes, which would keep it open.
        descriptor = self._open[video] = os.open(self._path(video), os.O_RDONLY | os.O_CLOEXEC)
        return descriptor


def decoded_crop(file: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """Decode a JPEG file into ``image`` (S, S, 3) RGB; False if it is damaged or of another size."""
    import cv2

    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    if decoded is None or decoded.shape != image.shape:
        return False
    # Straight into the batch, without another copy.
    cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=image)
    return True
