"""The other hand of the same person, near the first one and not inside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.articulation import capsules, sample_pose, segment_distance
from simhand_cli.synth.hand.mesh import Surface, forearm_axis, posed_surface
from simhand_cli.synth.hand.person import Person
from simhand_cli.synth.scene.camera import NEAR_MM, Camera, arm_leaves_free, axis_turn
from simhand_cli.synth.scene.things import Thing

Array = NDArray[np.float64]
Capsules = tuple[Array, Array, Array]
#: Places tried before a picture goes without the second hand.
ATTEMPTS: Final = 16
#: Joints of the labelled hand that the other may hide.
_HIDDEN_JOINTS: Final = 5
#: Half the thickness of a forearm, mm.
_ARM_RADIUS_MM: Final = 32.0


@dataclass(frozen=True)
class SecondHand:
    """The other hand in the rig frame, and the axis (12, 3) of its arm."""

    surface: Surface
    arm_mm: Array


@dataclass(frozen=True)
class Moment:
    """The first hand at one time: joints (21, 3) before the whole hand is moved, and that move."""

    joints_mm: Array
    turn: Array
    shift_mm: Array

    def carry(self, points_mm: Array) -> Array:
        """Points (N, 3) moved as the whole hand is."""
        carried: Array = points_mm @ self.turn.T + self.shift_mm
        return carried


def place_second_hand(
    rng: np.random.Generator,
    person: Person,
    left: bool,
    moments: Sequence[Moment],
    cameras: Sequence[Camera],
    thing: Thing | None,
    sleeve_start_mm: float,
    grasps: Sequence[str],
) -> SecondHand | None:
    """Pose the other hand and bring it near the first, with which it then moves.

    Args:
        rng: source of chance.
        person: whose hands they are.
        left: side of the second hand.
        moments: the first hand over the sequence: at none of them the hands, their arms or the thing may meet, and no
            camera may lose sight of the first hand.
        cameras: all of them.
        thing: what the first hand holds.
        sleeve_start_mm: as for the first hand.
        grasps: to choose the pose from.

    Returns:
        the hand before the whole hand is moved; None where no place was found.
    """
    pose, _ = sample_pose(rng, person.hand, grasps)
    still = posed_surface(person, pose, left, sleeve_start_mm)
    arm = forearm_axis(person, left)
    own_arm = forearm_axis(person, not left)
    solids = [[_hand_and_arm(moment.joints_mm, own_arm), *_as_capsules(thing)] for moment in moments]
    target = moments[0].joints_mm.mean(axis=0)
    for _ in range(ATTEMPTS):
        turn = (
            axis_turn(2, float(rng.normal(0, 35))) @ axis_turn(0, float(rng.normal(0, 25)))
            @ axis_turn(1, float(rng.uniform(0, 360)))
        )  # fmt: skip
        toward = rng.normal(0, (1.0, 0.5, 0.8))
        toward /= np.linalg.norm(toward)
        joints, turned_arm = still.joints_mm @ turn.T, arm @ turn.T
        away = float(rng.uniform(50, 110))
        shift = target - joints.mean(axis=0)
        # Pushed away along one direction until nothing meets; if that takes too far, another direction.
        while away < 400:
            placed = _hand_and_arm(joints + shift + away * toward, turned_arm + shift + away * toward)
            if all(_apart(placed, solid) for parts in solids for solid in parts):
                break
            away += 15.0
        else:
            continue
        shift = shift + away * toward
        surface = Surface(
            still.fine_mm @ turn.T + shift, still.control_mm @ turn.T + shift, joints + shift, still.faces, left
        )
        other = SecondHand(surface, turned_arm + shift)
        # The dearest test last, and only for places that are free.
        if all(_leaves_in_view(camera, moment, other) for camera in cameras for moment in moments):
            return other
    return None


def _hand_and_arm(joints_mm: Array, arm_mm: Array) -> Capsules:
    start, end, radii = capsules(joints_mm)
    return (
        np.concatenate([start, arm_mm[:1]]),
        np.concatenate([end, arm_mm[-1:]]),
        np.concatenate([radii, [[_ARM_RADIUS_MM, _ARM_RADIUS_MM]]]),
    )


def _as_capsules(thing: Thing | None) -> list[Capsules]:
    if thing is None:
        return []
    return [(thing.ends_mm[:1], thing.ends_mm[1:], np.full((1, 2), thing.radius_mm))]


def _apart(first: Capsules, second: Capsules) -> bool:
    """Whether no capsule of one meets one of the other."""
    (p0, p1, ra), (q0, q1, rb) = first, second
    i, j = (grid.ravel() for grid in np.indices((len(p0), len(q0))))
    distance, s, t = segment_distance(p0[i], p1[i], q0[j], q1[j])
    reach = ra[i, 0] * (1 - s) + ra[i, 1] * s + rb[j, 0] * (1 - t) + rb[j, 1] * t
    return bool((distance > reach).all())


def _leaves_in_view(camera: Camera, moment: Moment, other: SecondHand) -> bool:
    """Whether the camera still sees most of the labelled hand, and no cut end of the other's arm."""
    joints, others = moment.carry(moment.joints_mm), moment.carry(other.surface.joints_mm)
    if camera.place(others)[:, 2].min() < 2 * NEAR_MM:
        return False
    if hidden_joints(camera, joints, others) > _HIDDEN_JOINTS:
        return False
    return arm_leaves_free(camera, joints, moment.carry(other.arm_mm))


def hidden_joints(camera: Camera, joints_mm: Array, others_mm: Array) -> int:
    """How many joints (21, 3) lie behind the bones of another hand (21, 3) as a camera sees them; rig frame."""
    start, end, radii = capsules(others_mm)
    # Six discs along each bone stand for its outline: near enough to count joints.
    share = np.linspace(0, 1, 6)[:, None, None]
    points = (start * (1 - share) + end * share).reshape(-1, 3)
    thick = (radii[:, 0] * (1 - share[..., 0]) + radii[:, 1] * share[..., 0]).ravel()
    placed, own = camera.place(points), camera.place(joints_mm)
    ahead = placed[:, 2] > NEAR_MM
    if not ahead.all():
        return len(joints_mm)
    pixels, where = camera.project(placed), camera.project(own)
    gap = np.linalg.norm(where[:, None] - pixels[None], axis=2)
    covers = (gap < (thick * camera.intrinsics[0, 0] / placed[:, 2])[None]) & (placed[None, :, 2] < own[:, None, 2])
    return int(covers.any(axis=1).sum())
