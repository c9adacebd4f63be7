"""Reader of HanCo (Zimmermann, Argus, Brox, GCPR 2021) in its published layout.

``rgb/0000/cam0/00000000.jpg`` and so on: short sequences before eight calibrated cameras. ``xyz/0000/00000000.json``
holds 21 joints in the world frame in metres, ``calib`` of the same name ``M`` (8 x 4 x 4, world to camera) and ``K``
(8 x 3 x 3), ``meta.json`` who is seen and which sequences were filmed before the green screen: those are the ``train``
split, with masks and further folders of the same pictures before other backgrounds; the others are ``test``. All hands
are right hands, and all joints are labelled.
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import by_chunks
from simhand_cli.labelled.files.distinct_rows import distinct_rows
from simhand_cli.labelled.files.images import read_mask, read_rgb
from simhand_cli.labelled.files.label_files import label_rows
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import HandSample, LeftOut, NoSuchSplit, left_out
from simhand_cli.summary import Dropped

#: Folders of the same pictures before different backgrounds, in the order in which they are read.
VARIANTS = ("rgb", "rgb_merged", "rgb_color_auto", "rgb_color_sample", "rgb_homo")
_META = ("is_train", "subject_id", "is_valid")
#: Numbers kept of a camera: R and t (3 x 4), then K (3 x 3).
_CAMERA: Final = 12 + 9


class HanCo:
    """HanCo as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    Labels are read on opening; after the first time, from the user's cache as long as the label files are the same.
    Every valid frame is expected in each variant that is there, from each camera of the calibration.

    Args:
        path: the folder with ``rgb``, ``xyz``, ``calib`` and ``meta.json``.
        split: ``train`` (green screen and its variants) or ``test``.

    Raises:
        InputProblem: an unknown split, ``meta.json`` is missing or damaged, or nearly all label files are damaged.
    """

    name = "hanco"

    def __init__(self, path: Path, split: str = "train") -> None:
        if split not in ("train", "test"):
            raise NoSuchSplit(f"--data {path}: HanCo has the splits 'train' and 'test', not {split!r}")
        self.split = split
        self._path = path
        # Test sequences were filmed without the green screen; only their plain pictures exist.
        self._variants = [v for v in (VARIANTS if split == "train" else VARIANTS[:1]) if (path / v).is_dir()]
        meta = _read_meta(path / "meta.json")
        if not self._variants:
            raise InputProblem(f"--data {path}: no folder rgb")
        #: (F, 2) sequence and number of every frame.
        self._frame, self._subject = _valid_frames(meta, split == "train")
        # By listing folders: asking for every file is slow, and reading tells missing and damaged alike.
        missing = self._keep_labelled()
        damaged = self._read_labels()
        # One label file is of all cameras and backgrounds of a frame, so its loss costs that many pictures.
        lost = self._cameras * len(self._variants)
        #: (N, 3): frame, camera, variant.
        self._rows, absent, count = self._list()
        why = "picture or label file is missing"
        self._left_out = [
            *left_out(f"pictures of {path}", why, absent + missing, count + lost * len(missing)),
            *left_out(f"pictures of {path} with a damaged label file", "cannot be read", damaged, lost * len(damaged)),
        ]

    def _keep_labelled(self) -> list[str]:
        """Keep the frames with label files; names of the files that are missing, one for each other frame."""
        missing: dict[int, str] = {}
        for sid in np.unique(self._frame[:, 0]).tolist():
            there = {kind: _names(self._path / kind / f"{sid:04d}") for kind in ("xyz", "calib")}
            for row in np.flatnonzero(self._frame[:, 0] == sid).tolist():
                file = f"{self._frame[row, 1]:08d}.json"
                if lacking := [f"{kind}/{sid:04d}/{file}" for kind, names in there.items() if file not in names]:
                    missing[row] = lacking[0]
        self._frame = np.delete(self._frame, list(missing), axis=0)
        return list(missing.values())

    def _read_labels(self) -> list[str]:
        """Read joints and cameras of all frames and keep those that can be read; why the others cannot."""
        xyz, calib = (
            [self._path / kind / f"{sid:04d}" / f"{number:08d}.json" for sid, number in self._frame.tolist()]
            for kind in ("xyz", "calib")
        )
        # Not taken as 8: a copy of some cameras has a smaller calibration, and rows must be of one length.
        self._cameras = _count_cameras(calib)
        name, cameras = f"{self.name}-{self.split}", (self._cameras, _CAMERA)
        world_m, bad_joints = label_rows(f"{name}-xyz", self._path, xyz, _read_joints, (21, 3))
        read = partial(_read_calibration, cameras=self._cameras)
        calibration, bad_cameras = label_rows(f"{name}-calib", self._path, calib, read, cameras)
        # Either file makes a frame unusable, so both tables lose the same rows and stay in step.
        problems = bad_cameras | bad_joints
        self._frame = np.delete(self._frame, list(problems), axis=0)
        self._world_m, calibration = (np.delete(rows, list(problems), axis=0) for rows in (world_m, calibration))
        # Cameras do not move within a recording: each calibration is kept once.
        first, of = distinct_rows(calibration) if len(calibration) else (np.empty(0, np.int64),) * 2
        self._calibration, self._calibration_of = calibration[first], of.astype(np.int32)
        return list(problems.values())

    def _list(self) -> tuple[NDArray[np.int32], list[str], int]:
        """Rows of the pictures that are there; the pictures and whole folders that are not, and how many pictures."""
        rows, absent, count = [np.empty((0, 3), np.int32)], [], 0
        for sid in np.unique(self._frame[:, 0]).tolist():
            frames = np.flatnonzero(self._frame[:, 0] == sid)
            files = [f"{number:08d}.jpg" for number in self._frame[frames, 1].tolist()]
            for v, variant in enumerate(self._variants):
                folder = f"{variant}/{sid:04d}"
                if not (self._path / folder).is_dir():
                    # Named as a whole: a folder that was not fetched would fill a report with thousands of names.
                    absent.append(folder)
                    count += self._cameras * len(files)
                    continue
                for camera in range(self._cameras):
                    present = _names(self._path / folder / f"cam{camera}")
                    there = np.array([file in present for file in files], bool)
                    # A frame can lack one camera only; the others are still samples.
                    gone = [f"{folder}/cam{camera}/{files[k]}" for k in np.flatnonzero(~there).tolist()]
                    absent += gone if present else [f"{folder}/cam{camera}"]
                    count += len(gone)
                    own = frames[there]
                    rows.append(
                        np.column_stack([own, np.full_like(own, camera), np.full_like(own, v)]).astype(np.int32)
                    )
        return np.concatenate(rows), absent, count

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return [self._subject[sid] for sid in self._frame[self._rows[:, 0], 0].tolist()]

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample."""
        return [f"{sid:04d}" for sid in self._frame[self._rows[:, 0], 0].tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandSample:
        frame, camera, v = self._rows[index].tolist()
        sid, number = self._frame[frame].tolist()
        place = f"{sid:04d}/cam{camera}/{number:08d}.jpg"
        row = self._rows[index][None]
        joints_mm, intrinsics = self._joints_of(row)[0], self._intrinsics_of(row)[0]
        projected = joints_mm @ intrinsics.T
        # Masks are published apart and for training sequences only.
        mask = self._path / "mask_hand" / place
        return HandSample(
            image_rgb=read_rgb(self._path / self._variants[v] / place),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=np.ones(21, bool),
            hand="right",
            subject=self._subject[sid],
            sequence=f"{sid:04d}",
            camera=f"cam{camera}",
            sample_id=f"{self._variants[v]}/{place.removesuffix('.jpg')}",
            mask=read_mask(mask) if mask.is_file() else None,
        )

    def _joints_of(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Joints (n, 21, 3) in the camera's frame, mm, of rows (n, 3): R x + t."""
        numbers = self._calibration[self._calibration_of[rows[:, 0]], rows[:, 1], :12]
        pose = numbers.reshape(-1, 3, 4).astype(np.float64)
        world_m = self._world_m[rows[:, 0]].astype(np.float64)
        # Joints and t are in metres.
        return np.asarray(1000.0 * (world_m @ pose[:, :, :3].transpose(0, 2, 1) + pose[:, None, :, 3]))

    def _intrinsics_of(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """K (n, 3, 3) of rows (n, 3)."""
        numbers = self._calibration[self._calibration_of[rows[:, 0]], rows[:, 1], 12:]
        return numbers.reshape(-1, 3, 3).astype(np.float64)

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples: every joint has a label."""
        joints_mm = by_chunks(lambda rows: self._joints_of(rows).astype(np.float32), self._rows)
        return joints_mm, np.ones(joints_mm.shape[:2], bool)

    def details(self) -> LabelDetails:
        """Side, K and camera of all samples."""
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.ones(len(self), bool),
            intrinsics=self._intrinsics_of(self._rows),
            cameras=[f"cam{camera}" for camera in self._rows[:, 1].tolist()],
        )

    def left_out(self) -> list[LeftOut]:
        """Valid pictures that are missing, alone or by the folder, or whose labels are missing or damaged."""
        return self._left_out

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self._left_out]


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:
        return set()


def _valid_frames(meta: dict[str, list[list[Any]]], train: bool) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Sequence and number (F, 2) of the valid frames of a split, and the person of every sequence."""
    frames, subject = [np.empty((0, 2), np.int64)], {}
    for sid, valid in enumerate(meta["is_valid"]):
        numbers = np.flatnonzero([ok and meta["is_train"][sid][k] == train for k, ok in enumerate(valid)])
        if len(numbers):
            # The person does not change within a recording, so that of its first valid frame will do.
            subject[sid] = f"subject{meta['subject_id'][sid][numbers[0]]}"
            frames.append(np.column_stack([np.full_like(numbers, sid), numbers]))
    return np.concatenate(frames), subject


def _read_meta(path: Path) -> dict[str, list[list[Any]]]:
    try:
        meta = json.loads(path.read_text())
        # Checked here since a shorter list would shift the meaning of frames without any error.
        lengths = {name: [len(row) for row in meta[name]] for name in _META}
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputProblem(f"{path} cannot be read: {error!r}") from None
    if any(lengths[name] != lengths["is_valid"] for name in _META):
        raise InputProblem(f"{path}: its lists have different lengths")
    return {name: meta[name] for name in _META}


def _count_cameras(files: list[Path]) -> int:
    """Cameras of the first calibration that can be read, 0 where none can."""
    for file in files:
        try:
            return len(_calibration(file)[0])
        except InputProblem:
            continue
    return 0


def _read_joints(path: Path) -> NDArray[np.float32]:
    return _array(path, _json_file(path), (21, 3)).astype(np.float32)


def _read_calibration(path: Path, cameras: int) -> NDArray[np.float32]:
    """(cameras, 21), see :data:`_CAMERA`."""
    pose, intrinsics = _calibration(path)
    if len(pose) != cameras or len(intrinsics) != cameras:
        raise InputProblem(f"{path}: {len(pose)} M and {len(intrinsics)} K, not {cameras} as elsewhere")
    # The last row of M is 0 0 0 1 and is not kept.
    numbers = [pose[:, :3].reshape(cameras, 12), intrinsics.reshape(cameras, 9)]
    return np.concatenate(numbers, axis=1).astype(np.float32)


def _calibration(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = _json_file(path)
    if not isinstance(found, dict) or not {"M", "K"} <= found.keys():
        raise InputProblem(f"{path}: expected M and K")
    pose, intrinsics = _array(path, found["M"], (-1, 4, 4)), _array(path, found["K"], (-1, 3, 3))
    if not len(pose):
        raise InputProblem(f"{path}: no camera")
    return pose, intrinsics


def _json_file(path: Path) -> Any:
    """A small JSON file.

    Raises:
        InputProblem: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise InputProblem(f"{path} cannot be read: {error}") from None


def _array(path: Path, values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.array(values, np.float64).reshape(shape)
    except (ValueError, TypeError):
        raise InputProblem(f"{path}: expected numbers of shape {shape}") from None
    return array
