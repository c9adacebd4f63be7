"""One labelled picture or one video from a seed and a number: the same on any number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.articulation import sample_pose
from simhand_cli.synth.backgrounds import Backdrop
from simhand_cli.synth.camera import View, aim
from simhand_cli.synth.motion import all_joints, random_motion
from simhand_cli.synth.person import person
from simhand_cli.synth.render import Shot, Surface, forearm_axis, posed_surface, render
from simhand_cli.synth.scene import backdrop_picture, random_scene

#: Streams of random numbers: a picture's, a video's.
_PICTURE, _VIDEO = 11, 12
#: Larger extent of the joints in a picture, as a share of its shorter side.
PICTURE_FILL: Final = (0.40, 0.60)
#: The same for all frames of a video together; a single frame's hand is smaller.
VIDEO_FILL: Final = (0.70, 0.90)


@dataclass(frozen=True)
class LabelledShot:
    """A picture with everything that is known about it."""

    shot: Shot
    left: bool
    subject: str
    tone: float
    grasp: str
    backdrop: Backdrop
    palm_facing: float
    jpeg_quality: int


def labelled_shot(
    seed: int, number: int, subject: int, view: View, image_px: int, backdrop: Backdrop | None = None
) -> LabelledShot:
    """Picture ``number`` of a set, of person ``subject``: random pose, side, camera, light and backdrop.

    Args:
        seed: of the whole set.
        number: of the picture.
        subject: number of the person.
        view: kind of camera.
        image_px: side of the picture.
        backdrop: kind of backdrop; None mixes them.
    """
    rng = np.random.default_rng([seed, _PICTURE, number])
    who = person(seed, subject)
    left = bool(rng.random() < 0.5)
    pose, grasp = sample_pose(rng, who.hand)
    scene = random_scene(rng, backdrop)
    surface = posed_surface(who, pose, left, float(scene.cloth[0]))
    size = (image_px, image_px)
    camera = aim(rng, view, left, surface.joints_mm, forearm_axis(who, left), size, PICTURE_FILL)
    shot, _ = render(who, surface, camera, scene, rng)
    palm = camera.turn[:, 2]
    sight = -shot.joints_mm[9] / np.linalg.norm(shot.joints_mm[9])
    facing = float(palm @ sight)
    return LabelledShot(shot, left, who.name, who.tone, grasp, scene.backdrop, facing, scene.jpeg_quality)


def video_frames(
    seed: int, number: int, view: View, size_wh: tuple[int, int], frames: int, fps: float
) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) uint8 of video ``number``: one person, one place, one hand moving from pose to pose."""
    for shot in video_shots(seed, number, view, size_wh, frames, fps):
        yield shot.image_rgb


def video_shots(
    seed: int, number: int, view: View, size_wh: tuple[int, int], frames: int, fps: float
) -> Iterator[Shot]:
    """The frames of a video with their labels; identity, light, camera and exposure are the same in all of them."""
    rng = np.random.default_rng([seed, _VIDEO, number])
    who = person(seed, number)
    left = bool(rng.random() < 0.5)
    motion = random_motion(rng, who.hand, frames, fps, left)
    # The blur and grain of stills would be too strong for a codec; a video has its own losses.
    scene = random_scene(rng, "panorama" if rng.random() < 0.75 else None)
    scene = replace(scene, grain=0.4 * scene.grain)
    joints = all_joints(who.hand, motion, left)
    camera = aim(rng, view, left, joints, forearm_axis(who, left), size_wh, VIDEO_FILL)
    behind = backdrop_picture(scene, camera)
    gains: NDArray[np.float32] | None = None
    for frame in range(frames):
        still = posed_surface(who, motion.poses[frame], left, float(scene.cloth[0]))
        surface = Surface(
            motion.carry(frame, still.fine_mm),
            motion.carry(frame, still.control_mm),
            motion.carry(frame, still.joints_mm),
            still.faces,
            left,
        )
        shot, gains = render(who, surface, camera, scene, rng, gains, behind)
        yield shot
