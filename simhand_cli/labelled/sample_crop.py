"""From a labelled sample to the square crop a model sees: one warp, with 2D, 3D and K moved exactly along."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.geometry import (
    Affine,
    apply_affine,
    compose_affine,
    invert_affine,
    square_around,
    square_crop,
    warp_crop,
)
from simhand_cli.labelled.sample import HandSample

#: Side of the evaluation crop, in units of the larger extent of the 2D joints.
#: Wide enough for fingertips' flesh and some wrist around the joints.
EVAL_CROP_SCALE = 1.6
#: DetNet's input.
INPUT_PX = 128


@dataclass(frozen=True, slots=True)
class Placement:
    """How a crop differs from the upright, centred one.

    Attributes:
        rotation_rad: turn of the picture, positive from x to y (clockwise on screen).
        scale: factor on the crop's side; above 1 the hand becomes smaller.
        shift: (2,) move of the crop's centre in the image, in units of its side.
    """

    rotation_rad: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


CENTRED = Placement()


@dataclass(frozen=True, slots=True)
class HandCrop:
    """A right hand in a square crop.

    The 3D joints are those of a camera turned about its optical axis together with the picture, so that
    ``intrinsics`` projects ``joints_mm`` onto the crop exactly as the sample's K did onto its image.

    Attributes:
        image_rgb: (S, S, 3) uint8, black outside the image.
        joints_px: (21, 2) float64 in the crop.
        joints_mm: (21, 3) float64, turned camera frame.
        joint_valid: (21,) bool.
        intrinsics: (3, 3) float64.
        image_from_crop: (2, 3) map of crop pixels into the (right-handed) sample's image.
    """

    image_rgb: NDArray[np.uint8]
    joints_px: NDArray[np.float64]
    joints_mm: NDArray[np.float64]
    joint_valid: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    image_from_crop: Affine


def rotation_2d(angle_rad: float) -> NDArray[np.float64]:
    """Rotation (2, 2) from x towards y; clockwise on screen, since y points down."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def image_from_crop(joints_px: NDArray[np.float64], size_px: int, placement: Placement = CENTRED) -> Affine:
    """Affine (2, 3) from crop pixels to image pixels for a hand's valid joints (P, 2)."""
    centre, side = square_around(joints_px, EVAL_CROP_SCALE)
    upright = square_crop(centre + np.array(placement.shift) * side, side * placement.scale, size_px)
    if placement.rotation_rad == 0:
        return upright
    # Turn the crop back about its own centre before looking the pixel up in the image.
    middle = np.full(2, (size_px - 1) / 2)
    back = rotation_2d(-placement.rotation_rad)
    return compose_affine(upright, np.column_stack([back, middle - back @ middle]))


def crop_sample(sample: HandSample, size_px: int = INPUT_PX, placement: Placement = CENTRED) -> HandCrop:
    """Cut a sample's hand out, as a right hand.

    Args:
        sample: any hand; left ones are mirrored first.
        size_px: side S of the crop.
        placement: augmentation; by default the crop of evaluation.

    Returns:
        the crop with its labels.
    """
    right = sample.as_right()
    # Only labelled joints span the crop: a NaN would make its side NaN.
    to_image = image_from_crop(right.joints_px[right.joint_valid], size_px, placement)
    to_crop = invert_affine(to_image)
    # The joints turn with the picture, or bone directions would not be those of the crop.
    turn = np.eye(3)
    turn[:2, :2] = rotation_2d(placement.rotation_rad)
    # crop ~ A K X = (A K R^T) (R X): the same picture taken by a camera rolled by the same angle.
    intrinsics = np.vstack([to_crop, [0.0, 0.0, 1.0]]) @ right.intrinsics @ turn.T
    return HandCrop(
        image_rgb=warp_crop(right.image_rgb, to_image, size_px),
        joints_px=apply_affine(to_crop, right.joints_px),
        joints_mm=right.joints_mm @ turn.T,
        joint_valid=right.joint_valid,
        intrinsics=intrinsics,
        image_from_crop=to_image,
    )
