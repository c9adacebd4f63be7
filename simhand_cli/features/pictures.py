"""Pictures for an encoder: labelled samples or a workspace's crops, all framed alike, right hands only."""

import threading
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.crop_set import LEFT, crop_set_fingerprint, load_crop_set
from simhand_cli.crops.geometry import warp_crop
from simhand_cli.crops.reader import CropReader
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import HandSample, LabelledSet
from simhand_cli.labelled.sample_crop import HandCrop, crop_sample, image_from_crop
from simhand_cli.summary import Dropped
from simhand_cli.workspace.paths import Workspace

#: Threads that read and decode pictures while the encoder works.
READERS: Final = 8


class ThreadedSet:
    """Samples of a labelled set for several threads: each has a copy with open files of its own, labels are shared."""

    def __init__(self, labelled: LabelledSet) -> None:
        self._labelled = labelled
        self._own = threading.local()

    def __getitem__(self, index: int) -> HandSample:
        if not hasattr(self._own, "labelled"):
            self._own.labelled = copy(self._labelled)
        labelled: LabelledSet = self._own.labelled
        return labelled[index]


@dataclass(frozen=True, slots=True)
class LabelledCrop:
    """One labelled sample as the encoder sees it.

    Attributes:
        index: its number in the set.
        crop: the square around the labelled joints, with the labels in it.
        hand: which hand it was before mirroring.
        subject, sequence, camera, sample_id: as the set names them.
    """

    index: int
    crop: HandCrop
    hand: str
    subject: str
    sequence: str
    camera: str
    sample_id: str

    def without_picture(self) -> "LabelledCrop":
        """The same without its pixels, for keeping many."""
        return replace(self, crop=replace(self.crop, image_rgb=np.empty((0, 0, 3), np.uint8)))


def read_labelled(labelled: LabelledSet | ThreadedSet, index: int, size_px: int) -> LabelledCrop | str:
    """One sample's evaluation crop; a message if its picture cannot be read."""
    try:
        sample: HandSample = labelled[index]
    except InputProblem as problem:
        return str(problem)
    crop = crop_sample(sample, size_px)
    return LabelledCrop(index, crop, sample.hand, sample.subject, sample.sequence, sample.camera, sample.sample_id)


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop and what it is.

    Attributes:
        image_rgb: (S, S, 3) uint8.
        ids: column -> value.
    """

    image_rgb: NDArray[np.uint8]
    ids: dict[str, Any]


class PictureSource(Protocol):
    """Pictures to embed, by number."""

    @property
    def title(self) -> str:
        """What they are, for people."""

    @property
    def digests(self) -> list[str]:
        """sha256 of what determines them."""

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was left out on opening."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> Picture | str:
        """One picture, or a message if it cannot be read; several threads may ask at a time."""


@dataclass
class LabelledPictures:
    """All usable samples of labelled sets, one set after the other.

    Args:
        paths: folders of the sets.
        split: of each.
        size_px: side of the crops.

    Raises:
        InputProblem: a set that cannot be opened, without this split, or without a usable label.
    """

    paths: Sequence[Path]
    split: str
    size_px: int
    dropped: list[Dropped] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._sets = [open_labelled(path, self.split) for path in self.paths]
        rows = []
        for number, (labelled, path) in enumerate(zip(self._sets, self.paths, strict=True)):
            check = check_labels(labelled, path)
            self.dropped += [*labelled.problems(), *check.dropped]
            usable = np.flatnonzero(check.usable)
            rows.append(np.column_stack([np.full(len(usable), number), usable]))
        self._rows = np.concatenate(rows)
        # HDF5 files and readers' caches are not made for several threads at once.
        self._threaded = [ThreadedSet(labelled) for labelled in self._sets]

    @property
    def title(self) -> str:
        """Names of the sets."""
        return " and ".join(f"{labelled.name}/{labelled.split}" for labelled in self._sets)

    @property
    def digests(self) -> list[str]:
        """Digests of the sets' labels."""
        return [labels_sha256(labelled) for labelled in self._sets]

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int) -> Picture | str:
        """One sample."""
        number, index = (int(n) for n in self._rows[row])
        found = read_labelled(self._threaded[number], index, self.size_px)
        if isinstance(found, str):
            return found
        ids = {
            "set": self._sets[number].name,
            "set_path": str(self.paths[number]),
            "sample_index": found.index,
            "sample_id": found.sample_id,
            "subject": found.subject,
            "sequence": found.sequence,
            "camera": found.camera,
            "hand": found.hand,
        }
        return Picture(found.crop.image_rgb, ids)


class WorkspacePictures:
    """All crops of a workspace with usable keypoints, in the order of video id and row.

    The crops are framed as labelled samples are (1.6 times the joints' extent), so that features of both compare.

    Args:
        workspace: after ``simhand keypoints``.
        size_px: side of the crops.

    Raises:
        InputProblem: no crops with keypoints.
    """

    def __init__(self, workspace: Workspace, size_px: int) -> None:
        self._crops = load_crop_set(workspace)
        self._reader = CropReader(workspace.crops_dir, self._crops.video_ids, self._crops.crop_size_px)
        # Without usable keypoints there is nothing to frame a hand by.
        self._rows = np.flatnonzero(self._crops.valid)
        self._size_px = size_px
        self.title = f"crops of {len(self._crops.video_ids)} videos"
        self.digests = [crop_set_fingerprint(workspace)]
        if len(self._rows) == 0:
            raise InputProblem(
                f"no crop of {workspace.root} has usable keypoints: run 'simhand keypoints' on more videos"
            )

    @property
    def dropped(self) -> list[Dropped]:
        """Crops without usable keypoints."""
        without = len(self._crops.valid) - len(self._rows)
        return [Dropped("crops", without, "no usable keypoints")] if without else []

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int) -> Picture | str:
        """One crop."""
        crops, n = self._crops, self._rows[row]
        try:
            stored = self._reader.read(crops.video_index[n : n + 1], crops.crop_index[n : n + 1])[0]
        except InputProblem as problem:
            return str(problem)
        to_stored = image_from_crop(crops.keypoints_px[n].astype(np.float64), self._size_px)
        ids = {
            "video_id": crops.video_ids[int(crops.video_index[n])],
            "crop_index": int(crops.crop_index[n]),
            "frame_index": int(crops.frame_index[n]),
            "timestamp_s": float(crops.timestamp_s[n]),
            "hand": "left" if crops.handedness[n] == LEFT else "right",
        }
        return Picture(warp_crop(stored, to_stored, self._size_px), ids)
