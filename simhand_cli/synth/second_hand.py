"""The other hand of the same person, near the first one and not inside it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.articulation import capsules, sample_pose, segment_distance
from simhand_cli.synth.camera import NEAR_MM, Camera, arm_leaves_free, axis_turn
from simhand_cli.synth.mesh import Surface, forearm_axis, posed_surface
from simhand_cli.synth.person import Person

Array = NDArray[np.float64]
#: Places tried before a picture goes without the second hand.
ATTEMPTS: Final = 12
#: Joints of the labelled hand that the other may hide.
_HIDDEN_JOINTS: Final = 5


@dataclass(frozen=True)
class SecondHand:
    """The other hand in the rig frame, and the axis (12, 3) of its arm."""

    surface: Surface
    arm_mm: Array


def place_second_hand(
    rng: np.random.Generator,
    person: Person,
    surface: Surface,
    cameras: list[Camera],
    sleeve_start_mm: float,
    grasps: tuple[str, ...],
) -> SecondHand | None:
    """Pose the other hand and bring it near the first.

    Args:
        rng: source of chance.
        person: whose hands they are.
        surface: of the labelled hand, rig frame.
        cameras: none of them may see the labelled hand hidden by the other.
        sleeve_start_mm: as for the first hand.
        grasps: to choose its pose from.

    Returns:
        None where no place was found.
    """
    left = not surface.left
    pose, _ = sample_pose(rng, person.hand, grasps)
    still = posed_surface(person, pose, left, sleeve_start_mm)
    arm = forearm_axis(person, left)
    target = surface.joints_mm.mean(axis=0)
    for _ in range(ATTEMPTS):
        turn = (
            axis_turn(2, float(rng.normal(0, 35))) @ axis_turn(0, float(rng.normal(0, 25)))
            @ axis_turn(1, float(rng.uniform(0, 360)))
        )  # fmt: skip
        toward = rng.normal(0, (1.0, 0.5, 0.8))
        toward /= np.linalg.norm(toward)
        middle = turn @ still.joints_mm.mean(axis=0)
        turned = Surface(still.fine_mm @ turn.T, still.control_mm @ turn.T, still.joints_mm @ turn.T, still.faces, left)
        away = float(rng.uniform(50, 110))
        while away < 400 and not _apart(surface.joints_mm, turned.joints_mm + target - middle + away * toward):
            away += 15.0
        shift = target - middle + away * toward
        placed = Surface(
            turned.fine_mm + shift, turned.control_mm + shift, turned.joints_mm + shift, turned.faces, left
        )
        other = SecondHand(placed, arm @ turn.T + shift)
        if all(_leaves_in_view(camera, surface.joints_mm, other) for camera in cameras):
            return other
    return None


def _apart(first: Array, second: Array) -> bool:
    """Whether two hands, as capsules, are apart; joints (21, 3) each."""
    p0, p1, ra = capsules(first)
    q0, q1, rb = capsules(second)
    i, j = (grid.ravel() for grid in np.indices((len(p0), len(q0))))
    distance, s, t = segment_distance(p0[i], p1[i], q0[j], q1[j])
    reach = ra[i, 0] * (1 - s) + ra[i, 1] * s + rb[j, 0] * (1 - t) + rb[j, 1] * t
    return bool((distance > reach).all())


def _leaves_in_view(camera: Camera, joints_mm: Array, other: SecondHand) -> bool:
    """Whether the camera still sees most of the labelled hand, and no cut end of the other's arm."""
    hidden = hidden_joints(camera, joints_mm, other.surface.joints_mm)
    if hidden > _HIDDEN_JOINTS:
        return False
    if camera.place(other.surface.joints_mm)[:, 2].min() < 2 * NEAR_MM:
        return False
    return arm_leaves_free(camera, joints_mm, other.arm_mm)


def hidden_joints(camera: Camera, joints_mm: Array, others_mm: Array) -> int:
    """How many joints (21, 3) lie behind the bones of another hand (21, 3) as a camera sees them."""
    start, end, radii = capsules(others_mm)
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
