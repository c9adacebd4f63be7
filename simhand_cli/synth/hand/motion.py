"""A hand moving naturally from pose to pose: what one synthetic video shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.articulation import posed_joints, possible, sample_pose
from simhand_cli.synth.hand.grasps import GRASP_NAMES, GRASPS
from simhand_cli.synth.hand.hand_model import ShapedHand
from simhand_cli.synth.scene.camera import axis_turn

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """What a hand does over F frames.

    Attributes:
        poses: (F, 24) degrees. grasps: (F) the named grasp each is nearest to in time.
        turns: (F, 3, 3) rotations of the whole hand about the wrist. shifts_mm: (F, 3).
    """

    poses: Array
    grasps: tuple[str, ...]
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
    first: tuple[Array, str],
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
        first: (24,) the pose at the start, and its grasp.
        frames: length.
        fps: frames a second.
        left: mirrors the turning.
        grasps: to choose the poses from.
    """
    keys, names, times = [first[0]], [first[1]], [0.0]
    while times[-1] < frames / fps:
        pose, name = sample_pose(rng, hand, grasps)
        if not _free_way(hand, keys[-1], pose):
            # Halfway between both poses and the open hand: fingers clear each other without a gesture of its own.
            keys.append(0.25 * (keys[-1] + pose) + 0.5 * GRASPS["open"])
            names.append("open")
            times.append(times[-1] + float(rng.uniform(0.4, 0.8)))
        keys.append(pose)
        names.append(name)
        times.append(times[-1] + float(rng.uniform(0.7, 1.5)))
    now = np.arange(frames) / fps
    # The right-hand side, so that a frame exactly at a key pose starts the next segment.
    segment = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(keys) - 2)
    start, end = np.array(times)[segment], np.array(times)[segment + 1]
    share = smoothstep((now - start) / (end - start))[:, None]
    poses = np.array(keys)[segment] * (1 - share) + np.array(keys)[segment + 1] * share
    nearest = segment + (share[:, 0] > 0.5)
    return Motion(poses, tuple(names[k] for k in nearest), *_drift(rng, now, left))


def held_motion(rng: np.random.Generator, pose: Array, grasp: str, frames: int, fps: float, left: bool) -> Motion:
    """A sequence in which the fingers keep their pose (24,), as about a thing; only the whole hand turns and drifts."""
    poses = np.repeat(pose[None], frames, axis=0)
    return Motion(poses, (grasp,) * frames, *_drift(rng, np.arange(frames) / fps, left))


def still_motion(pose: Array, grasp: str) -> Motion:
    """A single frame in the rig frame's own place."""
    return Motion(pose[None], (grasp,), np.eye(3)[None], np.zeros((1, 3)))


def _drift(rng: np.random.Generator, now: Array, left: bool) -> tuple[Array, Array]:
    # Degrees about each axis: most about the forearm's, as a hand at rest turns by pronation.
    swing = np.stack([_wander(rng, now, spread) for spread in (14.0, 22.0, 14.0)], axis=1)
    turns = np.stack([axis_turn(2, c) @ axis_turn(0, a) @ axis_turn(1, b * (-1 if left else 1)) for a, b, c in swing])
    shifts = np.stack([_wander(rng, now, 10.0) for _ in range(3)], axis=1)
    return turns, shifts


def _free_way(hand: ShapedHand, start: Array, end: Array) -> bool:
    # The ends are known to be possible, so five times between them do; easing changes when, not where.
    return all(possible(hand, start * (1 - t) + end * t) for t in (0.2, 0.35, 0.5, 0.65, 0.8))


def _wander(rng: np.random.Generator, now: Array, spread: float) -> Array:
    """A slow random curve (F,): three sines of periods 2.5 to 9 s, standard deviation about ``spread``."""
    total = np.zeros(len(now))
    for _ in range(3):
        period, phase = rng.uniform(2.5, 9.0), rng.uniform(0, 2 * np.pi)
        total += rng.normal(0, 1) * np.sin(2 * np.pi * now / period + phase)
    return spread * total / 1.7


def frames_to_watch(motion: Motion, fps: float, seconds: float = 0.2) -> list[int]:
    """Frames so close together in time that a hand does not get far between them, with the last one."""
    step, count = max(int(seconds * fps), 1), len(motion.poses)
    return sorted({*range(0, count, step), count - 1})


def rest_joints(hand: ShapedHand, motion: Motion, frame: int, left: bool) -> Array:
    """Joints (21, 3) of a frame before the whole hand is moved, rig frame."""
    return posed_joints(hand, motion.poses[frame]) * (np.array([-1.0, 1.0, 1.0]) if left else 1.0)


def all_joints(hand: ShapedHand, motion: Motion, left: bool, fps: float) -> Array:
    """Joints of all frames to watch, stacked (., 3): what the camera must keep in view."""
    watched = frames_to_watch(motion, fps)
    return np.concatenate([motion.carry(f, rest_joints(hand, motion, f, left)) for f in watched])
