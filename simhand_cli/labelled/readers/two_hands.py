"""Labelled pictures of up to two hands, whose joints are given in the world and seen by calibrated cameras.

AssemblyHands and InterHand2.6M are published so: 42 joints a frame, 0-20 of the right and 21-41 of the left hand, each
thumb, index, middle, ring and little finger from tip to palm, then the wrist. Every labelled hand of a picture is a
sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.files.images import read_rgb
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import HandSample, HandSide, LeftOut
from simhand_cli.summary import Dropped

#: Joints of two hands in one frame.
TWO_HANDS: Final = 42
#: Right hand first, as its joints are.
SIDES: Final[tuple[HandSide, HandSide]] = ("right", "left")
#: Of one published hand, the joint of every joint of ours (wrist first, each finger from palm to tip).
WRIST_FIRST: Final = np.array([20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16])
#: Samples whose float64 joints are in memory at a time: 8 MB of them.
_CHUNK: Final = 1 << 14


@dataclass(frozen=True)
class Scenes:
    """What pictures show: joints in the world, and how cameras see the world.

    Attributes:
        world_mm: (F, 42, 3) float32, the joints of every frame in the published order.
        frame_name: (F,) bytes, the published key of every frame within its recording (InterHand2.6M: capture).
        frame_recording: (F,) int32 positions of these in the ``texts`` of :class:`Hands`.
        camera_from_world: (E, 3, 4) float64, R and t in mm.
        intrinsics: (C, 3, 3) float64.
        shown: (F, 2) bool, right and left hands that some listed picture shows, left out on opening or not.
    """

    world_mm: NDArray[np.float32]
    frame_name: NDArray[np.bytes_]
    frame_recording: NDArray[np.int32]
    camera_from_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    shown: NDArray[np.bool_]


@dataclass(frozen=True)
class Views:
    """Which hand of which frame n samples show, and from where.

    Attributes:
        frame: (n,) positions in :meth:`TwoHandSet.frames`.
        side: (n,) 0 right, 1 left.
        camera_from_world: (n, 3, 4) float64, R and t in mm.
    """

    frame: NDArray[np.int64]
    side: NDArray[np.int64]
    camera_from_world: NDArray[np.float64]


@dataclass(frozen=True)
class Hands:
    """The labelled hands of a split, a row each; compact, since there are up to millions.

    Attributes:
        picture: (N,) int64 rows of the pictures.
        side: (N,) int8, 0 right, 1 left.
        valid: (N, 21) bool in the published order.
        file_name: (P,) bytes, names of the pictures within their folders.
        texts: folders, recordings, captures, cameras and people, each once.
        size_px: (P, 2) int32, width and height of the pictures as stated, 0 where they are not.
        folder, sequence, camera, subject: (P,) int32 positions in ``texts``.
        frame, pose, lens: (P,) int32 rows of the three arrays of :class:`Scenes`.
    """

    picture: NDArray[np.int64]
    side: NDArray[np.int8]
    valid: NDArray[np.bool_]
    file_name: NDArray[np.bytes_]
    texts: tuple[str, ...]
    size_px: NDArray[np.int32]
    folder: NDArray[np.int32]
    sequence: NDArray[np.int32]
    camera: NDArray[np.int32]
    subject: NDArray[np.int32]
    frame: NDArray[np.int32]
    pose: NDArray[np.int32]
    lens: NDArray[np.int32]


class TwoHandSet:
    """A set of such pictures as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    A sample's id is ``FILE_NAME,right`` or ``,left`` with the file name of the annotations, which in both sets names
    recording, camera and frame. Joints without a valid label are NaN.

    Args:
        name: of the set.
        split: that was opened.
        images: the folder that file names start from.
        hands: the samples.
        scenes: what they show.
        left_out: samples left out on opening.
    """

    def __init__(
        self, name: str, split: str, images: Path, hands: Hands, scenes: Scenes, left_out: list[LeftOut]
    ) -> None:
        self.name = name
        self.split = split
        self._images = images
        self._hands = hands
        self._scenes = scenes
        self._left_out = left_out

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return self._texts_of(self._hands.subject)

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample."""
        return self._texts_of(self._hands.sequence)

    def _texts_of(self, column: NDArray[np.int32]) -> list[str]:
        return [self._hands.texts[number] for number in column[self._hands.picture]]

    def __len__(self) -> int:
        return len(self._hands.picture)

    def __getitem__(self, index: int) -> HandSample:
        hands = self._hands
        picture = hands.picture[index]
        folder, sequence, camera, subject = (
            hands.texts[column[picture]] for column in (hands.folder, hands.sequence, hands.camera, hands.subject)
        )
        file_name = f"{folder}/{hands.file_name[picture].decode()}" if folder else hands.file_name[picture].decode()
        joints_mm = self._camera_joints(np.array([index]))[0]
        intrinsics = self._scenes.intrinsics[hands.lens[picture]]
        projected = joints_mm @ intrinsics.T
        side = SIDES[hands.side[index]]
        return HandSample(
            image_rgb=read_rgb(self._images / file_name),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=hands.valid[index][WRIST_FIRST],
            hand=side,
            subject=subject,
            sequence=sequence,
            camera=camera,
            sample_id=f"{file_name},{side}",
        )

    def _camera_joints(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Joints (n, 21, 3) of some samples in the camera's frame: R x + t, NaN where not labelled."""
        hands, scenes = self._hands, self._scenes
        picture = hands.picture[rows]
        # The left hand's joints follow the right one's 21.
        joint = 21 * hands.side[rows].astype(np.int64)[:, None] + WRIST_FIRST
        world_mm = scenes.world_mm[hands.frame[picture][:, None], joint].astype(np.float64)
        pose = scenes.camera_from_world[hands.pose[picture]]
        joints_mm = world_mm @ pose[:, :, :3].transpose(0, 2, 1) + pose[:, None, :, 3]
        # Coordinates without a valid flag were not seen; a place that nobody saw is no label.
        joints_mm[~hands.valid[rows][:, WRIST_FIRST]] = np.nan
        return np.asarray(joints_mm, np.float64)

    def frames(self) -> list[tuple[str, str]]:
        """Recording and frame, by their published keys, of all labelled frames, seen by a camera or not."""
        scenes = self._scenes
        places = zip(scenes.frame_recording.tolist(), scenes.frame_name.tolist(), strict=True)
        return [(self._hands.texts[recording], name.decode()) for recording, name in places]

    # Asked for by the challenge's file, which has an entry for every hand that is visible at all.
    def shown(self) -> NDArray[np.bool_]:
        """(F, 2) which right and left hands of :meth:`frames` some listed picture shows, left out on opening or not."""
        return self._scenes.shown

    def views(self, samples: NDArray[np.int64]) -> Views:
        """Frame, side and camera of some samples (n,)."""
        hands = self._hands
        picture = hands.picture[samples]
        return Views(
            frame=hands.frame[picture].astype(np.int64),
            side=hands.side[samples].astype(np.int64),
            camera_from_world=self._scenes.camera_from_world[hands.pose[picture]],
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3), NaN where there is no label, and ``joint_valid`` (N, 21)."""
        joints_mm = np.empty((len(self), 21, 3), np.float32)
        for start in range(0, len(self), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(self)))
            joints_mm[rows] = self._camera_joints(rows)
        return joints_mm, self._hands.valid[:, WRIST_FIRST]

    def details(self) -> LabelDetails:
        """Side, K, camera and stated picture size of every sample."""
        hands = self._hands
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.asarray(hands.side == 0),
            intrinsics=self._scenes.intrinsics[hands.lens[hands.picture]],
            cameras=self._texts_of(hands.camera),
            size_px=hands.size_px[hands.picture].astype(np.int64),
        )

    def left_out(self) -> list[LeftOut]:
        """Hands left out on opening, and why."""
        return self._left_out

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self._left_out]
