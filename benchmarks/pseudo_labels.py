"""Hands of calibrated real videos with 3D joints triangulated from MediaPipe's 2D ones: pseudo-labels, not truth."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.sample import HandSample
from simhand_cli.metrics.alignment import procrustes
from simhand_cli.summary import Dropped

Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One hand in one picture: where the frame is, joints in the camera frame, lens."""

    video: Path
    frame: int
    joints_mm: Array
    intrinsics: Array
    distortion: Array
    hand: str
    name: str


class PseudoLabelled:
    """Views as a :class:`~simhand_cli.labelled.sample.LabelledSet`; pictures are undistorted, so that K is exact."""

    split = "test"

    def __init__(self, name: str, views: Sequence[View]) -> None:
        self.name = name
        self._views = list(views)

    def __len__(self) -> int:
        return len(self._views)

    @property
    def subjects(self) -> list[str]:
        """One person a set."""
        return [self.name] * len(self)

    @property
    def sequences(self) -> list[str]:
        """Single pictures."""
        return [view.name for view in self._views]

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """All joints (N, 21, 3), all of them labelled."""
        joints = np.stack([view.joints_mm for view in self._views]).astype(np.float32)
        return joints, np.ones(joints.shape[:2], bool)

    def problems(self) -> list[Dropped]:
        """None."""
        return []

    def __getitem__(self, index: int) -> HandSample:
        import cv2

        view = self._views[index]
        image = cv2.undistort(frames(view.video)[view.frame], view.intrinsics, view.distortion)
        homogeneous = view.joints_mm @ view.intrinsics.T
        return HandSample(
            image_rgb=np.asarray(image, np.uint8),
            intrinsics=view.intrinsics,
            joints_mm=view.joints_mm,
            joints_px=homogeneous[:, :2] / homogeneous[:, 2:],
            joint_valid=np.ones(21, bool),
            hand="right" if view.hand == "right" else "left",
            subject=self.name,
            sequence=view.name,
            camera=view.video.stem,
            sample_id=view.name,
        )


@lru_cache(maxsize=8)
def frames(video: Path) -> list[NDArray[np.uint8]]:
    """All frames of a short video."""
    import av

    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def chirality(joints_mm: Array, right_hand_mm: Array) -> str:
    """The side whose mean pose fits better without mirroring; joints (21, 3)."""
    error = {}
    for side, mirror in (("right", 1.0), ("left", -1.0)):
        hand = right_hand_mm[None] * [mirror, 1, 1]
        fitted = procrustes(hand, joints_mm[None], np.ones((1, 21), bool), with_scale=True)
        error[side] = float(np.linalg.norm(fitted.joints_mm[0] - joints_mm, axis=-1).mean())
    return min(error, key=lambda side: error[side])


def caliscope(folder: Path, right_hand_mm: Array) -> PseudoLabelled:
    """Hands before four calibrated cameras; metric."""
    labels = json.loads((folder / "triangulated_mediapipe.json").read_text())
    cameras = tomllib.loads((folder / "camera_array.toml").read_text())["cameras"]
    views = []
    for number, hand in enumerate(labels["hands"]):
        world_mm = 1000.0 * np.array(hand["xyz"], np.float64)
        side = chirality(world_mm, right_hand_mm)
        for seen in hand["obs"]:
            camera: dict[str, Any] = cameras[str(seen["cam"])]
            joints = world_mm @ np.array(camera["rotation"]).T + 1000.0 * np.array(camera["translation"])
            video = folder / "calibration" / "extrinsic" / f"cam_{seen['cam']}.mp4"
            lens = np.array(camera["matrix"]), np.array(camera["distortions"])
            views.append(View(video, int(seen["frame"]), joints, *lens, side, f"hand{number:03d}-cam{seen['cam']}"))
    return PseudoLabelled("caliscope", views)


def handpose3d(folder: Path, right_hand_mm: Array, every: int = 4) -> PseudoLabelled:
    """One hand before a stereo pair; the unit is unknown, so the palm is given the length of ``right_hand_mm``'s."""
    labels = json.loads((folder / "triangulated_mediapipe.json").read_text())["frames"][::every]
    world = np.array([frame["xyz"] for frame in labels], np.float64)
    palm = np.linalg.norm(right_hand_mm[9] - right_hand_mm[0])
    world *= palm / np.median(np.linalg.norm(world[:, 9] - world[:, 0], axis=1))
    unit = palm / np.median(
        [np.linalg.norm(np.array(f["xyz"])[9] - np.array(f["xyz"])[0]) for f in labels]
    )  # mm of one board square
    sides = [chirality(joints, right_hand_mm) for joints in world]
    side = max(set(sides), key=sides.count)
    views = []
    for number in (0, 1):
        parameters = folder / "camera_parameters"
        lens = _numbers(parameters / f"c{number}.dat")
        placed = _numbers(parameters / f"rot_trans_c{number}.dat")
        intrinsics, distortion = np.array(lens[:9]).reshape(3, 3), np.array(lens[9:14])
        turn, shift = np.array(placed[:9]).reshape(3, 3), np.array(placed[9:12]) * unit
        for frame, joints in zip(labels, world, strict=True):
            where = View(
                folder / f"cam{number}_test.mp4", int(frame["frame"]), joints @ turn.T + shift, intrinsics, distortion,
                side, f"frame{frame['frame']:04d}-cam{number}",
            )  # fmt: skip
            views.append(where)
    return PseudoLabelled("handpose3d", views)


def _numbers(path: Path) -> list[float]:
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            break
        found += [float(word) for word in line.replace(":", " ").split() if word.lstrip("-")[:1].isdigit()]
    return found
