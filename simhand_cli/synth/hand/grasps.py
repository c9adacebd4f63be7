"""Hand poses as joint angles: anatomical ranges, seventeen named grasps, and random mixtures of them.

A pose is a vector of 24 angles in degrees relative to the resting hand, which already bends by about ten degrees:
for index, middle, ring, little (rows of a 4 x 4 block): knuckle flexion, abduction towards the thumb, middle-joint
flexion, end-joint flexion; then the thumb: opposition, adduction, twist, MCP flexion, IP flexion; then wrist flexion,
wrist deviation towards the thumb, cupping of the palm.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUM_ANGLES: Final = 24
THUMB: Final = slice(16, 21)
WRIST: Final = slice(21, 23)
CUP: Final = 23

_FINGER_LOW, _FINGER_HIGH = (-22.0, -16.0, -10.0, -5.0), (85.0, 16.0, 105.0, 65.0)
LOW: Final[Array] = np.array([*_FINGER_LOW * 4, -20.0, -25.0, -20.0, -15.0, -20.0, -55.0, -25.0, 0.0])
HIGH: Final[Array] = np.array([*_FINGER_HIGH * 4, 60.0, 30.0, 30.0, 50.0, 65.0, 60.0, 20.0, 14.0])

#: Sd of the noise added to a mixture of grasps, degrees.
NOISE: Final[Array] = np.array([*(7.0, 3.5, 8.0, 5.0) * 4, 6.0, 5.0, 4.0, 6.0, 7.0, 0.0, 0.0, 0.0])


def _grasp(fingers: tuple[tuple[float, ...], ...], thumb: tuple[float, ...]) -> Array:
    return np.array([*(a for finger in fingers for a in finger), *thumb, 0.0, 0.0, 0.0])


_STRAIGHT = ((-8, 2, -6, -4), (-8, 0, -6, -4), (-8, -2, -6, -4), (-8, -4, -6, -4))
_SPREAD = ((-10, 11, -8, -4), (-10, 1, -8, -4), (-10, -8, -8, -4), (-10, -15, -8, -4))
_CURLED = ((70, 0, 88, 42), (74, 0, 90, 44), (72, 0, 87, 43), (75, 0, 84, 42))
_EASY = ((12, 2, 18, 10), (16, 0, 22, 12), (20, -2, 24, 12), (24, -4, 24, 12))
_THUMB_ACROSS = (42.0, 3.0, 10.0, 27.0, 27.0)
_THUMB_OUT = (-8.0, -18.0, 0.0, -6.0, -8.0)

#: name -> pose (24,), degrees.
GRASPS: Final[dict[str, Array]] = {
    "rest": _grasp(_EASY, (8, 4, 0, 6, 8)),
    "open": _grasp(_SPREAD, (0, -14, 0, -4, -6)),
    "flat": _grasp(_STRAIGHT, (-6, 8, 0, 0, -4)),
    "fist": _grasp(((70, -5, 96, 42), *_CURLED[1:]), (41, -4, 10, 28, 30)),
    "relaxed": _grasp(((26, 1, 34, 18), (32, 0, 38, 20), (36, -1, 40, 22), (38, -3, 38, 20)), (18, 4, 4, 12, 14)),
    "point": _grasp((_STRAIGHT[0], *_CURLED[1:]), _THUMB_ACROSS),
    "victory": _grasp(((-8, 9, -6, -4), (-8, -7, -6, -4), *_CURLED[2:]), (48, 10, 10, 30, 30)),
    "three": _grasp(((-8, 7, -6, -4), (-8, 0, -6, -4), (-8, -7, -6, -4), _CURLED[3]), (52, 8, 10, 30, 34)),
    "horns": _grasp((_STRAIGHT[0], *_CURLED[1:3], _STRAIGHT[3]), (44, 4, 10, 27, 22)),
    "thumb-up": _grasp(_CURLED, (-10, -10, 0, -8, -12)),
    "call": _grasp((*_CURLED[:3], (-8, -12, -6, -4)), _THUMB_OUT),
    "L": _grasp((_STRAIGHT[0], *_CURLED[1:]), _THUMB_OUT),
    "pinch": _grasp(((39, 0, 42, 21), (52, 0, 44, 24), (54, 0, 46, 24), (56, 0, 44, 22)), (47, -3, 15, 7, 23)),
    "ok": _grasp(((44, 2, 44, 24), (10, 0, 12, 6), (2, -6, 6, 4), (-2, -12, 2, 0)), (40, 4, 14, 16, 20)),
    "grasp": _grasp(((34, 4, 42, 22), (36, 0, 44, 24), (38, -4, 46, 24), (40, -8, 46, 24)), (36, -11, 10, 10, 16)),
    "cylinder": _grasp(((44, 1, 56, 28), (48, 0, 58, 30), (50, -2, 58, 30), (52, -4, 56, 28)), (44, -18, 12, 11, 18)),
    "hook": _grasp(((6, 1, 84, 42), (6, 0, 86, 44), (8, -1, 86, 44), (10, -3, 82, 42)), (4, 6, 0, 8, 10)),
}
GRASP_NAMES: Final[tuple[str, ...]] = tuple(GRASPS)


def clamp(pose: Array) -> Array:
    """The nearest pose inside the anatomical ranges; bent knuckles spread less: |abduction| <= 16 (1 - MCP / 110)."""
    inside = np.clip(pose, LOW, HIGH)
    fingers = inside[:16].reshape(4, 4)
    # The ligaments of a bent knuckle are taut: a fist cannot be spread.
    limit = 16.0 * np.clip(1 - fingers[:, 0] / 110.0, 0.0, 1.0)
    fingers[:, 1] = np.clip(fingers[:, 1], -limit, limit)
    return inside


def random_pose(rng: np.random.Generator, grasp: str, spread: float = 1.0) -> Array:
    """A random pose (24,) about a named grasp.

    Another grasp is mixed in with weight ``spread`` x 0.6 Beta(0.6, 1.6), then noise of sd ``spread`` x :data:`NOISE`
    is added.
    """
    other = GRASP_NAMES[int(rng.integers(len(GRASP_NAMES)))]
    # Mostly near 0 and at most 0.6: the named grasp stays recognisable, as labels and counts go by it.
    share = spread * 0.6 * rng.beta(0.6, 1.6)
    pose = (1 - share) * GRASPS[grasp] + share * GRASPS[other]
    pose = pose + spread * NOISE * rng.standard_normal(NUM_ANGLES)
    # The wrist and the palm's cup do not belong to a grasp; they are drawn at full spread even near it.
    pose[WRIST] = rng.normal(0.0, (18.0, 10.0))
    pose[CUP] = abs(rng.normal(0.0, 4.0))
    return clamp(pose)
