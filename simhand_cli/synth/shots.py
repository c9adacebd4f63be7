"""Pictures and videos from a seed and a number: the same on any number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.mesh import Surface
from simhand_cli.synth.hand.person import person
from simhand_cli.synth.render.draw import Drawing, draw, photograph
from simhand_cli.synth.render.illumination import illuminate
from simhand_cli.synth.scene.arrange import Arrangement, Variety, arrange, set_up
from simhand_cli.synth.scene.backgrounds import Backdrop
from simhand_cli.synth.scene.camera import Camera
from simhand_cli.synth.scene.surroundings import backdrop_picture

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
#: Streams of random numbers: a picture's, a video's, a studio's.
# Part of every seed: picture 3 and video 3 of one seed have nothing in common. Changing one changes all sets.
_PICTURE, _VIDEO = 11, 12
STUDIO: Final = 13
#: Larger extent of the joints in a picture, as a share of its shorter side.
PICTURE_FILL: Final = (0.40, 0.60)
#: The same for all frames of a sequence together; a single frame's hand is smaller.
SEQUENCE_FILL: Final = (0.70, 0.90)


@dataclass(frozen=True)
class Shot:
    """One rendered picture with its labels, all in the camera frame.

    Attributes:
        image_rgb: (H, W, 3) uint8. hand_coverage: (H, W) share of each pixel the labelled hand and its arm cover.
        depth_mm: (H, W) of the visible surface, whatever it is; 0 where there is none.
        joints_mm: (21, 3). joints_px: (21, 2). vertices_mm: (V, 3) control mesh.
        second_joints_mm: (21, 3) of the other hand, NaN where there is none.
        intrinsics: (3, 3). camera_from_world: (4, 4), mm; the same world for all frames and cameras of a sequence.
    """

    image_rgb: NDArray[np.uint8]
    hand_coverage: Floats
    depth_mm: Floats
    joints_mm: Array
    joints_px: Array
    vertices_mm: Array
    second_joints_mm: Array
    intrinsics: Array
    camera_from_world: Array


@dataclass(frozen=True)
class LabelledShot:
    """A picture with everything that is known about it; ``frame`` and ``camera`` count within its sequence."""

    shot: Shot
    left: bool
    subject: str
    tone: float
    grasp: str
    thing: str
    backdrop: Backdrop
    palm_facing: float
    jpeg_quality: int
    sequence: int
    frame: int
    camera: int


def labelled_sequence(
    seed: int, number: int, subject: int, variety: Variety, image_px: int,
    frames: int = 1, cameras: int = 1, fps: float = 15.0,
) -> Iterator[LabelledShot]:  # fmt: skip
    """Sequence ``number`` of a set, of person ``subject``: every frame from every camera, cameras turning fastest.

    Args:
        seed: of the whole set.
        number: of the sequence.
        subject: number of the person.
        variety: what may be seen.
        image_px: side of the pictures.
        frames: of the motion; 1 is a still.
        cameras: 1, or a calibrated ring of several.
        fps: frames a second of the motion.
    """
    rng = np.random.default_rng([seed, _PICTURE, number])
    who = person(seed, subject)
    arrangement = arrange(rng, who, variety, frames, fps)
    fill = PICTURE_FILL if frames == 1 else SEQUENCE_FILL
    arrangement, rig = set_up(rng, arrangement, variety, (image_px, image_px), fill, cameras)
    scene = arrangement.scene
    views = [_View(camera) for camera in rig]
    for frame in range(frames):
        # Grain is drawn in this order from the same stream, so frames are made one after another, never in parallel.
        for view, shot in zip(views, shoot(arrangement, frame, views, rng), strict=True):
            yield LabelledShot(
                shot, arrangement.left, who.name, who.tone, arrangement.motion.grasps[frame],
                arrangement.thing.kind if arrangement.thing else "none", scene.backdrop,
                palm_facing(arrangement, frame, view.camera, shot), scene.jpeg_quality,
                number, frame, view.camera.number,
            )  # fmt: skip


def palm_facing(arrangement: Arrangement, frame: int, camera: Camera, shot: Shot) -> float:
    """Cosine between the palm's normal and the direction to the camera: 1 palm, -1 back of the hand."""
    palm = camera.turn @ arrangement.motion.turns[frame][:, 2]
    # The camera is the origin of its frame; the middle finger's knuckle stands for the palm.
    sight = -shot.joints_mm[9] / np.linalg.norm(shot.joints_mm[9])
    return float(palm @ sight)


class _View:
    """A camera of a sequence, with the backdrop and exposure it keeps."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.behind: Floats | None = None
        self.gains: Floats | None = None


def shoot(arrangement: Arrangement, frame: int, views: list[_View], rng: np.random.Generator) -> Iterator[Shot]:
    """Photograph a frame with every camera; the light is computed once."""
    surface = arrangement.surface(frame)
    for view, drawing in zip(views, draw_frame(arrangement, frame, surface, [v.camera for v in views]), strict=True):
        # Made once: cameras do not move during a sequence.
        if view.behind is None:
            view.behind = backdrop_picture(arrangement.scene, view.camera)
        # Exposure is settled by the first frame and kept, or the picture would flicker with the hand's movements.
        image, view.gains = photograph(drawing, view.behind, arrangement.scene, rng, view.gains)
        yield labelled(arrangement, frame, surface, view.camera, drawing, image)


def draw_frame(arrangement: Arrangement, frame: int, surface: Surface, cameras: list[Camera]) -> Iterator[Drawing]:
    """What every camera sees of a frame, before any backdrop."""
    mesh = arrangement.mesh(frame, surface)
    # All cameras of a rig share one world, so any of them tells how the rig stands in it.
    lit = illuminate(mesh, surface.joints_mm, arrangement.scene, cameras[0].world_from_rig)
    material = arrangement.thing.material if arrangement.thing else None
    for camera in cameras:
        yield draw(arrangement.person, mesh, lit, camera, arrangement.scene, material)


def labelled(
    arrangement: Arrangement, frame: int, surface: Surface, camera: Camera, drawing: Drawing, image: NDArray[np.uint8]
) -> Shot:
    """A picture with its labels."""
    joints = camera.place(surface.joints_mm)
    return Shot(
        image,
        drawing.hand_coverage,
        drawing.depth_mm,
        joints,
        camera.project(joints),
        camera.place(surface.control_mm),
        camera.place(arrangement.second_joints_mm(frame)),
        camera.intrinsics,
        camera.camera_from_world,
    )


def video_shots(
    seed: int, number: int, variety: Variety, size_wh: tuple[int, int], frames: int, fps: float
) -> Iterator[Shot]:
    """The frames of video ``number`` with their labels: one person, one place, one hand moving from pose to pose."""
    rng = np.random.default_rng([seed, _VIDEO, number])
    arrangement = arrange(rng, person(seed, number), variety, frames, fps)
    # The grain of stills would be too strong for a codec; a video has its own losses.
    scene = replace(arrangement.scene, grain=0.4 * arrangement.scene.grain)
    arrangement = replace(arrangement, scene=scene)
    arrangement, rig = set_up(rng, arrangement, variety, size_wh, SEQUENCE_FILL, 1)
    views = [_View(rig[0])]
    for frame in range(frames):
        yield from shoot(arrangement, frame, views, rng)
