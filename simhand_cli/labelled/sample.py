"""HandSample: one labelled hand; and what every reader of a labelled set offers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped


def choose_samples(usable: NDArray[np.int64], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Sorted positions of the samples to evaluate: all usable ones, or a seeded random choice of ``limit``."""
    if limit is None or limit >= len(usable):
        return usable
    # Sorted, so that files are read in their order on disk; which are chosen does not depend on it.
    return np.sort(np.random.default_rng(seed).choice(usable, size=limit, replace=False))


HandSide = Literal["right", "left"]

#: The subject of samples whose set does not say who the person is.
UNKNOWN_SUBJECT = "unknown"


#: K of pictures whose camera is not known.
UNKNOWN_INTRINSICS: Final = np.full((3, 3), np.nan)


class NoSuchSplit(InputProblem):
    """The set has no such split, or nothing of it has been downloaded."""


@dataclass(frozen=True, slots=True)
class HandSample:
    """One image of one hand with its joints, in 3D where they are known there.

    Pixel coordinates are pixel centres (see ``crops/geometry.py``); the camera frame has x right, y down
    and z forward. Joint order: wrist, then thumb, index, middle, ring, little, each from palm to tip.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        intrinsics: (3, 3) float64, maps ``joints_mm`` to ``joints_px`` up to the annotation's own error; NaN where the
            camera is not known.
        joints_mm: (21, 3) float64 in the camera frame, millimetres; NaN where only the 2D joint is known.
        joints_px: (21, 2) float64 in the image.
        joint_valid: (21,) bool, False where a joint carries no label, not even in 2D.
        hand: which hand it is.
        subject: the person, unique within the set; validation splits keep a person's samples together.
        sequence: the recording.
        camera: the camera.
        sample_id: unique within the set, for reports and leaderboard files.
        vertices_mm: (V, 3) mesh in the camera frame, where the set has one.
        mano: the set's MANO parameter vector, where it has one.
        mask: (H, W) bool, the hand's pixels, where the set has them.
    """

    image_rgb: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    joints_mm: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    joint_valid: NDArray[np.bool_]
    hand: HandSide
    subject: str
    sequence: str
    camera: str
    sample_id: str
    vertices_mm: NDArray[np.float64] | None = None
    mano: NDArray[np.float64] | None = None
    mask: NDArray[np.bool_] | None = None

    def as_right(self) -> "HandSample":
        """This sample as a right hand: a left one is mirrored left to right, a right one returned as it is.

        Image, mask, 2D and 3D joints, vertices and K are mirrored together, so that K still projects the
        joints onto the image. MANO parameters of a left hand belong to another model and are left out.
        """
        if self.hand == "right":
            return self
        # Pixel centres run from 0 to width - 1, so that mirroring maps 0 to width - 1 and not to width.
        last = self.image_rgb.shape[1] - 1
        flip_3d = np.array([-1.0, 1.0, 1.0])
        joints_px = self.joints_px.copy()
        joints_px[:, 0] = last - joints_px[:, 0]
        intrinsics = self.intrinsics.copy()
        # The skew turns round with x; the focal length stays positive because the joints' x is negated instead.
        intrinsics[0, 1] *= -1.0
        intrinsics[0, 2] = last - intrinsics[0, 2]
        return replace(
            self,
            image_rgb=np.ascontiguousarray(self.image_rgb[:, ::-1]),
            intrinsics=intrinsics,
            joints_mm=self.joints_mm * flip_3d,
            joints_px=joints_px,
            hand="right",
            vertices_mm=None if self.vertices_mm is None else self.vertices_mm * flip_3d,
            # Left and right hands are two MANO models; mirrored parameters would be wrong silently.
            mano=None,
            mask=None if self.mask is None else np.ascontiguousarray(self.mask[:, ::-1]),
        )


@runtime_checkable
class LabelledSet(Protocol):
    """What every reader of a labelled set offers; a set can be pickled and read from several processes."""

    @property
    def name(self) -> str:
        """The set's name, for reports (``freihand``, ``synth``, ...)."""

    @property
    def split(self) -> str:
        """The split that was opened."""

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample, in sample order."""

    @property
    def sequences(self) -> Sequence[str]:
        """The recording (or pose, where a set has no recordings) of every sample, in sample order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> HandSample:
        """Sample ``index``; raises InputProblem naming the file if it cannot be read."""

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples, no image decoded."""

    def problems(self) -> Sequence[Dropped]:
        """Samples left out on opening because a file of theirs is missing, and why."""


@runtime_checkable
class LabelledSet2D(Protocol):
    """A labelled set of 2D joints alone: all of its ``joints_mm`` and K are NaN, ``joint_valid`` is that of the pixels.

    A labelled set is 2D only if it offers this; of it nothing is asked that needs depth, a unit of length or a camera.
    """

    def joints_px(self) -> NDArray[np.float32]:
        """The 2D joints (N, 21, 2) of all samples in their pictures, no image decoded; NaN where there is no label."""


def require_3d(labelled: LabelledSet, path: Path, purpose: str) -> None:
    """Refuse a set of 2D labels where 3D ones are needed.

    Args:
        labelled: the set.
        path: where it lies, for the message.
        purpose: what needs them, a clause without full stop.

    Raises:
        InputProblem: the set is 2D only.
    """
    if isinstance(labelled, LabelledSet2D):
        raise InputProblem(f"--data {path}: its labels are 2D only, and {purpose}")


@dataclass(frozen=True)
class LeftOut:
    """Samples, or the files or folders that hold them, left out for one reason.

    Attributes:
        what: the things, plural ("pictures of FOLDER").
        why: the reason, in a few words.
        names: all of them; at least one.
        count: how many are left out; a folder counts for everything in it.
    """

    what: str
    why: str
    names: Sequence[str]
    count: int

    def dropped(self) -> Dropped:
        """The same with the first name only."""
        return Dropped(f"{self.what}, first: {self.names[0]}", self.count, self.why)


@runtime_checkable
class NamingSet(Protocol):
    """A labelled set whose reader names everything it left out."""

    def left_out(self) -> Sequence[LeftOut]:
        """What :meth:`~simhand_cli.labelled.sample.LabelledSet.problems` counts, with all names."""


def left_out(what: str, why: str, names: Sequence[str], count: int | None = None) -> list[LeftOut]:
    """One entry, or none where nothing is named; each name counts for one unless a count is given."""
    return [LeftOut(what, why, names, len(names) if count is None else count)] if names else []
