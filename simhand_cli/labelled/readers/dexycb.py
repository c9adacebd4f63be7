"""Reader of DexYCB (Chao et al., CVPR 2021) in its published layout.

``20200709-subject-01/20200709_141754/836212060125/color_000000.jpg`` and ``labels_000000.npz`` beside it: ten people, a
hundred sequences each, eight cameras. ``meta.yml`` of a sequence names the hand, ``calibration/intrinsics`` holds the
cameras. Joints are in the camera's frame in metres; all -1 where no hand is in view: such frames are no samples. A
single joint of -1 has no label.

Splits are the official ones of the setups s0 (seen people, cameras, objects), s1 (unseen people), s2 (unseen cameras)
and s3 (unseen objects): ``s1-test``; ``train``, ``val`` and ``test`` alone are those of s0.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.images import read_rgb
from simhand_cli.labelled.files.label_files import label_rows
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.readers.dexycb_frames import SERIALS, SETUPS, list_frames, read_yaml
from simhand_cli.labelled.sample import HandSample, LeftOut, NoSuchSplit, left_out
from simhand_cli.summary import Dropped

_HALVES: Final = ("train", "val", "test")


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
        InputProblem: an unknown split; a person with some sequences only, in s0 or s3; a damaged ``meta.yml`` or
            calibration; or nearly all label files are damaged.
    """

    name = "dexycb"

    def __init__(self, path: Path, split: str = "train") -> None:
        setup, _, half = split.rpartition("-")
        setup = setup or "s0"
        if setup not in SETUPS or half not in _HALVES:
            raise NoSuchSplit(
                f"--data {path}: DexYCB has the splits train, val and test, also as s1-train, not {split!r}"
            )
        self.split = split
        self._path = path
        self.setup, self.half = setup, half
        listed = list_frames(path, setup, half)
        self.images_in_split = listed.images_in_split
        self._missing, self._partial = listed.missing, listed.partial
        frames = listed.frames()
        files = [path / frames.labels(row) for row in range(len(frames))]
        # 3D and 2D joints lie in the same file: one pass over up to 582,000 files gets both.
        labels, problems = label_rows(f"{self.name}-{split}", path, files, _read_labels, (21, 5))
        # A damaged file's row is NaN too, so the test below leaves it out together with frames without a hand.
        self._damaged = list(problems.values())
        # The 2D columns do not count: a hand with 3D joints may lack all of them.
        shown = np.flatnonzero(~np.isnan(labels[..., :3]).all(axis=(1, 2)))
        self._frames = frames.taken(shown)
        self._joints_mm, self._stated_px = labels[shown, :, :3], labels[shown, :, 3:]
        #: (8, 3, 3), NaN of cameras without pictures.
        self._intrinsics = np.full((len(SERIALS), 3, 3), np.nan)
        # Only cameras in use: a copy of some cameras need not hold the calibration of the others.
        for camera in np.unique(self._frames.serial):
            self._intrinsics[camera] = _read_intrinsics(path, SERIALS[camera])

    @property
    def image_numbers(self) -> NDArray[np.int64]:
        """(N,) the published image id of every sample: its place among all frames of the split.

        People, then their sequences, cameras and frames, each in ascending order; frames without a hand count
        (``DexYCBDataset`` of the toolkit). Only a whole copy has the published ids: see :meth:`partial`.
        """
        return self._frames.image_id.astype(np.int64)

    def partial(self) -> str:
        """Why this copy cannot have the published image ids, or nothing."""
        return "; ".join(self._partial)

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return [self._frames.recordings[k].subject for k in self._frames.recording.tolist()]

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample."""
        return [self._frames.recordings[k].name for k in self._frames.recording.tolist()]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        frames = self._frames
        recording, camera = frames.recording_of(index), int(frames.serial[index])
        joints_mm = self._joints_mm[index].astype(np.float64)
        intrinsics = self._intrinsics[camera]
        # Projected, not the published joint_2d, so that 2D and 3D agree; the checks compare those with K.
        projected = joints_mm @ intrinsics.T
        return HandSample(
            image_rgb=read_rgb(self._path / frames.image(index)),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=np.asarray(np.isfinite(joints_mm).all(axis=1)),
            hand=recording.hand,
            subject=recording.subject,
            sequence=recording.name,
            camera=SERIALS[camera],
            sample_id=f"{frames.place(index)}/{frames.number[index]:06d}",
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3), NaN where there is no label, and ``joint_valid`` (N, 21) of all samples."""
        return self._joints_mm, np.asarray(np.isfinite(self._joints_mm).all(axis=2))

    def details(self) -> LabelDetails:
        """Side, K, camera and the published 2D joints of all samples."""
        frames = self._frames
        right = np.array([recording.hand == "right" for recording in frames.recordings], bool)
        return LabelDetails(
            samples=np.arange(len(self)),
            right=right[frames.recording],
            intrinsics=self._intrinsics[frames.serial],
            cameras=[SERIALS[camera] for camera in frames.serial.tolist()],
            stated_px=self._stated_px,
        )

    def left_out(self) -> list[LeftOut]:
        """Frames named by ``meta.yml`` that are missing, damaged label files, and people who are not there whole."""
        why = f"not the whole person, so this is not the whole official {self.setup}-{self.half}"
        return [
            *left_out(f"pictures of {self._path}", "picture or label file is missing", self._missing),
            *left_out(f"label files of {self._path}", "cannot be read", self._damaged),
            *left_out(f"people of {self._path}", why, self._partial),
        ]

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self.left_out()]


def _read_labels(path: Path) -> NDArray[np.float32]:
    """Joints in mm and the published 2D ones (21, 3 + 2), NaN where absent; all NaN where no hand is in view."""
    try:
        with np.load(path, allow_pickle=False) as labels:
            # Stored with a leading axis of 1.
            joints = np.asarray(labels["joint_3d"], np.float64).reshape(21, 3)
            pixels = np.array(labels["joint_2d"], np.float32).reshape(21, 2) if "joint_2d" in labels else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputProblem(f"{path}: no readable joint_3d ({error})") from None
    # Compared before the unit changes: -1 stands for "no label", and is no place of a metre behind the camera.
    absent = (joints == -1).all(axis=1)
    if absent.all():
        return np.full((21, 5), np.nan, np.float32)
    stated = np.full((21, 2), np.nan, np.float32) if pixels is None else pixels
    stated[(stated == -1).all(axis=1)] = np.nan
    # NaN, so that no later sum can take -1 for a place.
    joints_mm = np.where(absent[:, None], np.nan, 1000.0 * joints)
    return np.concatenate([joints_mm, stated], axis=1).astype(np.float32)


def _read_intrinsics(path: Path, serial: str) -> NDArray[np.float64]:
    file = path / "calibration" / "intrinsics" / f"{serial}_640x480.yml"
    # The file holds the depth camera's lens too; pictures and labels are the colour camera's.
    content = read_yaml(file)
    try:
        fx, fy, cx, cy = (float(content["color"][name]) for name in ("fx", "fy", "ppx", "ppy"))
    except (KeyError, TypeError, ValueError):
        raise InputProblem(f"{file}: color with fx, fy, ppx, ppy is missing or damaged") from None
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
