"""Collect the labels of pictures of two hands in compact arrays while annotation files of gigabytes stream by."""

from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import nearly_all
from simhand_cli.labelled.files.coco_file import ABSENT, file_names, rows_by_id
from simhand_cli.labelled.readers.two_hands import SIDES, TWO_HANDS, Hands, Scenes, TwoHandSet
from simhand_cli.labelled.sample import LeftOut, left_out

#: Names on the way to a row: recording, frame, camera.
Key = tuple[str, ...]
#: Numbers kept of every picture: folder, sequence, camera, subject, frame, pose, lens; the last three are its scene.
_COLUMNS: Final = 7
_SCENE: Final = slice(4, 7)
#: Rows of the pictures of all hands, and which hands are asked for -> their names.
_Names = Callable[[NDArray[np.int64], NDArray[np.bool_]], list[str]]


class KeyedRows:
    """Equally shaped arrays of float64, a row each, found again by a key.

    Args:
        shape: of one row.

    Attributes:
        damaged: what is wrong with the first row that could not be read, or nothing.
    """

    def __init__(self, *shape: int) -> None:
        self.damaged = ""
        self._shape = shape
        # Grows as the file streams by, at 8 bytes a number; Python floats in lists take four times that.
        self._numbers = array("d")
        self._row: dict[Key, int] = {}

    def add(self, key: Key, values: Any, path: Path) -> None:
        """Set a key's row, read from ``path``; a key whose values are not numbers of the shape gets none."""
        try:
            numbers = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != self._shape:
            self.refuse(f"{path}: {'/'.join(key)} is not {' x '.join(map(str, self._shape))} numbers")
            return
        # A key that comes again overwrites its row, as it would in a dictionary.
        start = self._row.setdefault(key, len(self._row)) * numbers.size
        self._numbers[start : start + numbers.size] = array("d", numbers.tobytes())

    def refuse(self, why: str) -> None:
        """Note that a row could not be read."""
        self.damaged = self.damaged or why

    def row(self, key: Key) -> int:
        """The row of a key, -1 where there is none."""
        return self._row.get(key, ABSENT)

    def keys(self) -> list[Key]:
        """The key of every row."""
        return list(self._row)

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
        self._size_px = array("i")
        self._columns = array("i")
        self._hand = array("q")
        self._valid: list[bytes] = []

    def add_picture(self, entry: dict[str, Any], texts: tuple[str, str, str], scene: tuple[Key, Key, Key]) -> None:
        """A picture with its ``id``, ``file_name``, ``width`` and ``height`` (0 where they are not stated).

        Args:
            entry: as in the list of images.
            texts: its recording, camera and person.
            scene: the keys of its joints, its camera's pose and K.
        """
        picture_id, file_name = int(entry["id"]), str(entry["file_name"])
        size_px = [int(entry.get(name) or 0) for name in ("width", "height")]
        # Folders are kept once: with their pictures' names whole, file names would be most of the memory.
        folder, _, name = file_name.rpartition("/")
        self._picture_id.append(picture_id)
        self._file_name.append(name.encode())
        # Half a size tells nothing, so either both or none.
        self._size_px.extend(size_px if min(size_px) > 0 else (0, 0))
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
            InputProblem: nearly all hands are of unknown pictures, without 3D joints or without camera, or no picture
                is there.
        """
        hand, frames = np.frombuffer(self._hand, np.int64).reshape(-1, 2), self.world_mm.keys()
        recording = [self._texts.setdefault(key[0], len(self._texts)) for key in frames]
        texts = tuple(self._texts)
        columns = np.frombuffer(self._columns, np.int32).reshape(-1, _COLUMNS)
        picture = rows_by_id(np.frombuffer(self._picture_id, np.int64), hand[:, 0])
        names = partial(self._hand_names, texts, hand)
        # Row -1 is that of pictures which are not listed.
        scene = np.vstack([columns, np.full((1, _COLUMNS), ABSENT, np.int32)])[picture][:, _SCENE]
        unusable = self._without_scene(picture, scene, annotations, names)
        kept = (picture >= 0) & (scene >= 0).all(axis=1)
        asked = np.ones(len(hand), bool)
        if invalid:
            keys = (f"{self._name(texts, p)},{s}" for p, s in zip(picture.tolist(), hand[:, 1].tolist(), strict=True))
            asked = np.array([key not in invalid for key in keys], bool)
        there = np.append(self._present(images, texts, columns[:, 0]), False)[picture]
        # A wrong --data or pictures not fetched yet: one line, instead of a set of which every sample is left out.
        if kept.any() and not there[kept].any():
            first = images / self._name(texts, int(picture[kept][0]))
            raise InputProblem(f"none of the pictures that {annotations} names is there, first: {first}")
        where = f"hands in pictures of {images}"
        # Each hand has one reason: the set's own list first, since these are not expected to be there.
        others = [
            *left_out(where, "in the set's list of invalid hands", names(picture, kept & ~asked)),
            *left_out(where, "picture is missing", names(picture, kept & asked & ~there)),
        ]
        kept &= asked & there
        # Fused views need to know which hands the published set shows, also those that are missing here.
        shown, known = np.zeros((len(frames), len(SIDES)), bool), scene[:, 0] >= 0
        shown[scene[known, 0], hand[known, 1]] = True
        valid = np.frombuffer(b"".join(self._valid), np.bool_).reshape(-1, TWO_HANDS // 2)
        file_name, size_px = np.array(self._file_name, np.bytes_), np.frombuffer(self._size_px, np.int32).reshape(-1, 2)
        # A column is spread over the whole table; on its own, looking it up for all samples touches only itself.
        apart = (np.ascontiguousarray(column) for column in columns.T)
        hands = Hands(picture[kept], hand[kept, 1].astype(np.int8), valid[kept], file_name, texts, size_px, *apart)
        scenes = Scenes(
            # Joints in float32 (within 1e-4 mm of a metre); poses and K stay in float64, as they multiply.
            world_mm=self.world_mm.stacked().astype(np.float32),
            frame_name=np.array([key[-1].encode() for key in frames], np.bytes_),
            frame_recording=np.array(recording, np.int32),
            camera_from_world=self.pose.stacked(),
            intrinsics=self.lens.stacked(),
            shown=shown,
        )
        return TwoHandSet(name, split, images, hands, scenes, unusable + others)

    def _without_scene(
        self, picture: NDArray[np.int64], scene: NDArray[np.int32], annotations: Path, names: _Names
    ) -> list[LeftOut]:
        """Hands of which the files do not say enough; raises InputProblem where these are nearly all."""
        found: list[LeftOut] = []
        bad = picture < 0
        found += left_out(f"hands of {annotations}", "its picture is not listed", names(picture, bad))
        refusal = f"a hand of a picture that it does not list ({found[0].names[0]})" if found else ""
        parts = (("3D joints", self.world_mm), ("camera pose", self.pose), ("intrinsics", self.lens))
        for number, (what, rows) in enumerate(parts):
            # The first missing part is the reason, so that a hand is counted once.
            lacking = ~bad & (scene[:, number] == ABSENT)
            bad |= lacking
            entry = left_out(f"hands of {annotations}", rows.damaged or f"no {what}", names(picture, lacking))
            found += entry
            if entry and not refusal:
                refusal = f"no {what} for {entry[0].names[0]}: are the annotation files of one release?"
                refusal += f" ({rows.damaged})" if rows.damaged else ""
        if nearly_all(bad, np.ones(len(bad), bool)):
            raise InputProblem(f"{annotations}: {refusal}")
        return found

    def _hand_names(
        self, texts: tuple[str, ...], hand: NDArray[np.int64], picture: NDArray[np.int64], asked: NDArray[np.bool_]
    ) -> list[str]:
        """``FILE_NAME,right`` of some of the hands; those of an unknown picture by its id."""
        rows = zip(picture[asked].tolist(), *hand[asked].T.tolist(), strict=True)
        return [
            f"{self._name(texts, row) if row >= 0 else f'picture {picture_id}'},{SIDES[side]}"
            for row, picture_id, side in rows
        ]

    def _name(self, texts: tuple[str, ...], picture: int) -> str:
        """File name of a picture, as the annotations have it."""
        folder, name = texts[self._columns[_COLUMNS * picture]], self._file_name[picture].decode()
        return f"{folder}/{name}" if folder else name

    def _present(self, images: Path, texts: tuple[str, ...], folders: NDArray[np.int32]) -> NDArray[np.bool_]:
        listed = {int(number): file_names(images / texts[number]) for number in np.unique(folders)}
        found = [name in listed[number] for name, number in zip(self._file_name, folders.tolist(), strict=True)]
        return np.array(found, bool)


def joint_flags(values: Any) -> NDArray[np.bool_]:
    """``joint_valid`` of an annotation as (2, 21) bool, right hand first; ValueError where it is something else."""
    # A row of 42 or a column of 42 x 1, whichever a release has; flags are the numbers 0 and 1.
    return np.asarray(np.asarray(values, np.float64).reshape(2, TWO_HANDS // 2) > 0)


def world_coord(frame: Any) -> Any:
    """The joints of a frame of a ``joint_3d`` file; None where there are none."""
    return frame.get("world_coord") if isinstance(frame, dict) else None
