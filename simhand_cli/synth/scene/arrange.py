"""Who is photographed, holding what, how, where: drawn from a seed before any picture is taken."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.articulation import posed_joints, sample_pose
from simhand_cli.synth.hand.grasps import GRASP_NAMES
from simhand_cli.synth.hand.mesh import (
    Mesh,
    Surface,
    forearm_axis,
    hand_mesh,
    posed_surface,
    with_second_hand,
    with_thing,
)
from simhand_cli.synth.hand.motion import (
    Motion,
    all_joints,
    frames_to_watch,
    held_motion,
    random_motion,
    rest_joints,
    still_motion,
)
from simhand_cli.synth.hand.person import Person
from simhand_cli.synth.scene.backgrounds import Backdrop
from simhand_cli.synth.scene.camera import Camera, View, aim, aim_ring
from simhand_cli.synth.scene.photos import Pictures
from simhand_cli.synth.scene.second_hand import Moment, SecondHand, place_second_hand
from simhand_cli.synth.scene.surroundings import Scene, random_scene
from simhand_cli.synth.scene.things import HOLDING, Thing, hold

Array = NDArray[np.float64]
#: Poses tried until one has room for a thing.
_GRIPS = 8


@dataclass(frozen=True)
class Variety:
    """What may be seen in a set.

    Attributes:
        view: kind of camera. backdrop: one kind; None mixes them. pictures: the user's own backgrounds.
        grasps: names to choose from. things, second_hand: shares of the sequences with a held thing, a second hand.
        left: None draws the side; True and False fix it.
    """

    view: View = "moderate"
    backdrop: Backdrop | None = None
    pictures: Pictures | None = None
    grasps: tuple[str, ...] = GRASP_NAMES
    things: float = 0.0
    second_hand: float = 0.0
    left: bool | None = None


@dataclass(frozen=True)
class Arrangement:
    """One sequence before its cameras: the same person, things, place and light in all of its frames."""

    person: Person
    scene: Scene
    left: bool
    motion: Motion
    fps: float
    thing: Thing | None = None
    second: SecondHand | None = None

    @cached_property
    def arm_mm(self) -> Array:
        """Points (12, 3) along the arm, rig frame."""
        return forearm_axis(self.person, self.left)

    def surface(self, frame: int) -> Surface:
        """The labelled hand in a frame, rig frame."""
        still = posed_surface(self.person, self.motion.poses[frame], self.left, float(self.scene.cloth[0]))
        return _carried(self.motion, frame, still)

    def mesh(self, frame: int, surface: Surface) -> Mesh:
        """Everything solid in a frame; the second hand and the thing move along with the first hand."""
        mesh = hand_mesh(self.person, surface)
        if self.second is not None:
            mesh = with_second_hand(mesh, hand_mesh(self.person, _carried(self.motion, frame, self.second.surface)))
        if self.thing is not None:
            carried = self.motion.carry(frame, self.thing.vertices_mm)
            mesh = with_thing(mesh, carried, self.thing.faces, self.thing.along_mm)
        return mesh

    def second_joints_mm(self, frame: int) -> Array:
        """Joints (21, 3) of the second hand in a frame, rig frame; NaN where there is none."""
        if self.second is None:
            return np.full((21, 3), np.nan)
        return self.motion.carry(frame, self.second.surface.joints_mm)


def _carried(motion: Motion, frame: int, still: Surface) -> Surface:
    fine, control, joints = (motion.carry(frame, part) for part in (still.fine_mm, still.control_mm, still.joints_mm))
    return Surface(fine, control, joints, still.faces, still.left)


def arrange(rng: np.random.Generator, person: Person, variety: Variety, frames: int, fps: float) -> Arrangement:
    """Draw a sequence: side, pose or motion, held thing, place. A single frame does not move."""
    # Drawn in any case, so that fixing the side changes nothing else of a sequence.
    left = bool(rng.random() < 0.5)
    left = left if variety.left is None else variety.left
    pose, grasp, thing = _grip(rng, person, variety)
    if frames == 1:
        motion = still_motion(pose, grasp)
    elif thing is not None:
        motion = held_motion(rng, pose, grasp, frames, fps, left)
    else:
        motion = random_motion(rng, person.hand, (pose, grasp), frames, fps, left, variety.grasps)
    scene = random_scene(rng, variety.backdrop, variety.pictures)
    # Grips are worked out on right hands only; the mirror image is made at the end, as for the hand.
    if thing is not None and left:
        thing = thing.mirrored()
    return Arrangement(person, scene, left, motion, fps, thing)


def _grip(rng: np.random.Generator, person: Person, variety: Variety) -> tuple[Array, str, Thing | None]:
    """A pose, its grasp, and for a share of them a thing between palm and fingers."""
    if rng.random() >= variety.things:
        return *sample_pose(rng, person.hand, variety.grasps), None
    # Where none of the wanted grasps has room for a thing, they are tried all the same.
    able = tuple(grasp for grasp in variety.grasps if grasp in HOLDING) or variety.grasps
    # Most hands in a suitable grasp have room; after some tries the hand stays empty rather than the grasp changing.
    for _ in range(_GRIPS):
        pose, grasp = sample_pose(rng, person.hand, able)
        thing = hold(rng, posed_joints(person.hand, pose))
        if thing is not None:
            break
    return pose, grasp, thing


def set_up(
    rng: np.random.Generator,
    arrangement: Arrangement,
    variety: Variety,
    size_wh: tuple[int, int],
    fill: tuple[float, float],
    cameras: int,
) -> tuple[Arrangement, list[Camera]]:
    """Aim the cameras, and bring the second hand in where it hides little from any of them.

    Args:
        rng: source of chance.
        arrangement: what is to be seen.
        variety: kind of view, share of second hands.
        size_wh: of the pictures.
        fill: range of the joints' larger extent relative to the shorter side.
        cameras: one, or a ring of several.
    """
    joints = all_joints(arrangement.person.hand, arrangement.motion, arrangement.left, arrangement.fps)
    view, left, arm = variety.view, arrangement.left, arrangement.arm_mm
    if cameras > 1:
        rig = aim_ring(rng, view, left, joints, arm, size_wh, fill, cameras)
    else:
        rig = [aim(rng, view, left, joints, arm, size_wh, fill)]
    # Last, when the cameras stand: whether the other hand hides the first depends on where it is seen from.
    if rng.random() < variety.second_hand:
        sleeve = float(arrangement.scene.cloth[0])
        second = place_second_hand(
            rng, arrangement.person, not left, _moments(arrangement), rig, arrangement.thing, sleeve, variety.grasps
        )
        arrangement = replace(arrangement, second=second)
    return arrangement, rig


def _moments(arrangement: Arrangement) -> list[Moment]:
    motion, hand = arrangement.motion, arrangement.person.hand
    return [
        Moment(rest_joints(hand, motion, f, arrangement.left), motion.turns[f], motion.shifts_mm[f])
        for f in frames_to_watch(motion, arrangement.fps)
    ]
