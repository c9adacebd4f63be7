"""Find labels that cannot be right in a set of 2D joints alone.

Unit, side, depth and projection need 3D and are not judged; the joint order is, roughly.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.fault import MIN_VALID_JOINTS, Fault, nearly_all, rows_where
from simhand_cli.labelled.checks.joint_order import fitting_order, order_fault
from simhand_cli.labelled.checks.reprojection import MOST, outside_faults, share_inside
from simhand_cli.labelled.files.distinct_rows import distinct_rows
from simhand_cli.labelled.label_details import LabelDetails

#: Labelled joints within so many pixels show no hand, and make no crop.
_MIN_EXTENT_PX: Final = 2.0
#: Fewer hands say nothing of the joints' order. Measured on 17 sets of 223 to 6,000 synthetic hands and one of 408
#: real ones in the right order, seen from all sides or from one, fists, open, or with noise: the mismatch of every
#: other order is 0.24 or more (0.2 is asked for), that of the right one 0.10-0.15 where hands are seen from all sides.
#: Seen from one side alone it may be above 0.2 itself, and a wrong order goes unnoticed.
MIN_HANDS_FOR_ORDER: Final = 50
#: What it comes from where 2D joints fall outside the picture, and what is wrong where nearly all do.
_OUT: Final = (
    "pictures resized or cropped without their joints, or a hand out of view",
    "the joints do not fall into the pictures",
)


def faults_2d(
    joints_px: NDArray[np.float64],
    valid: NDArray[np.bool_],
    recordings: Sequence[str],
    details: LabelDetails,
    size_px: NDArray[np.int64],
) -> list[Fault]:
    """All mistakes in the 2D labels of a set; a later check looks only at samples in which no earlier one failed.

    Args:
        joints_px: (N, 21, 2).
        valid: (N, 21).
        recordings: N names.
        details: of all samples.
        size_px: (N, 2) width and height of their pictures, 0 where unknown.
    """
    finite = np.asarray((np.isfinite(joints_px).all(axis=2) | ~valid).all(axis=1))
    enough = valid.sum(axis=1) >= MIN_VALID_JOINTS
    complete = finite & enough
    # Numbers of unlabelled joints mean nothing (0, -1 or a guess), so they are blanked before anything is measured.
    shown = np.where((valid & complete[:, None])[..., None], joints_px, np.nan)
    small = np.zeros(len(shown), bool)
    # Others are all NaN, of which nanmax warns.
    small[complete] = extents_px(shown[complete]) < _MIN_EXTENT_PX
    nothing = "" if complete.any() else f"no sample has finite labels of {MIN_VALID_JOINTS} joints"
    point = "nearly all hands are points: are the joints in pixels?" if nearly_all(small, complete) else ""
    few = f"fewer than {MIN_VALID_JOINTS} joints labelled"
    spot = f"all joints within {_MIN_EXTENT_PX:.0f} px"
    found = (
        ("not-finite", ~finite, ("a joint label is NaN or infinite", "", nothing)),
        ("too-few", finite & ~enough, (few, "", nothing)),
        ("point", small, (spot, "a hand too small to see, or a damaged label", point)),
    )
    faults = [Fault(kind, rows_where(bad), *told) for kind, bad, told in found if bad.any()]
    sound = complete & ~small
    faults += _order_faults(shown, valid, sound)
    faults += outside_faults(details.samples, share_inside(joints_px, valid, size_px), size_px, sound, _OUT)
    if details.box_xyxy_px is not None:
        faults += _box_faults(joints_px, valid, details.box_xyxy_px, sound)
    return faults + _repeated(shown, recordings, sound)


def extents_px(joints_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Larger sides (N,) of the boxes around joints (N, 21, 2), NaN where unlabelled, but not all of a hand."""
    return np.asarray((np.nanmax(joints_px, axis=1) - np.nanmin(joints_px, axis=1)).max(axis=1))


def _order_faults(shown: NDArray[np.float64], valid: NDArray[np.bool_], sound: NDArray[np.bool_]) -> list[Fault]:
    """Joints of the whole set in another known order, told by the medians of lengths in hands brought to one size.

    Foreshortening evens out over many views. Lengths that fit no order prove nothing in 2D, and are let pass.
    """
    rows = rows_where(sound)
    if len(rows) < MIN_HANDS_FOR_ORDER:
        return []
    centred = shown[rows] - np.nanmean(shown[rows], axis=1, keepdims=True)
    # In 2D a hand's size is mostly its distance; brought to one size, lengths can be compared over hands.
    spread = np.sqrt(np.nanmean((centred**2).sum(axis=2), axis=1))
    order = fitting_order(centred / spread[:, None, None], valid[rows])
    return [order_fault(rows, order)] if order else []


def _box_faults(
    joints_px: NDArray[np.float64],
    valid: NDArray[np.bool_],
    box_xyxy_px: NDArray[np.floating],
    sound: NDArray[np.bool_],
) -> list[Fault]:
    """Hands with more than half of their labelled joints outside the box that the labels state."""
    low, high = box_xyxy_px[:, None, :2] - 1, box_xyxy_px[:, None, 2:] + 1  # a pixel for rounding
    inside = ((joints_px >= low) & (joints_px <= high)).all(axis=2) & valid
    away = sound & (inside.sum(axis=1) < (1 - MOST) * valid.sum(axis=1))
    if not away.any():
        return []
    why = "more than half of the joints lie outside the hand's box"
    cause = "box and joints are of different hands, or the box is not x, y, width, height"
    refusal = f"{why}: {cause}" if nearly_all(away, sound) else ""
    return [Fault("box", rows_where(away), why, cause, refusal)]


def _repeated(shown: NDArray[np.float64], recordings: Sequence[str], sound: NDArray[np.bool_]) -> list[Fault]:
    """Hands whose joints are, to the bit, those of an earlier hand of the same recording: one hand labelled twice."""
    rows = rows_where(sound)
    if not len(rows):
        return []
    # Only within a recording: hands of two recordings that are equal to the bit are no hands, but defaults.
    _, recording = np.unique(np.asarray(recordings, np.str_)[rows], return_inverse=True)
    # To the bit: still hands filmed twice differ in the last digits, copied labels do not.
    first, kind = distinct_rows(np.column_stack([recording.astype(np.float64), shown[rows].reshape(len(rows), -1)]))
    again = rows[first[kind] != np.arange(len(rows))]
    if not len(again):
        return []
    why = "the same joints as another hand of its recording or picture"
    return [Fault("repeated", again, why, "one hand is labelled twice, perhaps as left and right")]
