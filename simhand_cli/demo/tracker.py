"""From frames to hands that keep their identity: MediaPipe finds them, the model poses them, boxes follow."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.geometry import Affine, apply_affine, square_around, square_crop, warp_crop
from simhand_cli.demo.smoothing import OneEuroFilter
from simhand_cli.skeleton import WRIST
from simhand_cli.video.decode import Frame

Side = Literal["left", "right"]

#: A hand found within this part of a track's side from its centre continues that track.
_SAME_HAND = 0.6
#: Two detections of one picture nearer than this part of their side are one hand seen twice.
_DOUBLE = 0.2
#: Between detections a box may grow or shrink by this factor a frame; a failed prediction cannot run away with it.
_BOX_CHANGE = 1.15
#: Length that 3D speed is measured in, mm: about wrist to middle fingertip.
_HAND_MM = 180.0


class Found(Protocol):
    """A detected hand, as the MediaPipe adapter gives it."""

    @property
    def landmarks_px(self) -> NDArray[np.float64]:
        """(21, 2) in the frame."""

    @property
    def world_mm(self) -> NDArray[np.float64]:
        """(21, 3) metric."""

    @property
    def handedness(self) -> str:
        """Of the real hand."""

    @property
    def score(self) -> float:
        """In [0, 1]."""


class Finder(Protocol):
    """What finds hands in a frame."""

    def detect(self, image_rgb: NDArray[np.uint8], timestamp_s: float | None = None) -> Sequence[Found]:
        """Hands in an upright frame."""


class Poser(Protocol):
    """What turns crops of right hands into poses (``demo.models.FinetunedPoser``)."""

    @property
    def input_px(self) -> int:
        """Side of its crops."""

    @property
    def crop_scale(self) -> float:
        """Side of the crop in larger extents of the 2D joints."""

    def poses(self, crops_rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B, 21, 2) joints in the crop and (B, 21, 3) wrist-relative mm."""


@dataclass
class TrackedHand:
    """One hand of the current frame.

    Attributes:
        track: number that stays with the hand.
        side: of the real hand.
        joints_px: (21, 2) in the frame, smoothed if wanted.
        joints_mm: (21, 3) relative to the wrist, camera axes (a left hand is a left hand).
        score: of the detection it goes back to.
    """

    track: int
    side: Side
    joints_px: NDArray[np.float64]
    joints_mm: NDArray[np.float64]
    score: float


@dataclass
class _Track:
    number: int
    center_px: NDArray[np.float64]
    side_px: float
    score: float
    right_votes: float = 0.0
    last_found: Found | None = None
    #: Box of the last detection against that of the prediction in the same frame: offset of the centre, ratio of sides.
    found_as: tuple[NDArray[np.float64], float] | None = None
    filter_px: OneEuroFilter = field(default_factory=OneEuroFilter)
    filter_mm: OneEuroFilter = field(default_factory=OneEuroFilter)

    @property
    def side(self) -> Side:
        return "right" if self.right_votes >= 0 else "left"


class Stages:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the block's duration to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class HandTracker:
    """Follows hands through frames.

    Args:
        finder: finds hands.
        poser: poses them; None shows the finder's own landmarks.
        detect_every: frames from one detection to the next while hands are followed by their own predictions; without
            a poser every frame is a detection.
        smooth: apply the one-euro filter.
        stages: where time is booked.
    """

    def __init__(
        self, finder: Finder, poser: Poser | None, *, detect_every: int, smooth: bool, stages: Stages | None = None
    ) -> None:
        self._finder = finder
        self._poser = poser
        # Without a model of our own there is nothing to follow a box with between detections.
        self._detect_every = detect_every if poser is not None else 1
        self._smooth = smooth
        self._stages = stages or Stages()
        self._tracks: list[_Track] = []
        self._since_detection = 0
        self._next_number = 0

    def update(self, frame: Frame) -> list[TrackedHand]:
        """Hands of the next frame, in the order of their tracks."""
        # With nobody in sight every frame is searched, or a hand coming in would show up late.
        if not self._tracks or self._since_detection + 1 >= self._detect_every:
            with self._stages.time("detect"):
                found = self._finder.detect(frame.image_rgb, frame.timestamp_s)
            self._tracks = self._associate(_without_doubles(found))
            self._since_detection = 0
        else:
            self._since_detection += 1
        if not self._tracks:
            return []
        if self._poser is None:
            poses = [_own_pose(track) for track in self._tracks]
        else:
            with self._stages.time("model"):
                poses = self._pose(frame.image_rgb, self._poser)
        hands = []
        for track, (joints_px, joints_mm) in zip(self._tracks, poses, strict=True):
            if np.isfinite(joints_px).all() and np.isfinite(joints_mm).all():
                hands.append(self._finish(track, joints_px, joints_mm, frame.timestamp_s))
            else:
                # Nothing to show and nothing to follow: look for hands again in the next frame.
                self._since_detection = self._detect_every
        return hands

    def forget(self) -> None:
        """End all tracks: the next frame has nothing to do with the last one."""
        self._tracks = []

    def _associate(self, found: Sequence[Found]) -> list[_Track]:
        """Tracks of a detection: the nearest old ones go on, unmatched old ones end."""
        scale = self._poser.crop_scale if self._poser is not None else 1.0
        old = list(self._tracks)
        tracks: list[_Track] = []
        for hand in found:
            center, side = square_around(hand.landmarks_px, scale)
            # By place alone: handedness can be wrong in single frames, and a side that flips must not end a track.
            near = [t for t in old if np.linalg.norm(t.center_px - center) < _SAME_HAND * max(t.side_px, side)]
            track = min(near, key=lambda t: float(np.linalg.norm(t.center_px - center)), default=None)
            if track is None:
                track = _Track(self._next_number, center, side, hand.score)
                self._next_number += 1
            else:
                # Each track goes to one hand only; found hands come best first, so the surest one chooses.
                old.remove(track)
            track.center_px, track.side_px, track.score, track.last_found = center, side, hand.score, hand
            # A new detection is a new reference for the box; the next prediction sets it.
            track.found_as = None
            vote = hand.score if hand.handedness == "right" else -hand.score
            # Old votes fade, so that a wrong start is corrected within a second or so.
            track.right_votes = 0.9 * track.right_votes + vote
            tracks.append(track)
        return sorted(tracks, key=lambda t: t.number)

    def _pose(
        self, image_rgb: NDArray[np.uint8], poser: Poser
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        maps: list[Affine] = [
            square_crop(t.center_px, t.side_px, poser.input_px, mirrored=t.side == "left") for t in self._tracks
        ]
        crops = np.stack([warp_crop(image_rgb, one, poser.input_px) for one in maps])
        joints_crop, joints_mm = poser.poses(crops)
        poses = []
        for track, frame_from_crop, points, relative in zip(self._tracks, maps, joints_crop, joints_mm, strict=True):
            joints_px = apply_affine(frame_from_crop, points)
            if np.isfinite(joints_px).all():
                self._follow(track, joints_px, poser.crop_scale)
            # The model saw a mirror image of a left hand: its 3D is turned back, the 2D was by the crop's map.
            poses.append((joints_px, relative * [-1.0, 1.0, 1.0] if track.side == "left" else relative))
        return poses

    def _follow(self, track: _Track, joints_px: NDArray[np.float64], crop_scale: float) -> None:
        """Move the track's box along with its predictions, for the next frame.

        What is followed is how they have changed since the hand was found, not where they are: a model that draws
        hands too small would otherwise be shown a smaller crop every time, until the box has shrunk to nothing.
        """
        center, side = square_around(joints_px, crop_scale)
        if track.found_as is None:
            track.found_as = track.center_px - center, track.side_px / max(side, 1e-6)
        offset, ratio = track.found_as
        center, side = center + offset, side * ratio
        # A quarter of the box: hands get less far in a frame, a wild prediction would throw it further.
        reach = 0.25 * track.side_px
        track.center_px = track.center_px + np.clip(center - track.center_px, -reach, reach)
        track.side_px = float(np.clip(side, track.side_px / _BOX_CHANGE, track.side_px * _BOX_CHANGE))

    def _finish(
        self, track: _Track, joints_px: NDArray[np.float64], joints_mm: NDArray[np.float64], time_s: float
    ) -> TrackedHand:
        if self._smooth:
            joints_px = track.filter_px(joints_px, time_s, track.side_px)
            joints_mm = track.filter_mm(joints_mm, time_s, _HAND_MM)
        return TrackedHand(track.number, track.side, joints_px, joints_mm, track.score)


def _own_pose(track: _Track) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The finder's own landmarks."""
    assert track.last_found is not None
    world = track.last_found.world_mm
    return track.last_found.landmarks_px, world - world[WRIST]


def _without_doubles(found: Sequence[Found]) -> list[Found]:
    """Detections, best first, without a second one of the same hand."""
    kept: list[Found] = []
    for hand in sorted(found, key=lambda h: -h.score):
        _, side = square_around(hand.landmarks_px, 1.0)
        # Joint by joint, not by boxes: folded hands share a box without being one hand.
        distances = (float(np.linalg.norm(hand.landmarks_px - k.landmarks_px, axis=1).mean()) for k in kept)
        if all(distance > _DOUBLE * side for distance in distances):
            kept.append(hand)
    return kept
