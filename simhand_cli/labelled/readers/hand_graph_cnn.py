"""Reader of 256 px hand crops with camera-frame joints: ``labels.npz`` beside ``images/``.

A layout for the real-world test images of hand_graph_cnn (Ge et al., CVPR 2019): ``joints_cam_cm``
(N, 21, 3), ``cam_fx_fy_u0_v0`` (N, 4) of the full frame, ``bbox_xywh`` (N, 4) of the square that each crop
shows, ``frame`` (N) naming ``images/%05d.jpg``. One person; every hand is a left one (in all frames the
fingers curl to the side that is the palm of a left hand, and MediaPipe agrees on 98 of 102).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.images import picture_size, read_rgb
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import HandSample, LeftOut, NoSuchSplit, left_out
from simhand_cli.summary import Dropped

SUBJECT = "person-0"
_CROP_PX = 256
_ARRAYS = ("frame", "joints_cam_cm", "cam_fx_fy_u0_v0", "bbox_xywh")


class HandGraphCnn:
    """The set as a :class:`~simhand_cli.labelled.sample.LabelledSet`; it has a ``test`` split only."""

    name = "hand_graph_cnn"

    def __init__(self, path: Path, split: str = "test") -> None:
        if split != "test":
            raise NoSuchSplit(f"--data {path}: a set for testing, with the split 'test' only, not {split!r}")
        self.split = split
        self._images = path / "images"
        arrays = _read_arrays(path / "labels.npz")
        present = np.array([self._image_path(int(frame)).is_file() for frame in arrays["frame"]], dtype=bool)
        self._missing = [f"{int(frame):05d}.jpg" for frame in arrays["frame"][~present]]
        self._frame = arrays["frame"][present]
        # From centimetres.
        self._joints_mm = arrays["joints_cam_cm"][present].astype(np.float64) * 10.0
        self._camera = arrays["cam_fx_fy_u0_v0"][present].astype(np.float64)
        self._box = arrays["bbox_xywh"][present].astype(np.float64)

    def _image_path(self, frame: int) -> Path:
        return self._images / f"{frame:05d}.jpg"

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample (one person in all)."""
        return [SUBJECT] * len(self)

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample (one recording)."""
        return ["0"] * len(self)

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, index: int) -> HandSample:
        image = read_rgb(self._image_path(int(self._frame[index])))
        joints_mm = self._joints_mm[index]
        # The published K is the full frame's; crops may have been stored at another size than 256 px.
        intrinsics = _crop_intrinsics(self._camera[index], self._box[index], image.shape[1])
        projected = joints_mm @ intrinsics.T
        return HandSample(
            image_rgb=image,
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=np.ones(21, bool),
            # The set does not say which hand it is; see the head of this file.
            hand="left",
            subject=SUBJECT,
            sequence="0",
            camera="0",
            sample_id=f"{int(self._frame[index]):05d}",
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples: every joint has a label."""
        return self._joints_mm.astype(np.float32), np.ones(self._joints_mm.shape[:2], bool)

    def details(self) -> LabelDetails:
        """Side, K and camera of all samples; K depends on the crops' width, read from the pictures' headers."""
        widths = [_crop_width(self._image_path(int(frame))) for frame in self._frame]
        crops = zip(self._camera, self._box, widths, strict=True)
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.zeros(len(self), bool),
            intrinsics=np.stack([_crop_intrinsics(camera, box, width) for camera, box, width in crops]),
            cameras=["0"] * len(self),
        )

    def left_out(self) -> list[LeftOut]:
        """Labelled frames left out because their image is missing."""
        return left_out(f"images of {self._images}", "file is missing", self._missing)

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self.left_out()]


def _crop_width(path: Path) -> int:
    """A crop's width; the published one where the file is damaged, which is met when it is decoded."""
    try:
        return picture_size(path)[0]
    except InputProblem:
        return _CROP_PX


def _crop_intrinsics(camera: NDArray[np.float64], box_xywh: NDArray[np.float64], crop_px: int) -> NDArray[np.float64]:
    """K (3, 3) of the crop: the frame's, shifted by the box and scaled.

    The box covers whole pixels, so its left edge lies at ``x - 0.5`` in pixel-centre coordinates.
    """
    fx, fy, u0, v0 = camera
    scale = crop_px / box_xywh[2]
    cx = (u0 - box_xywh[0] + 0.5) * scale - 0.5
    cy = (v0 - box_xywh[1] + 0.5) * scale - 0.5
    return np.array([[fx * scale, 0.0, cx], [0.0, fy * scale, cy], [0.0, 0.0, 1.0]])


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
    except KeyError as error:
        raise InputProblem(f"{path}: {error.args[0]}") from None
    except (OSError, ValueError) as error:
        raise InputProblem(f"{path} cannot be read: {error}") from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputProblem(f"{path}: arrays of different lengths {lengths}")
    return arrays
