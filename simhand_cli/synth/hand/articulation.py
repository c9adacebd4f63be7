"""From joint angles to bone rotations, and the capsule test that keeps fingers out of each other."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.grasps import CUP, GRASP_NAMES, THUMB, WRIST, clamp, random_pose
from simhand_cli.synth.hand.hand_model import BONE_PARENTS, ShapedHand, bone_transforms
from simhand_cli.synth.hand.hand_model import JOINT_BONES as CARRIERS

Array = NDArray[np.float64]

#: Share of the palm's cupping taken by each metacarpal, index to little.
CUP_SHARE: Final = (-0.3, 0.0, 0.6, 1.0)

#: Capsules: (start joint, end joint, radius at start, radius at end) in mm for a hand of 96 mm wrist-to-knuckle length.
_FINGER_RADII = ((9.0, 8.0, 7.2, 6.0), (9.0, 8.2, 7.2, 6.0), (8.6, 7.6, 6.8, 5.8), (7.8, 6.6, 6.0, 5.2))
_THUMB_RADII = (12.0, 10.0, 9.0, 7.0)
REFERENCE_MM: Final = 96.4
#: Flesh is soft: capsules may overlap to this part of the sum of their radii before a pose counts as impossible.
TOUCH: Final = 0.78
TRIES: Final = 16


def rotations(axes: Array, degrees: Array) -> Array:
    """Rotations (N, 3, 3) about unit axes (N, 3) by angles (N,) in degrees (Rodrigues)."""
    angles = np.deg2rad(degrees)
    cross = np.zeros((len(axes), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axes[:, 2], axes[:, 1], -axes[:, 0]
    cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = axes[:, 2], -axes[:, 1], axes[:, 0]
    turned: Array = np.eye(3) + np.sin(angles)[:, None, None] * cross
    turned += (1 - np.cos(angles))[:, None, None] * (cross @ cross)
    return turned


def bone_rotations(hand: ShapedHand, pose: Array) -> Array:
    """Rotation (21, 3, 3) of every bone relative to its parent for a pose (24,) in degrees."""
    angles = [pose[WRIST]]
    for finger in range(4):
        flexion, abduction, middle, end = pose[4 * finger : 4 * finger + 4]
        angles.append(np.array([CUP_SHARE[finger] * pose[CUP], abduction, flexion, middle, end]))
    angles.append(pose[THUMB])
    single = rotations(hand.turning_axes, np.concatenate(angles))
    turns = np.repeat(np.eye(3)[None], len(BONE_PARENTS), axis=0)
    # The forearm (bone 0) stays where it is: the wrist bends the hand against it.
    turns[1] = single[0] @ single[1]
    for finger in range(4):
        cup, abduct, flex, bend, last = single[2 + 5 * finger : 7 + 5 * finger]
        bone = 9 + 3 * finger
        turns[2 + finger], turns[bone], turns[bone + 1], turns[bone + 2] = cup, abduct @ flex, bend, last
    # The thumb's saddle joint turns about three axes, in this order; its outer joints are hinges.
    oppose, adduct, twist, turns[7], turns[8] = single[22:27]
    turns[6] = oppose @ adduct @ twist
    return turns


def _capsule_table() -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Segments (C, 2) of joints, radii (C, 2), and the owner (0 thumb .. 4 little, 5 + k palm beam k)."""
    segments, radii, owner = [], [], []
    chains = {0: (1, _THUMB_RADII), **{f + 1: (5 + 4 * f, _FINGER_RADII[f]) for f in range(4)}}
    for who, (start, sizes) in chains.items():
        for k in range(3):
            segments.append((start + k, start + k + 1))
            radii.append((sizes[k], sizes[k + 1]))
            owner.append(who)
    for finger in range(4):
        segments.append((0, 5 + 4 * finger))
        # Beams from wrist to knuckles, thick enough that no gap between them lets a fingertip into the palm.
        radii.append((13.0, 9.5))
        owner.append(5 + finger)
    return np.array(segments), np.array(radii), np.array(owner)


_SEGMENTS, _RADII, _OWNER = _capsule_table()
#: Which capsules (C,) are fingers; the others are the thumb and the palm.
FINGER_CAPSULES: Final = (_OWNER >= 1) & (_OWNER < 5)


def _tested_pairs() -> NDArray[np.int64]:
    """Pairs of capsules that must not meet: different fingers; outer two phalanges against the palm."""
    pairs = []
    for i in range(len(_OWNER)):
        for j in range(i + 1, len(_OWNER)):
            a, b = int(_OWNER[i]), int(_OWNER[j])
            # The first phalanx starts in the palm's flesh, so only the outer two can be said to pass through it.
            outer = i % 3 >= 1
            fingers = a < 5 and b < 5 and a != b
            # Neighbouring first phalanges share the web of skin between the knuckles and always nearly touch.
            web = fingers and b - a == 1 and a > 0 and i % 3 == 0 and j % 3 == 0
            finger_palm = a < 5 <= b and outer and not (a == 0 and i % 3 == 1)
            if (fingers and not web and not (a == 0 and i % 3 == 0 and b == 1 and j % 3 == 0)) or finger_palm:
                pairs.append((i, j))
    return np.array(pairs)


_PAIRS = _tested_pairs()


def capsules(joints_mm: Array) -> tuple[Array, Array, Array]:
    """The flesh of a posed hand (21, 3) as capsules: starts (C, 3), ends (C, 3), radii at both (C, 2); mm."""
    size = float(np.linalg.norm(joints_mm[9] - joints_mm[0])) / REFERENCE_MM
    return joints_mm[_SEGMENTS[:, 0]], joints_mm[_SEGMENTS[:, 1]], size * _RADII


def overlap(joints_mm: Array) -> float:
    """Worst overlap of two hand capsules as a share of their radii: 0 touching or apart, 1 axes crossing.

    Args:
        joints_mm: (21, 3) posed joints, any frame.
    """
    start, end, radii = capsules(joints_mm)
    i, j = _PAIRS.T
    distance, s, t = segment_distance(start[i], end[i], start[j], end[j])
    # Radii at the two closest points.
    reach = radii[i, 0] * (1 - s) + radii[i, 1] * s + radii[j, 0] * (1 - t) + radii[j, 1] * t
    return float(np.max(1 - distance / reach, initial=0.0))


def segment_distance(p0: Array, p1: Array, q0: Array, q1: Array) -> tuple[Array, Array, Array]:
    """Smallest distance of segment pairs (N, 3) and where along each it is, in [0, 1] (Ericson 2005, §5.1.9)."""
    d1, d2, r = p1 - p0, q1 - q0, p0 - q0
    a, e, f = (d1 * d1).sum(1), (d2 * d2).sum(1), (d2 * r).sum(1)
    b, c = (d1 * d2).sum(1), (d1 * r).sum(1)
    denominator = a * e - b * b
    # Parallel segments have no single closest pair; starting at 0 and clamping twice finds one of them.
    s = np.where(denominator > 1e-9, np.clip((b * f - c * e) / np.maximum(denominator, 1e-9), 0, 1), 0.0)
    t = np.clip((b * s + f) / e, 0, 1)
    # Bounding t may have moved the nearest s, and that the nearest t.
    s = np.clip((b * t - c) / a, 0, 1)
    t = np.clip((b * s + f) / e, 0, 1)
    return np.linalg.norm(p0 + s[:, None] * d1 - q0 - t[:, None] * d2, axis=1), s, t


def posed_joints(hand: ShapedHand, pose: Array) -> Array:
    """The 21 joints (21, 3) of a pose, mm, hand frame; cheaper than skinning the surface."""
    turns, shifts = bone_transforms(hand.points_mm, bone_rotations(hand, pose))
    carriers = np.array(CARRIERS)
    joints: Array = np.einsum("jab,jb->ja", turns[carriers], hand.joints_mm) + shifts[carriers]
    return joints


def possible(hand: ShapedHand, pose: Array) -> bool:
    """Whether no two parts of the posed hand pass through each other."""
    return overlap(posed_joints(hand, pose)) <= 1 - TOUCH


def sample_pose(rng: np.random.Generator, hand: ShapedHand, grasps: Sequence[str] = GRASP_NAMES) -> tuple[Array, str]:
    """A random pose (24,) in degrees without interpenetration, and the name of its main grasp.

    Poses that fail the capsule test are drawn again about the same grasp, so that closed hands stay as frequent as open
    ones, each nearer to it; after :data:`TRIES` failures the last one is eased towards rest until it passes.
    """
    grasp = grasps[int(rng.integers(len(grasps)))]
    # The spread shrinks with every try, down to a quarter: the nearer to the plain grasp, the more poses are possible.
    for attempt in range(TRIES):
        pose = random_pose(rng, grasp, 1.0 - 0.8 * attempt / TRIES)
        if possible(hand, pose):
            return pose, grasp
    # Ends in any case: within a degree of rest a pose is taken as it is.
    while not possible(hand, pose) and np.abs(pose).max() > 1.0:
        pose = clamp(0.85 * pose)
    return pose, grasp
