"""A hand moving naturally from pose to pose: what one synthetic video shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.articulation import posed_joints, possible, sample_pose
from simhand_cli.synth.camera import axis_turn
from simhand_cli.synth.grasps import GRASP_NAMES, GRASPS
from simhand_cli.synth.hand_model import ShapedHand

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """Poses (F, 24) in degrees, rotations (F, 3, 3) of the whole hand about the wrist, and shifts (F, 3) in mm."""

    poses: Array
    turns: Array
    shifts_mm: Array

    def carry(self, frame: int, points_mm: Array) -> Array:
        """Points (N, 3) of the hand frame, moved as the whole hand moves in one frame."""
        carried: Array = np.einsum("ij,kj->ik", points_mm, self.turns[frame]) + self.shifts_mm[frame]
        return carried


def smoothstep(t: Array) -> Array:
    """Ease from 0 to 1 with no speed at both ends."""
    eased: Array = t * t * (3 - 2 * t)
    return eased


def random_motion(
    rng: np.random.Generator,
    hand: ShapedHand,
    first: Array,
    frames: int,
    fps: float,
    left: bool,
    grasps: Sequence[str] = GRASP_NAMES,
) -> Motion:
    """A sequence of ``frames``: key poses 0.7-1.5 s apart, joined by smooth steps, with slow turning and drift.

    Between two key poses no finger passes through another: where the straight way would, it goes over the open hand.

    Args:
        rng: source of chance.
        hand: whose pose it is.
        first: (24,) the pose at the start.
        frames: length.
        fps: frames a second.
        left: mirrors the turning.
        grasps: to choose the poses from.
    """
    keys, times = [first], [0.0]
    while times[-1] < frames / fps:
        pose = sample_pose(rng, hand, grasps)[0]
        if not _free_way(hand, keys[-1], pose):
            keys.append(0.25 * (keys[-1] + pose) + 0.5 * GRASPS["open"])
            times.append(times[-1] + float(rng.uniform(0.4, 0.8)))
        keys.append(pose)
        times.append(times[-1] + float(rng.uniform(0.7, 1.5)))
    now = np.arange(frames) / fps
    segment = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(keys) - 2)
    start, end = np.array(times)[segment], np.array(times)[segment + 1]
    share = smoothstep((now - start) / (end - start))[:, None]
    poses = np.array(keys)[segment] * (1 - share) + np.array(keys)[segment + 1] * share
    return Motion(poses, *_drift(rng, now, left))


def held_motion(rng: np.random.Generator, pose: Array, frames: int, fps: float, left: bool) -> Motion:
    """A sequence in which the fingers keep their pose (24,), as about a thing; only the whole hand turns and drifts."""
    return Motion(np.repeat(pose[None], frames, axis=0), *_drift(rng, np.arange(frames) / fps, left))


def still_motion(pose: Array) -> Motion:
    """A single frame in the rig frame's own place."""
    return Motion(pose[None], np.eye(3)[None], np.zeros((1, 3)))


def _drift(rng: np.random.Generator, now: Array, left: bool) -> tuple[Array, Array]:
    swing = np.stack([_wander(rng, now, spread) for spread in (14.0, 22.0, 14.0)], axis=1)
    turns = np.stack([axis_turn(2, c) @ axis_turn(0, a) @ axis_turn(1, b * (-1 if left else 1)) for a, b, c in swing])
    shifts = np.stack([_wander(rng, now, 10.0) for _ in range(3)], axis=1)
    return turns, shifts


def _free_way(hand: ShapedHand, start: Array, end: Array) -> bool:
    return all(possible(hand, start * (1 - t) + end * t) for t in (0.2, 0.35, 0.5, 0.65, 0.8))


def _wander(rng: np.random.Generator, now: Array, spread: float) -> Array:
    """A slow random curve (F,): three sines of periods 2.5 to 9 s, standard deviation about ``spread``."""
    total = np.zeros(len(now))
    for _ in range(3):
        period, phase = rng.uniform(2.5, 9.0), rng.uniform(0, 2 * np.pi)
        total += rng.normal(0, 1) * np.sin(2 * np.pi * now / period + phase)
    return spread * total / 1.7


def all_joints(hand: ShapedHand, motion: Motion, left: bool, every: int = 3) -> Array:
    """Joints of every few frames, stacked (., 3): what the camera must keep in view."""
    mirror = np.array([-1.0, 1.0, 1.0]) if left else np.ones(3)
    return np.concatenate(
        [motion.carry(f, posed_joints(hand, motion.poses[f]) * mirror) for f in range(0, len(motion.poses), every)]
    )
