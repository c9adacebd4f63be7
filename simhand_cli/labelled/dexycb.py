"""Reader of DexYCB (Chao et al., CVPR 2021) in its published layout.

``20200709-subject-01/20200709_141754/836212060125/color_000000.jpg`` and ``labels_000000.npz`` beside it: ten people, a
hundred sequences each, eight cameras. ``meta.yml`` of a sequence names the hand, ``calibration/intrinsics`` holds the
cameras. Joints are in the camera's frame in metres; all -1 where no hand is in view: such frames are no samples.

Splits are the official ones of the setups s0 (seen people, cameras, objects), s1 (unseen people), s2 (unseen cameras)
and s3 (unseen objects): ``s1-test``; ``train``, ``val`` and ``test`` alone are those of s0.
"""

import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.details import LabelDetails
from simhand_cli.labelled.images import read_rgb
from simhand_cli.labelled.label_cache import cached_labels
from simhand_cli.labelled.sample import HandSample, HandSide, NoSuchSplit
from simhand_cli.summary import Dropped

SUBJECTS: Final = (
    "20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04", "20200908-subject-05",
    "20200918-subject-06", "20200928-subject-07", "20201002-subject-08", "20201015-subject-09", "20201022-subject-10",
)  # fmt: skip
SERIALS: Final = (
    "836212060125", "839512060362", "840412060917", "841412060263", "932122060857", "932122060861", "932122061900",
    "932122062010",
)  # fmt: skip
SETUPS: Final = ("s0", "s1", "s2", "s3")
#: Recordings of every person in the published set.
SEQUENCES: Final = 100
_READERS: Final = 8


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
        fifth = {i for i in sequences if i % 5 == 4}
        people = {"train": people, "val": {0, 1}, "test": people - {0, 1}}[split]
        sequences = sequences - fifth if split == "train" else fifth
    elif setup == "s1":
        people = {"train": people - {6, 7, 8}, "val": {6}, "test": {7, 8}}[split]
    elif setup == "s2":
        cameras = {"train": cameras - {6, 7}, "val": {6}, "test": {7}}[split]
    else:
        objects = {"train": {3, 7, 11, 15, 19}, "val": {3, 19}, "test": {7, 11, 15}}[split]
        sequences = {i for i in sequences if (i // 5 in objects) != (split == "train")}
    return Part(frozenset(people), frozenset(cameras), frozenset(sequences))


@dataclass(frozen=True)
class _Frame:
    """One picture; ``image_id`` counts all frames of the split, as the published toolkit does."""

    image_id: int
    folder: Path
    number: int
    subject: str
    sequence: str
    serial: str
    hand: HandSide

    @property
    def image(self) -> Path:
        return self.folder / f"color_{self.number:06d}.jpg"

    @property
    def labels(self) -> Path:
        return self.folder / f"labels_{self.number:06d}.npz"


class DexYcb:
    """DexYCB as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    The labels are read on opening; after the first time, from the user's cache as long as the label files are the same.

    Args:
        path: the folder with the people's folders and ``calibration``.
        split: ``train``, ``val`` or ``test`` of s0, or ``s1-train`` and so on.

    Attributes:
        setup: ``s0`` to ``s3``.
        half: ``train``, ``val`` or ``test``.
        images_in_split: number of frames of the split, those without a hand or missing here included.

    Raises:
        InputProblem: an unknown split, or a damaged file.
    """

    name = "dexycb"

    def __init__(self, path: Path, split: str = "train") -> None:
        setup, _, half = split.rpartition("-")
        setup = setup or "s0"
        if setup not in SETUPS or half not in ("train", "val", "test"):
            raise NoSuchSplit(
                f"--data {path}: DexYCB has the splits train, val and test, also as s1-train, not {split!r}"
            )
        self.split = split
        self._path = path
        self.setup, self.half = setup, half
        self.images_in_split = 0
        self._missing: list[str] = []
        self._partial: list[str] = []
        frames = self._list(official_part(setup, half))
        files = [frame.labels for frame in frames]
        labels = cached_labels(f"{self.name}-{split}", path, files, _read_all)
        shown = np.flatnonzero(~np.isnan(labels[..., :3]).all(axis=(1, 2)))
        self._frames = [frames[k] for k in shown]
        self._joints_mm, self._stated_px = labels[shown, :, :3], labels[shown, :, 3:]
        serials = {frame.serial for frame in self._frames}
        self._intrinsics = {serial: _read_intrinsics(path, serial) for serial in serials}

    def _list(self, part: Part) -> list[_Frame]:
        frames = []
        for person in sorted(part.subjects):
            folder = self._path / SUBJECTS[person]
            sequences = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []
            if len(sequences) != SEQUENCES:
                self._partial.append(f"{SUBJECTS[person]} has {len(sequences)} of {SEQUENCES} sequences")
            for index in sorted(part.sequences):
                if index < len(sequences):
                    frames += self._list_sequence(folder / sequences[index], SUBJECTS[person], part.serials)
        return frames

    def _list_sequence(self, folder: Path, subject: str, serials: frozenset[int]) -> list[_Frame]:
        meta = _read_yaml(folder / "meta.yml")
        try:
            count, hand = int(meta["num_frames"]), _side(meta["mano_sides"][0])
        except (KeyError, TypeError, ValueError, IndexError):
            raise InputProblem(f"{folder / 'meta.yml'}: num_frames or mano_sides is missing or damaged") from None
        frames = []
        for camera in sorted(serials):
            place = folder / SERIALS[camera]
            present = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
            for number in range(count):
                frame = _Frame(self.images_in_split, place, number, subject, folder.name, SERIALS[camera], hand)
                self.images_in_split += 1
                if {frame.image.name, frame.labels.name} <= present:
                    frames.append(frame)
                else:
                    self._missing.append(f"{subject}/{folder.name}/{place.name}/{frame.image.name}")
        return frames

    @property
    def image_numbers(self) -> NDArray[np.int64]:
        """(N,) the published image id of every sample: its place among all frames of the split.

        People, then their sequences, cameras and frames, each in ascending order; frames without a hand count
        (``DexYCBDataset`` of the toolkit). Only a whole copy has the published ids: see :meth:`partial`.
        """
        return np.array([frame.image_id for frame in self._frames], np.int64)

    def partial(self) -> str:
        """Why this copy cannot have the published image ids, or nothing."""
        return "; ".join(self._partial)

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return [frame.subject for frame in self._frames]

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample."""
        return [frame.sequence for frame in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        frame = self._frames[index]
        joints_mm = self._joints_mm[index].astype(np.float64)
        intrinsics = self._intrinsics[frame.serial]
        projected = joints_mm @ intrinsics.T
        return HandSample(
            image_rgb=read_rgb(frame.image),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=np.asarray(np.isfinite(joints_mm).all(axis=1)),
            hand=frame.hand,
            subject=frame.subject,
            sequence=frame.sequence,
            camera=frame.serial,
            sample_id=f"{frame.subject}/{frame.sequence}/{frame.serial}/{frame.number:06d}",
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples."""
        return self._joints_mm, np.asarray(np.isfinite(self._joints_mm).all(axis=2))

    def details(self) -> LabelDetails:
        """Side, K, camera and the published 2D joints of all samples."""
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.array([frame.hand == "right" for frame in self._frames], bool),
            intrinsics=np.stack([self._intrinsics[frame.serial] for frame in self._frames]),
            cameras=[frame.serial for frame in self._frames],
            stated_px=self._stated_px,
        )

    def problems(self) -> list[Dropped]:
        """Frames named by ``meta.yml`` that are missing."""
        if not self._missing:
            return []
        what = f"pictures of {self._path}, first: {self._missing[0]}"
        return [Dropped(what, len(self._missing), "picture or label file is missing")]


def _side(value: Any) -> HandSide:
    if value not in ("right", "left"):
        raise ValueError(value)
    return "right" if value == "right" else "left"


def _read_all(files: Sequence[Path]) -> NDArray[np.float32]:
    """Labels (N, 21, 5) of many files, see :func:`_read_labels`."""
    with ThreadPoolExecutor(_READERS) as readers:
        return np.array(list(readers.map(_read_labels, files)), np.float32).reshape(-1, 21, 5)


def _read_labels(path: Path) -> NDArray[np.float32]:
    """Joints in mm and the published 2D ones (21, 3 + 2), NaN where absent; all NaN where no hand is in view."""
    try:
        with np.load(path, allow_pickle=False) as labels:
            joints = np.asarray(labels["joint_3d"], np.float64).reshape(21, 3)
            pixels = np.asarray(labels["joint_2d"], np.float32).reshape(21, 2) if "joint_2d" in labels else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputProblem(f"{path}: no readable joint_3d ({error})") from None
    if (joints == -1).all():
        return np.full((21, 5), np.nan, np.float32)
    stated = np.full((21, 2), np.nan, np.float32) if pixels is None else pixels
    stated[(stated == -1).all(axis=1)] = np.nan
    return np.concatenate([1000.0 * joints, stated], axis=1).astype(np.float32)


def _read_intrinsics(path: Path, serial: str) -> NDArray[np.float64]:
    file = path / "calibration" / "intrinsics" / f"{serial}_640x480.yml"
    content = _read_yaml(file)
    try:
        fx, fy, cx, cy = (float(content["color"][name]) for name in ("fx", "fy", "ppx", "ppy"))
    except (KeyError, TypeError, ValueError):
        raise InputProblem(f"{file}: color with fx, fy, ppx, ppy is missing or damaged") from None
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except (OSError, yaml.YAMLError) as error:
        raise InputProblem(f"{path} cannot be read: {' '.join(str(error).split())}") from None
