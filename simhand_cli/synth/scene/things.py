"""Things a hand holds: simple solids as large as the grip leaves room for, which hide parts of it."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.articulation import FINGER_CAPSULES, capsules, segment_distance
from simhand_cli.synth.hand.mesh import MIRROR
from simhand_cli.synth.scene.camera import random_rotation

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Kind = Literal["cylinder", "box", "ball"]
KINDS: Final[tuple[Kind, ...]] = ("cylinder", "box", "ball")
#: Grasps whose fingers leave room for something.
HOLDING: Final = ("grasp", "cylinder", "pinch", "ok", "relaxed", "hook", "rest", "open", "flat")
SMALLEST_MM: Final = 6.0
LARGEST_MM: Final = 40.0
_TRIALS: Final = 64
#: Largest cosine between the directions of the two sides that hold a thing, and largest gap on one of them.
_OPPOSITE: Final = -0.2
_NEAR_MM: Final = 8.0


@dataclass(frozen=True)
class Thing:
    """A solid in the rig frame.

    Attributes:
        kind: its form.
        vertices_mm: (V, 3). faces: (T, 3), counter-clockwise seen from outside. along_mm: (V,) along its axis.
        material: (10,), see :func:`simhand_cli.synth.render.shading.shade`.
        radius_mm: of the cylinder, the ball, or the circle around the box's section.
        ends_mm: (2, 3) ends of its axis.
    """

    kind: Kind
    vertices_mm: Array
    faces: NDArray[np.int32]
    along_mm: Floats
    material: Floats
    radius_mm: float
    ends_mm: Array

    def mirrored(self) -> "Thing":
        """The same in a left hand."""
        turned = np.ascontiguousarray(self.faces[:, ::-1])
        return replace(self, vertices_mm=self.vertices_mm * MIRROR, faces=turned, ends_mm=self.ends_mm * MIRROR)


def hold(rng: np.random.Generator, joints_mm: Array) -> Thing | None:
    """Put a thing between the palm and the fingers of a posed right hand.

    The axis is tried in many places and directions; where fingers and palm, as capsules, leave it most room between
    them the thing is made as thick as fits. So it touches the hand, and passes through it no more than flesh gives way.

    Args:
        rng: source of chance.
        joints_mm: (21, 3) posed, rig frame of a right hand (palm towards +z).

    Returns:
        the thing, or None where the hand is too closed to hold one.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    # To the search for room a ball is a cylinder of hardly any length.
    half_mm = 0.5 if kind == "ball" else float(rng.uniform(25.0, 90.0))
    across = joints_mm[5] - joints_mm[17]
    across = across / np.linalg.norm(across)
    palm = joints_mm[[0, 5, 9, 13, 17]].mean(axis=0)
    tips = joints_mm[[8, 12, 16, 20]].mean(axis=0)
    pinch = 0.5 * (joints_mm[4] + joints_mm[8])
    grip = 0.5 * palm + 0.5 * tips
    # A third of the places are between thumb and index finger, where a pinch holds.
    base = np.where(np.arange(_TRIALS)[:, None] % 3 == 2, pinch, grip)
    centre = base + rng.normal(0.0, 16.0, (_TRIALS, 3))
    # Roughly along the knuckles, as a handle lies in a hand.
    axis = across + rng.normal(0.0, 0.25, (_TRIALS, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    room = _room(joints_mm, centre - half_mm * axis, centre + half_mm * axis)
    # The roomiest place, not the first one: things are then as large as the grip, and touch the fingers.
    best = int(np.argmax(room))
    if room[best] < SMALLEST_MM:
        return None
    # Bounded above: an open hand has room for a thing that would fill the picture.
    return _make(rng, kind, centre[best], axis[best], half_mm, min(float(room[best]), LARGEST_MM))


def _room(joints_mm: Array, start: Array, end: Array) -> Array:
    """How thick (K,) a capsule along each segment (K, 3) may be before it meets the hand; 0 where it is not held.

    Held means: thumb or palm on one side of it and a finger on the other, both near.
    """
    first, second, radii = capsules(joints_mm)
    count, many = len(start), len(first)
    i, j = (grid.ravel() for grid in np.indices((count, many)))
    distance, s, t = segment_distance(start[i], end[i], first[j], second[j])
    flesh = radii[j, 0] * (1 - t) + radii[j, 1] * t
    gap = (distance - flesh).reshape(count, many)
    on_axis = start[i] + s[:, None] * (end - start)[i]
    on_bone = first[j] + t[:, None] * (second - first)[j]
    # Where axis and bone touch there is no direction, and no room either.
    toward = ((on_bone - on_axis) / np.maximum(distance, 1e-6)[:, None]).reshape(count, many, 3)
    near = [np.flatnonzero(side)[gap[:, side].argmin(axis=1)] for side in (~FINGER_CAPSULES, FINGER_CAPSULES)]
    every = np.arange(count)
    opposite = (toward[every, near[0]] * toward[every, near[1]]).sum(axis=1) < _OPPOSITE
    gaps = np.stack([gap[every, side] for side in near])
    room: Array = np.where(opposite & (np.ptp(gaps, axis=0) < _NEAR_MM), gaps.min(axis=0), 0.0)
    return room


def _make(rng: np.random.Generator, kind: Kind, centre: Array, axis: Array, half_mm: float, radius_mm: float) -> Thing:
    if kind == "ball":
        vertices, faces = _ball(radius_mm)
        frame = random_rotation(rng)
    else:
        sides = 4 if kind == "box" else 24
        vertices, faces = _prism(sides, radius_mm, half_mm, smooth=kind == "cylinder")
        helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.8 else np.array([1.0, 0.0, 0.0])
        u = np.cross(axis, helper)
        u /= np.linalg.norm(u)
        spin = float(rng.uniform(0, 2 * np.pi))
        v = np.cross(axis, u)
        u, v = np.cos(spin) * u + np.sin(spin) * v, np.cos(spin) * v - np.sin(spin) * u
        frame = np.stack([u, v, axis], axis=1)
    # From 0 up, so that stripes begin at an end.
    along = (vertices[:, 2] + half_mm + radius_mm).astype(np.float32)
    ends = np.stack([centre - half_mm * axis, centre + half_mm * axis])
    return Thing(kind, vertices @ frame.T + centre, faces, along, _material(rng), radius_mm, ends)


def _material(rng: np.random.Generator) -> Floats:
    value = rng.uniform(0.03, 0.75)
    first = np.clip(value * np.exp(rng.normal(0, 0.8, 3)), 0.01, 0.9)
    second = np.clip(rng.uniform(0.03, 0.75) * np.exp(rng.normal(0, 0.5, 3)), 0.01, 0.9)
    period = float(rng.uniform(10, 70)) if rng.random() < 0.5 else 0.0
    gloss, roughness = float(rng.uniform(0.2, 1.5)), float(rng.uniform(0.15, 0.8))
    return np.array([0.0, *first, *second, period, gloss, roughness**2], np.float32)


def _prism(sides: int, radius: float, half: float, smooth: bool) -> tuple[Array, NDArray[np.int32]]:
    """A prism or cylinder along z; corners are doubled where its edges are sharp, so that normals are not averaged."""
    angle = (np.arange(sides) + 0.5) * 2 * np.pi / sides
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    vertices: list[Array] = []
    faces: list[tuple[int, int, int]] = []

    def add(points: Array) -> int:
        vertices.append(points)
        return sum(len(v) for v in vertices) - len(points)

    low, high = np.column_stack([ring, np.full(sides, -half)]), np.column_stack([ring, np.full(sides, half)])
    rows = 4  # of faces along the side, so that light and stripes have vertices to live on
    levels = [low + (high - low) * k / rows for k in range(rows + 1)]
    if smooth:
        first = [add(level) for level in levels]
    for k in range(rows):
        for i in range(sides):
            j = (i + 1) % sides
            if smooth:
                a, b, c, d = first[k] + i, first[k] + j, first[k + 1] + j, first[k + 1] + i
            else:
                a = add(np.stack([levels[k][i], levels[k][j], levels[k + 1][j], levels[k + 1][i]]))
                b, c, d = a + 1, a + 2, a + 3
            faces += [(a, b, c), (a, c, d)]
    for points, order in ((low, -1), (high, 1)):
        start = add(np.concatenate([points, points.mean(axis=0)[None]]))
        for i in range(sides):
            corner = (start + i, start + (i + 1) % sides)[::order]
            faces.append((corner[0], corner[1], start + sides))
    return np.concatenate(vertices), np.array(faces, np.int32)


def _ball(radius: float) -> tuple[Array, NDArray[np.int32]]:
    """A ball of meridians and parallels."""
    parallels, meridians = 10, 20
    theta = np.linspace(0, np.pi, parallels + 1)[1:-1]
    phi = np.arange(meridians) * 2 * np.pi / meridians
    grid = np.stack(
        [
            np.sin(theta)[:, None] * np.cos(phi),
            np.sin(theta)[:, None] * np.sin(phi),
            np.broadcast_to(np.cos(theta)[:, None], (len(theta), meridians)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    top, bottom = len(grid), len(grid) + 1
    faces: list[tuple[int, int, int]] = []
    for i in range(meridians):
        j = (i + 1) % meridians
        faces += [(top, i, j), (bottom, (parallels - 2) * meridians + j, (parallels - 2) * meridians + i)]
        for k in range(parallels - 2):
            a, b, c, d = k * meridians + i, k * meridians + j, (k + 1) * meridians + j, (k + 1) * meridians + i
            faces += [(a, d, c), (a, c, b)]
    points = radius * np.concatenate([grid, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    return points, np.array(faces, np.int32)
