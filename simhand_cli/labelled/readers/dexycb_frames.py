"""Which pictures belong to the official splits of DexYCB, and which of them are there.

Setups: s0 (seen people, cameras, objects), s1 (unseen people), s2 (unseen cameras) and s3 (unseen objects), as in
``DexYCBDataset`` of the published toolkit.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import HandSide

# The order of both lists is that of the toolkit; setups and image ids count in it.
SUBJECTS: Final = (
    "20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04", "20200908-subject-05",
    "20200918-subject-06", "20200928-subject-07", "20201002-subject-08", "20201015-subject-09", "20201022-subject-10",
)  # fmt: skip
SERIALS: Final = (
    "836212060125", "839512060362", "840412060917", "841412060263", "932122060857", "932122060861", "932122061900",
    "932122062010",
)  # fmt: skip
SETUPS: Final = ("s0", "s1", "s2", "s3")
#: Setups that choose sequences by their number among a person's: any that is not there shifts the others.
_BY_NUMBER: Final = ("s0", "s3")
#: Recordings of every person in the published set.
_SEQUENCES = 100


@dataclass(frozen=True)
class Part:
    """Which people (0-9), cameras (0-7) and sequences (0-99 of every person) belong to a split."""

    subjects: frozenset[int]
    serials: frozenset[int]
    sequences: frozenset[int]


def official_part(setup: str, split: str) -> Part:
    """The official choice of ``train``, ``val`` or ``test`` of a setup."""
    people, cameras, sequences = set(range(10)), set(range(8)), set(range(100))
    if setup == "s0":
        # Five recordings in a row are of one object; the last of each five is held out.
        fifth = {i for i in sequences if i % 5 == 4}
        # Validation and test share the held-out recordings and are told apart by person.
        people = {"train": people, "val": {0, 1}, "test": people - {0, 1}}[split]
        sequences = sequences - fifth if split == "train" else fifth
    elif setup == "s1":
        people = {"train": people - {6, 7, 8}, "val": {6}, "test": {7, 8}}[split]
    elif setup == "s2":
        cameras = {"train": cameras - {6, 7}, "val": {6}, "test": {7}}[split]
    else:
        # Twenty objects of five recordings each; "train" are all that neither of the other two has.
        objects = {"train": {3, 7, 11, 15, 19}, "val": {3, 19}, "test": {7, 11, 15}}[split]
        sequences = {i for i in sequences if (i // 5 in objects) != (split == "train")}
    return Part(frozenset(people), frozenset(cameras), frozenset(sequences))


@dataclass(frozen=True)
class Recording:
    """A sequence: its person, its folder's name and the hand it shows."""

    subject: str
    name: str
    hand: HandSide


@dataclass(frozen=True)
class Frames:
    """Pictures, a row each; compact, since the set has 582,000 and every loader process has a copy.

    Attributes:
        recordings: each once.
        image_id: (N,) int32, the place among all frames of the split, as the published toolkit counts.
        recording: (N,) int16, places in ``recordings``.
        serial: (N,) int8, places in :data:`SERIALS`.
        number: (N,) int32, the frame's number in its recording.
    """

    recordings: tuple[Recording, ...]
    image_id: NDArray[np.int32]
    recording: NDArray[np.int16]
    serial: NDArray[np.int8]
    number: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image_id)

    def taken(self, rows: NDArray[np.int64]) -> "Frames":
        """Some of the pictures."""
        return Frames(self.recordings, self.image_id[rows], self.recording[rows], self.serial[rows], self.number[rows])

    def recording_of(self, row: int) -> Recording:
        """The recording of a picture."""
        return self.recordings[int(self.recording[row])]

    def place(self, row: int) -> str:
        """The folder of a picture, from the set's folder."""
        of = self.recording_of(row)
        return f"{of.subject}/{of.name}/{SERIALS[self.serial[row]]}"

    def image(self, row: int) -> str:
        """The path of a picture, from the set's folder."""
        return f"{self.place(row)}/color_{self.number[row]:06d}.jpg"

    def labels(self, row: int) -> str:
        """The path of a picture's labels, from the set's folder."""
        return f"{self.place(row)}/labels_{self.number[row]:06d}.npz"


@dataclass
class FrameList:
    """The pictures of a split as they are listed.

    Attributes:
        images_in_split: how many the split has, those that are missing included.
        missing: pictures that are missing, or whose labels are.
        partial: people who are not there as a whole.
    """

    images_in_split: int = 0
    missing: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    _recordings: list[Recording] = field(default_factory=list)
    _rows: list[NDArray[np.int64]] = field(default_factory=list)

    def frames(self) -> Frames:
        """Those that are there."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, 4), np.int64)
        image_id, recording, serial, number = rows.T
        return Frames(
            tuple(self._recordings), image_id.astype(np.int32), recording.astype(np.int16), serial.astype(np.int8),
            number.astype(np.int32),
        )  # fmt: skip

    def add_recording(self, folder: Path, subject: str, serials: frozenset[int]) -> None:
        """List a recording; raises InputProblem where its ``meta.yml`` is damaged."""
        meta = read_yaml(folder / "meta.yml")
        try:
            # A list of one: every recording shows one hand.
            count, hand = int(meta["num_frames"]), _side(meta["mano_sides"][0])
        except (KeyError, TypeError, ValueError, IndexError):
            raise InputProblem(f"{folder / 'meta.yml'}: num_frames or mano_sides is missing or damaged") from None
        self._recordings.append(Recording(subject, folder.name, hand))
        # The toolkit counts image ids camera by camera within a recording; another order would shift them.
        for camera in sorted(serials):
            place = folder / SERIALS[camera]
            present = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
            # Both are needed: a picture without labels is no sample, and labels without a picture cannot be shown.
            there = np.array(
                [{f"color_{k:06d}.jpg", f"labels_{k:06d}.npz"} <= present for k in range(count)], dtype=bool
            )
            here = f"{subject}/{folder.name}/{place.name}"
            self.missing += [f"{here}/color_{k:06d}.jpg" for k in np.flatnonzero(~there).tolist()]
            number = np.flatnonzero(there)
            of = np.tile([len(self._recordings) - 1, camera], (len(number), 1))
            self._rows.append(np.column_stack([self.images_in_split + number, of, number]))
            # Missing frames keep their ids, as leaderboard files go by the whole split's numbering.
            self.images_in_split += count


def list_frames(root: Path, setup: str, half: str) -> FrameList:
    """List the pictures of a split; every folder is listed once.

    Args:
        root: the set's folder.
        setup: ``s0`` to ``s3``.
        half: ``train``, ``val`` or ``test``.

    Raises:
        InputProblem: a damaged ``meta.yml``, or a person with some sequences only in a setup that goes by their number.
    """
    part, listed = official_part(setup, half), FrameList()
    for person in sorted(part.subjects):
        folder, subject = root / SUBJECTS[person], SUBJECTS[person]
        # Names are dates and times, so that sorting gives the published numbers.
        sequences = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []
        if len(sequences) != _SEQUENCES:
            listed.partial.append(f"{subject} has {len(sequences)} of {_SEQUENCES} sequences")
        # With a recording gone, number 4 would be another one, and training could see what the test holds.
        if sequences and len(sequences) != _SEQUENCES and setup in _BY_NUMBER:
            raise InputProblem(
                f"--data {root}: {listed.partial[-1]}, and the splits of {setup} go by the number of a sequence: get "
                "all of this person, or move the folder away; 'evaluate' and 'data check' can also take "
                f"--split s1-{half} (by person) or s2-{half} (by camera)"
            )
        for index in sorted(part.sequences):
            if index < len(sequences):
                listed.add_recording(folder / sequences[index], subject, part.serials)
    return listed


def _side(value: Any) -> HandSide:
    if value not in ("right", "left"):
        raise ValueError(value)
    return "right" if value == "right" else "left"


def read_yaml(path: Path) -> Any:
    """A small YAML file; raises InputProblem where it is missing or damaged."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputProblem(f"{path} cannot be read: {' '.join(str(error).split())}") from None
