"""Tell a right hand from a left one by its 3D joints, whatever its pose and place."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.fault import Fault, by_chunks, nearly_all, rows_where
from simhand_cli.skeleton import FINGERS, WRIST

_INDEX_MCP, _MIDDLE_MCP, _LITTLE_MCP = 5, 9, 17
_THUMB: Final = FINGERS["thumb"]
_KNUCKLES: Final = tuple(FINGERS[finger][0] for finger in ("index", "middle", "ring", "little"))
_TIPS: Final = tuple(FINGERS[finger][-1] for finger in ("index", "middle", "ring", "little"))
_NEEDED: Final = (WRIST, *_THUMB, *_KNUCKLES, *_TIPS)
#: Scores nearer to 0 are not decided.
CLEAR: Final = 0.15
#: With fewer clear hands a set is not judged as a whole.
MIN_HANDS: Final = 5


def right_handedness(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How clearly the joints are a right hand's: above 0 right, below 0 left; a mirrored hand has the negated score.

    The palm's normal is (index knuckle - wrist) x (little knuckle - wrist), which leaves a right hand at the palm's
    side and a left one at its back. The thumb lies at the palm's side and fingers bend to it, so the score is the mean
    height of the thumb's four joints above the plane through wrist, index and little knuckle, plus half the mean height
    of the four fingertips over their knuckles, in lengths of the bone wrist to middle knuckle.

    Measured on 2,399 hands (1,500 poses of the synthetic hand, 408 real hands of one person, 491 triangulated ones of
    two people, whose side was judged by the fit of an open hand): the wrong sign on none, the smallest score 0.15, the
    medians 0.5 to 0.7. With 3 mm of noise on every coordinate still none; with 6 mm 2, neither beyond :data:`CLEAR`.

    It cannot judge hands as flat as a sheet with the thumb beside the palm, nor fingers bent far back: nearer to 0 than
    :data:`CLEAR` nothing is concluded. It knows joints, not pictures: joints mirrored, alone or with their picture, are
    found; a picture mirrored alone is not.

    Args:
        joints_mm: (N, 21, 3) in a right-handed frame (x right, y down, z away from the camera).
        joint_valid: (N, 21).

    Returns:
        (N,) float64; NaN where a joint it needs has no label, or the palm is degenerate.
    """
    joints = joints_mm.astype(np.float64)
    wrist = joints[:, WRIST]
    normal = np.cross(joints[:, _INDEX_MCP] - wrist, joints[:, _LITTLE_MCP] - wrist)
    area, palm = np.linalg.norm(normal, axis=1), np.linalg.norm(joints[:, _MIDDLE_MCP] - wrist, axis=1)
    # A palm without area (wrist and knuckles in a line) has no normal.
    known = joint_valid[:, list(_NEEDED)].all(axis=1) & (area > 0) & (palm > 0)
    # Divided by the palm's length as well: the score of a child's hand and of a grown one's are then alike.
    up = normal / np.where(known, area * palm, 1.0)[:, None]
    thumb = np.einsum("nji,ni->nj", joints[:, list(_THUMB)] - wrist[:, None], up).mean(axis=1)
    tips = np.einsum("nji,ni->nj", joints[:, list(_TIPS)] - joints[:, list(_KNUCKLES)], up).mean(axis=1)
    # Fingertips count half: an open hand's lie in the palm's plane, and those of fingers bent back on its other side.
    return np.where(known, thumb + tips / 2, np.nan)


def side_faults(
    joints_mm: NDArray[np.floating],
    joint_valid: NDArray[np.bool_],
    right: NDArray[np.bool_],
    tested: NDArray[np.bool_],
) -> list[Fault]:
    """Hands that are clearly of the other side than stated.

    Args:
        joints_mm: (N, 21, 3), in the right joint order.
        joint_valid: (N, 21).
        right: (N,) the stated side.
        tested: (N,) samples to judge.
    """
    score = np.where(right, 1.0, -1.0) * by_chunks(right_handedness, joints_mm, joint_valid)
    clear = tested & (np.abs(score) > CLEAR)
    against = clear & (score < 0)
    count, judged = int(against.sum()), int(clear.sum())
    if count == 0:
        return []
    why = "thumb and fingers bend as the other hand's: stated side is wrong, or the joints are mirrored"
    # Single hands are wrong labels; most of them are a mistake of the whole set.
    if judged < MIN_HANDS or count <= judged / 2:
        return [Fault("side", rows_where(against), why, "correct the side, or mirror the joints back")]
    meaning = (
        f"{count} of {judged} clear hands are of the other side than stated: left and right are mixed up, the labels "
        "are mirrored (an axis points the other way), or fingers are numbered from the little one"
    )
    return [Fault("side", rows_where(against), why, meaning, meaning if nearly_all(against, clear) else "")]
