"""Reader (and the file format) of simhand's own synthetic labelled sets.

``dataset.json`` names the splits and their shards; ``<split>/shard-%05d.h5`` holds pictures as JPEG, masks as PNG and
labels as arrays. Train and test share no subject.
"""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import HandSample, NoSuchSplit
from simhand_cli.summary import Dropped
from simhand_cli.workspace.shards import open_h5, open_h5_file

SET_SCHEMA: Final = "simhand.synth-set"
SHARD_SCHEMA: Final = "simhand.synth-shard"
VERSION: Final = 2
#: Shards kept open by one process; a set may have thousands.
MAX_OPEN: Final = 128
#: Held while a shard is opened or closed: several threads may read from a set.
_OPENING: Final = threading.Lock()


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where shard ``number`` of a split lies."""
    return folder / split / f"shard-{number:05d}.h5"


class SynthSet:
    """A split of a synthetic set as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    Labels are read on opening, pictures on access. It can be pickled and used after a fork: every process opens the
    shards it needs for itself, at most :data:`MAX_OPEN` at a time.

    Args:
        path: the set's folder, with ``dataset.json``.
        split: a split named there, ``train`` or ``test``.
        extras: also read masks and, where they are stored, vertices (slower).

    Raises:
        InputProblem: the file is missing or damaged, or there is no such split.
    """

    name = "synth"

    def __init__(self, path: Path, split: str = "train", extras: bool = False) -> None:
        card = _read_card(path)
        if split not in card["splits"]:
            known = ", ".join(repr(name) for name in card["splits"])
            raise NoSuchSplit(f"--data {path}: this synthetic set has the splits {known}, not {split!r}")
        self.split = split
        self._path, self._extras = path, extras
        self._image_px = int(card["image_px"])
        self._shards = [shard_path(path, split, k) for k in range(int(card["splits"][split]["shards"]))]
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _COLUMNS}
        self._subject_names: list[str] = []
        # Labels are small (about 1 kB a sample) and needed whole by every check; pictures stay in the files.
        for shard in self._shards:
            with open_h5(shard, SHARD_SCHEMA, VERSION) as file:
                for name, column in parts.items():
                    column.append(file[name][:])
        lengths = [len(part) for part in parts["hand"]]
        self._first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._columns = {name: np.concatenate(found) if found else np.zeros(0) for name, found in parts.items()}
        self._subjects = [str(s) for s in self._columns["subject"].astype("U16")]
        # A shard that was exchanged or made by another run would pass every other check.
        if len(self) != int(card["splits"][split]["samples"]):
            raise InputProblem(
                f"{path}: split {split!r} has {len(self)} samples, dataset.json says otherwise; make it anew"
            )
        self._open: dict[int, Any] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return self._subjects

    @property
    def sequences(self) -> Sequence[str]:
        """The sequence of every sample: one person, place and motion; a still is a sequence of its own."""
        return [_sequence_id(int(number)) for number in self._columns["sequence"]]

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples: every joint has a label."""
        joints = self._columns["joints_mm"].reshape(-1, 21, 3).astype(np.float32)
        return joints, np.ones(joints.shape[:2], bool)

    def details(self) -> LabelDetails:
        """Side, K, camera, 2D joints and picture size of all samples."""
        return LabelDetails(
            samples=np.arange(len(self)),
            right=self._columns["hand"].astype(bool),
            intrinsics=self._columns["intrinsics"].reshape(-1, 3, 3).astype(np.float64),
            cameras=[_camera_id(int(number)) for number in self._columns["camera"]],
            stated_px=self._columns["joints_px"].reshape(-1, 21, 2),
            size_px=np.full((len(self), 2), self._image_px, np.int64),
        )

    def problems(self) -> list[Dropped]:
        """Nothing can be missing: a set is only valid with all its shards."""
        return []

    def __getitem__(self, index: int) -> HandSample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        # As a list does: -1 is the last sample.
        index %= len(self)
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        row = index - int(self._first[shard])
        file = self._file(shard)
        column = self._columns
        return HandSample(
            image_rgb=self._picture(file, "jpeg", row, shard),
            intrinsics=column["intrinsics"][index].astype(np.float64),
            joints_mm=column["joints_mm"][index].astype(np.float64),
            joints_px=column["joints_px"][index].astype(np.float64),
            joint_valid=np.ones(21, bool),
            hand="right" if column["hand"][index] else "left",
            subject=self._subjects[index],
            sequence=_sequence_id(int(column["sequence"][index])),
            camera=_camera_id(int(column["camera"][index])),
            sample_id=self._sample_id(index),
            vertices_mm=file["vertices_mm"][row].astype(np.float64) if self._extras and "vertices_mm" in file else None,
            mask=self._picture(file, "mask", row, shard) > 127 if self._extras else None,
        )

    def depth_mm(self, index: int) -> NDArray[np.float32] | None:
        """Depth (H, W) of the visible surface in mm, 0 where there is none; None if the set was made without."""
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        file = self._file(shard)
        if "depth" not in file:
            return None
        tenths = self._picture(file, "depth", index - int(self._first[shard]), shard)
        # Stored as whole tenths of a millimetre, which a 16-bit PNG holds up to 6.5 m.
        return np.asarray(tenths, np.float32) / np.float32(10)

    def column(self, name: str) -> NDArray[Any]:
        """One value per sample.

        ``tone`` (0 light .. 1 dark), ``palm_facing`` (1 palm .. -1 back), ``hand`` (1 right), ``sequence``, ``frame``,
        ``camera``, ``camera_from_world`` (4, 4) in mm, ``second_joints_mm`` (21, 3), NaN where there is no second hand.
        """
        return self._columns[name]

    def _sample_id(self, index: int) -> str:
        return f"{self.split}-{index:07d}"

    def _file(self, shard: int) -> Any:
        with _OPENING:
            if self._pid != os.getpid():  # handles of a forked parent must not be used
                self._open, self._pid = {}, os.getpid()
            if shard not in self._open:
                # The oldest goes first; dictionaries keep the order in which shards were opened.
                while len(self._open) >= MAX_OPEN:
                    self._open.pop(next(iter(self._open))).close()
                self._open[shard] = open_h5_file(self._shards[shard], SHARD_SCHEMA, VERSION)
            return self._open[shard]

    def _picture(self, file: Any, name: str, row: int, shard: int) -> NDArray[Any]:
        import cv2

        # All pictures of a shard are one array of bytes: thousands of HDF5 objects would be slow to open.
        start, end = file[f"{name}_offsets"][row : row + 2]
        flag = cv2.IMREAD_COLOR_RGB if name == "jpeg" else cv2.IMREAD_UNCHANGED
        image = cv2.imdecode(file[name][int(start) : int(end)], flag)
        if image is None:
            raise InputProblem(f"{self._shards[shard]}: {name} {row} cannot be decoded; make the set anew with --redo")
        return np.asarray(image)

    def __getstate__(self) -> dict[str, Any]:
        # Open files cannot be pickled, and -1 is no process, so that the copy opens its own.
        return {**self.__dict__, "_open": {}, "_pid": -1}


_COLUMNS: Final = (
    "hand", "subject", "joints_mm", "joints_px", "intrinsics", "tone", "palm_facing", "sequence", "frame", "camera",
    "camera_from_world", "second_joints_mm",
)  # fmt: skip


def _camera_id(number: int) -> str:
    return f"camera{number}"


def _sequence_id(number: int) -> str:
    return f"sequence-{number:06d}"


def _read_card(path: Path) -> dict[str, Any]:
    file = path / "dataset.json"
    try:
        card: dict[str, Any] = json.loads(file.read_text())
        schema, version = card.get("schema"), card.get("schema_version")
    except FileNotFoundError:
        raise InputProblem(
            f"--data {path}: dataset.json is missing; was 'simhand synth' interrupted? run it again"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputProblem(f"{file} cannot be read: {error}") from None
    if schema != SET_SCHEMA or version != VERSION:
        # Another version may mean other units or joints; guessing would give wrong labels without an error.
        raise InputProblem(f"{file} is {schema} version {version}; this simhand reads {SET_SCHEMA} version {VERSION}")
    return card
