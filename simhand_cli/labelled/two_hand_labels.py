"""Collect the labels of pictures of two hands in compact arrays while annotation files of gigabytes stream by."""

import os
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.json_stream import stream_json
from simhand_cli.labelled.two_hands import TWO_HANDS, Hands, Scenes, TwoHandSet
from simhand_cli.summary import Dropped

#: Names on the way to a row: recording, frame, camera.
Key = tuple[str, ...]
#: Numbers kept of every picture: folder, sequence, camera, subject, frame, pose, lens.
_COLUMNS: Final = 7
_ABSENT: Final = -1


class KeyedRows:
    """Equally shaped arrays of float64, a row each, found again by a key.

    Args:
        shape: of one row.
    """

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._numbers = array("d")
        self._row: dict[Key, int] = {}

    def add(self, key: Key, values: Any, path: Path) -> None:
        """Append a row read from ``path``; raises InputProblem where the values are not numbers of the shape."""
        try:
            numbers = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != self._shape:
            raise InputProblem(f"{path}: {'/'.join(key)} is not {' x '.join(map(str, self._shape))} numbers")
        self._row[key] = len(self._numbers) // numbers.size
        self._numbers.frombytes(numbers.tobytes())

    def row(self, key: Key) -> int:
        """The row of a key, -1 where there is none."""
        return self._row.get(key, _ABSENT)

    def stacked(self) -> NDArray[np.float64]:
        """All rows, (N, *shape)."""
        return np.frombuffer(self._numbers, np.float64).reshape(-1, *self._shape)


class TwoHandLabels:
    """The labels of a split. Scenes are added first, then pictures and hands in any order.

    Attributes:
        world_mm: the 42 joints of every frame, in the published order.
        pose: R and t (3, 4) of cameras, world to camera, in mm.
        lens: K (3, 3) of cameras.
    """

    def __init__(self) -> None:
        self.world_mm = KeyedRows(TWO_HANDS, 3)
        self.pose = KeyedRows(3, 4)
        self.lens = KeyedRows(3, 3)
        self._texts: dict[str, int] = {}
        self._picture_id = array("q")
        self._file_name: list[bytes] = []
        self._columns = array("i")
        self._hand = array("q")
        self._valid: list[bytes] = []

    def add_picture(
        self, picture_id: int, file_name: str, texts: tuple[str, str, str], scene: tuple[Key, Key, Key]
    ) -> None:
        """A picture: its recording, camera and person; the keys of its joints, its camera's pose and K."""
        folder, _, name = file_name.rpartition("/")
        self._picture_id.append(picture_id)
        self._file_name.append(name.encode())
        self._columns.extend(self._texts.setdefault(text, len(self._texts)) for text in (folder, *texts))
        parts = (self.world_mm, self.pose, self.lens)
        self._columns.extend(rows.row(key) for rows, key in zip(parts, scene, strict=True))

    def add_hand(self, picture_id: int, side: int, valid: NDArray[np.bool_]) -> None:
        """A hand of a picture: side 0 right or 1 left, and which of its 21 joints are labelled."""
        self._hand.extend((picture_id, side))
        self._valid.append(valid.tobytes())

    def finish(
        self, name: str, split: str, images: Path, annotations: Path, invalid: frozenset[str] = frozenset()
    ) -> TwoHandSet:
        """The set of all hands whose pictures are there; each folder of pictures is listed once.

        Args:
            name: of the set.
            split: that was read.
            images: the folder that file names start from.
            annotations: the file that lists pictures and hands, for messages.
            invalid: hands to leave out, as ``file_name,0`` (right) or ``file_name,1``.

        Raises:
            InputProblem: a hand of an unknown picture, without 3D joints or without camera, or no picture is there.
        """
        hand = np.frombuffer(self._hand, np.int64).reshape(-1, 2)
        picture, side = self._picture_rows(hand[:, 0], annotations), hand[:, 1].astype(np.int8)
        texts = tuple(self._texts)
        columns = np.frombuffer(self._columns, np.int32).reshape(-1, _COLUMNS)
        self._check_scenes(picture, columns, texts, annotations)
        asked = np.ones(len(picture), bool)
        if invalid:
            keys = (f"{self._name(texts, p)},{s}" for p, s in zip(picture.tolist(), side.tolist(), strict=True))
            asked = np.array([key not in invalid for key in keys], bool)
        there = self._present(images, texts, columns[:, 0])[picture]
        if len(there) and not there.any():
            first = images / self._name(texts, int(picture[0]))
            raise InputProblem(f"none of the pictures that {annotations} names is there, first: {first}")
        left_out = [
            Dropped(f"hands in pictures of {images}, first: {self._name(texts, first)}", int(gone.sum()), why)
            for gone, why in ((~asked, "in the set's list of invalid hands"), (asked & ~there, "picture is missing"))
            for first in picture[gone][:1].tolist()
        ]
        kept = asked & there
        valid = np.frombuffer(b"".join(self._valid), np.bool_).reshape(-1, TWO_HANDS // 2)
        apart = (np.ascontiguousarray(column) for column in columns.T)
        hands = Hands(picture[kept], side[kept], valid[kept], np.array(self._file_name, np.bytes_), texts, *apart)
        scenes = Scenes(self.world_mm.stacked().astype(np.float32), self.pose.stacked(), self.lens.stacked())
        return TwoHandSet(name, split, images, hands, scenes, left_out)

    def _picture_rows(self, wanted: NDArray[np.int64], annotations: Path) -> NDArray[np.int64]:
        known = np.frombuffer(self._picture_id, np.int64)
        unknown = ~np.isin(wanted, known)
        if unknown.any():
            raise InputProblem(f"{annotations}: a hand of picture {wanted[unknown.argmax()]}, which it does not list")
        order = np.argsort(known, kind="stable")
        return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], np.int64)

    def _check_scenes(
        self, picture: NDArray[np.int64], columns: NDArray[np.int32], texts: tuple[str, ...], annotations: Path
    ) -> None:
        for column, what in ((4, "3D joints"), (5, "camera pose"), (6, "intrinsics")):
            lacking = columns[picture, column] == _ABSENT
            if lacking.any():
                of = self._name(texts, int(picture[lacking.argmax()]))
                raise InputProblem(f"{annotations}: no {what} for {of}: are the annotation files of one release?")

    def _name(self, texts: tuple[str, ...], picture: int) -> str:
        """File name of a picture, as the annotations have it."""
        folder, name = texts[self._columns[_COLUMNS * picture]], self._file_name[picture].decode()
        return f"{folder}/{name}" if folder else name

    def _present(self, images: Path, texts: tuple[str, ...], folders: NDArray[np.int32]) -> NDArray[np.bool_]:
        listed = {int(number): _listing(images / texts[number]) for number in np.unique(folders)}
        found = [name in listed[number] for name, number in zip(self._file_name, folders.tolist(), strict=True)]
        return np.array(found, bool)


def read_coco(path: Path, readers: Mapping[str, Callable[[dict[str, Any]], None]]) -> None:
    """Hand every entry of the named lists of a COCO-like file to its reader, one at a time.

    Raises:
        InputProblem: an entry lacks a field or has a wrong one; it is named.
    """
    for keys, entry in stream_json(path, 2):
        if len(keys) == 2 and keys[0] in readers:
            try:
                readers[keys[0]](entry)
            except KeyError as error:
                raise InputProblem(f"{path}: {keys[0]}[{keys[1]}] has no {error.args[0]}") from None
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                raise InputProblem(f"{path}: {keys[0]}[{keys[1]}] is damaged: {error}") from None


def joint_flags(values: Any) -> NDArray[np.bool_]:
    """``joint_valid`` of an annotation as (2, 21) bool, right hand first; ValueError where it is something else."""
    return np.asarray(np.asarray(values, np.float64).reshape(2, TWO_HANDS // 2) > 0)


def world_coord(frame: Any) -> Any:
    """The joints of a frame of a ``joint_3d`` file; None where there are none."""
    return frame.get("world_coord") if isinstance(frame, dict) else None


def _listing(folder: Path) -> set[bytes]:
    try:
        return {os.fsencode(entry.name) for entry in os.scandir(folder)}
    except OSError:
        return set()
