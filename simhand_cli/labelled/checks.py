"""Find labels that cannot be right before anything is trained or measured on them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.summary import Dropped

#: Largest distance between two joints of a real hand, from a baby's fist to a big spread hand, with room.
SPAN_RANGE_MM = (50.0, 300.0)
#: A 3D label is of use only if root and reference bone are there and some of the fingers are.
MIN_VALID_JOINTS = 10


@dataclass(frozen=True)
class LabelCheck:
    """Which samples of a set are usable.

    Attributes:
        usable: (N,) bool.
        dropped: the unusable ones, grouped by reason.
    """

    usable: NDArray[np.bool_]
    dropped: list[Dropped]


def hand_spans_mm(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Largest distance between two valid joints of every hand.

    Args:
        joints_mm: (N, 21, 3).
        joint_valid: (N, 21).

    Returns:
        (N,) float64; 0 where fewer than two joints are valid.
    """
    spans = np.zeros(len(joints_mm))
    for start in range(0, len(joints_mm), 4096):
        joints = joints_mm[start : start + 4096].astype(np.float64)
        valid = joint_valid[start : start + 4096]
        gaps = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)
        pairs = valid[:, :, None] & valid[:, None]
        spans[start : start + 4096] = np.where(pairs, gaps, 0.0).max(axis=(1, 2))
    return spans


def check_labels(labelled: LabelledSet, path: Path, required_joints: tuple[int, ...] = (0, 9)) -> LabelCheck:
    """Check all labels of a set: finite, of human size, enough joints.

    Args:
        labelled: the set.
        path: where it lies, for messages.
        required_joints: joints a sample must have (root and reference bone).

    Returns:
        the usable samples and the reasons for the others.

    Raises:
        InputProblem: no sample is usable; a wrong unit is named as such.
    """
    joints_mm, joint_valid = labelled.joints()
    finite = np.where(joint_valid[..., None], np.isfinite(joints_mm), True).all(axis=(1, 2))
    enough = (joint_valid.sum(axis=1) >= MIN_VALID_JOINTS) & joint_valid[:, list(required_joints)].all(axis=1)
    spans = hand_spans_mm(np.nan_to_num(joints_mm), joint_valid)
    human = (spans >= SPAN_RANGE_MM[0]) & (spans <= SPAN_RANGE_MM[1])
    usable = finite & enough & human
    if not usable.any():
        raise InputProblem(f"--data {path}: {_why_none(spans[finite & enough])}")
    low, high = SPAN_RANGE_MM
    reasons = (
        (~finite, "a joint label is NaN or infinite"),
        (
            finite & ~enough,
            f"fewer than {MIN_VALID_JOINTS} joints labelled, or wrist or middle knuckle not",
        ),
        (finite & enough & ~human, f"hand span outside {low:.0f}-{high:.0f} mm"),
    )
    dropped = [
        Dropped(f"samples of {path}, first: number {int(bad.argmax())}", int(bad.sum()), why)
        for bad, why in reasons
        if bad.any()
    ]
    return LabelCheck(usable, dropped)


def labels_sha256(labelled: LabelledSet) -> str:
    """sha256 of a set's 3D labels: what tells whether results were made with the same data."""
    joints_mm, valid = labelled.joints()
    digest = hashlib.sha256(np.ascontiguousarray(joints_mm).tobytes())
    digest.update(np.ascontiguousarray(valid).tobytes())
    return digest.hexdigest()


def _why_none(spans: NDArray[np.float64]) -> str:
    if spans.size == 0:
        return "no sample has finite labels of wrist, middle knuckle and 10 joints in all"
    low, high = SPAN_RANGE_MM
    median = float(np.median(spans))
    for unit, factor in (("metres", 1000.0), ("centimetres", 10.0)):
        if low <= median * factor <= high:
            return f"the median hand span is {median:.3g} mm: are the labels in {unit}, not millimetres?"
    return f"the median hand span is {median:.3g} mm, and no hand is between {low:.0f} and {high:.0f} mm"
