"""Reader of HanCo (Zimmermann, Argus, Brox, GCPR 2021) in its published layout.

``rgb/0000/cam0/00000000.jpg`` and so on: short sequences before eight calibrated cameras. ``xyz/0000/00000000.json``
holds 21 joints in the world frame in metres, ``calib`` of the same name ``M`` (8 x 4 x 4, world to camera) and ``K``
(8 x 3 x 3), ``meta.json`` who is seen and which sequences were filmed before the green screen: those are the ``train``
split, with masks and further folders of the same pictures before other backgrounds; the others are ``test``. All hands
are right hands. Labels are read picture by picture.
"""

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.details import LabelDetails
from simhand_cli.labelled.images import read_mask, read_rgb
from simhand_cli.labelled.sample import HandSample, NoSuchSplit
from simhand_cli.summary import Dropped

#: Folders of the same pictures before different backgrounds, in the order in which they are read.
VARIANTS = ("rgb", "rgb_merged", "rgb_color_auto", "rgb_color_sample", "rgb_homo")
_META = ("is_train", "subject_id", "is_valid")


class HanCo:
    """HanCo as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    Args:
        path: the folder with ``rgb``, ``xyz``, ``calib`` and ``meta.json``.
        split: ``train`` (green screen and its variants) or ``test``.

    Raises:
        InputProblem: an unknown split, or ``meta.json`` is missing or damaged.
    """

    name = "hanco"

    def __init__(self, path: Path, split: str = "train") -> None:
        if split not in ("train", "test"):
            raise NoSuchSplit(f"--data {path}: HanCo has the splits 'train' and 'test', not {split!r}")
        self.split = split
        self._path = path
        meta = _read_meta(path / "meta.json")
        self._variants = [v for v in (VARIANTS if split == "train" else VARIANTS[:1]) if (path / v).is_dir()]
        if not self._variants:
            raise InputProblem(f"--data {path}: no folder rgb")
        self._subject: dict[int, str] = {}
        rows, missing = [], []
        for sid, valid in enumerate(meta["is_valid"]):
            frames = [f for f, ok in enumerate(valid) if ok and meta["is_train"][sid][f] == (split == "train")]
            if not frames:
                continue
            self._subject[sid] = f"subject{meta['subject_id'][sid][frames[0]]}"
            found, absent = self._list(sid, frames)
            rows += found
            missing += absent
        #: (N, 4): sequence, frame, camera, variant.
        self._rows = np.array(rows, np.int32).reshape(-1, 4)
        self._missing = missing

    def _list(self, sid: int, frames: list[int]) -> tuple[list[tuple[int, int, int, int]], list[str]]:
        """Rows of the pictures that are there, and names of those that should be: one listing a folder."""
        labelled = _names(self._path / "xyz" / f"{sid:04d}") & _names(self._path / "calib" / f"{sid:04d}")
        rows, missing = [], []
        for v, variant in enumerate(self._variants):
            folder = self._path / variant / f"{sid:04d}"
            for camera in sorted(int(name[3:]) for name in _names(folder) if name[3:].isdigit()):
                present = _names(folder / f"cam{camera}")
                for frame in frames:
                    if f"{frame:08d}.jpg" in present and f"{frame:08d}.json" in labelled:
                        rows.append((sid, frame, camera, v))
                    else:
                        missing.append(f"{variant}/{sid:04d}/cam{camera}/{frame:08d}.jpg")
        return rows, missing

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return [self._subject[int(sid)] for sid in self._rows[:, 0]]

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample."""
        return [f"{int(sid):04d}" for sid in self._rows[:, 0]]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandSample:
        sid, frame, camera, v = (int(n) for n in self._rows[index])
        place = f"{sid:04d}/cam{camera}/{frame:08d}.jpg"
        joints_mm, intrinsics = self._labels(sid, frame, camera)
        projected = joints_mm @ intrinsics.T
        mask = self._path / "mask_hand" / place
        return HandSample(
            image_rgb=read_rgb(self._path / self._variants[v] / place),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=np.asarray(np.isfinite(joints_mm).all(axis=1)),
            hand="right",
            subject=self._subject[sid],
            sequence=f"{sid:04d}",
            camera=f"cam{camera}",
            sample_id=f"{self._variants[v]}/{place.removesuffix('.jpg')}",
            mask=read_mask(mask) if mask.is_file() else None,
        )

    def _labels(self, sid: int, frame: int, camera: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Joints (21, 3) in the camera's frame, mm, and K."""
        name = f"{sid:04d}/{frame:08d}.json"
        world_m = _joints(self._path / "xyz" / name)
        m, intrinsics = self._camera(name, camera)
        return 1000.0 * (world_m @ m[:3, :3].T + m[:3, 3]), intrinsics

    def _camera(self, name: str, camera: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World to camera (4, 4), metres, and K."""
        to_camera, intrinsics = _calibration(self._path / "calib" / name)
        if camera >= len(to_camera):
            raise InputProblem(f"{self._path / 'calib' / name} has {len(to_camera)} cameras, none of number {camera}")
        return to_camera[camera], intrinsics[camera]

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples; label files are read once each."""
        joints = np.full((len(self), 21, 3), np.nan, np.float32)
        for row in self._file_order():
            sid, frame, camera, _ = (int(n) for n in self._rows[row])
            joints[row] = self._labels(sid, frame, camera)[0]
        return joints, np.asarray(np.isfinite(joints).all(axis=2))

    def _file_order(self) -> NDArray[np.int64]:
        """Rows in an order that meets each label file once: neighbours may differ in the camera or variant only."""
        return np.lexsort(self._rows.T[::-1])

    def details(self) -> LabelDetails:
        """Side, K and camera of all samples; calibration files are read once each."""
        intrinsics = np.empty((len(self), 3, 3))
        for row in self._file_order():
            sid, frame, camera, _ = (int(n) for n in self._rows[row])
            intrinsics[row] = self._camera(f"{sid:04d}/{frame:08d}.json", camera)[1]
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.ones(len(self), bool),
            intrinsics=intrinsics,
            cameras=[f"cam{int(camera)}" for camera in self._rows[:, 2]],
        )

    def problems(self) -> list[Dropped]:
        """Pictures named by ``meta.json`` that are missing, or have no labels."""
        if not self._missing:
            return []
        what = f"pictures of {self._path}, first: {self._missing[0]}"
        return [Dropped(what, len(self._missing), "picture or label file is missing")]


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:
        return set()


def _read_meta(path: Path) -> dict[str, list[list[Any]]]:
    try:
        meta = json.loads(path.read_text())
        lengths = {name: [len(row) for row in meta[name]] for name in _META}
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputProblem(f"{path} cannot be read: {error!r}") from None
    if any(lengths[name] != lengths["is_valid"] for name in _META):
        raise InputProblem(f"{path}: its lists have different lengths")
    return {name: meta[name] for name in _META}


@lru_cache(maxsize=64)
def _joints(path: Path) -> NDArray[np.float64]:
    return _array(path, json_file(path), (21, 3))


@lru_cache(maxsize=64)
def _calibration(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = json_file(path)
    if not isinstance(found, dict) or not {"M", "K"} <= found.keys():
        raise InputProblem(f"{path}: expected M and K")
    return _array(path, found["M"], (-1, 4, 4)), _array(path, found["K"], (-1, 3, 3))


def json_file(path: Path) -> Any:
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
