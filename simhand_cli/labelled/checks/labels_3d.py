"""Find labels that cannot be right before anything is trained or measured on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.chirality import side_faults
from simhand_cli.labelled.checks.decode_pictures import known_sizes, look_at_pictures
from simhand_cli.labelled.checks.fault import MIN_VALID_JOINTS, Fault, by_chunks, nearly_all, rows_where
from simhand_cli.labelled.checks.joint_order import order_faults
from simhand_cli.labelled.checks.labels_2d import faults_2d
from simhand_cli.labelled.checks.reprojection import OUTSIDE, depth_faults, projection_faults
from simhand_cli.labelled.label_details import LabelDetails, label_details, spread
from simhand_cli.labelled.sample import LabelledSet, LabelledSet2D
from simhand_cli.summary import Dropped

#: Largest distance between two joints of a real hand, from a baby's fist to a big spread hand, with room.
SPAN_RANGE_MM = (50.0, 300.0)
#: Pictures decoded to learn their size before training or evaluating: some spread over the set, and one of each of the
#: most frequent cameras.
_LOOKED_AT: Final = 8
_CAMERAS_LOOKED_AT: Final = 24
#: Hands whose distances of all pairs of joints are in memory at a time.
_SPANS_AT_ONCE: Final = 512


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
        joints_mm: (N, 21, 3); NaN counts as 0.
        joint_valid: (N, 21).

    Returns:
        (N,) float64; 0 where fewer than two joints are valid.
    """
    spans = np.zeros(len(joints_mm))
    for start in range(0, len(joints_mm), _SPANS_AT_ONCE):
        # NaN would make the maximum NaN; the pairs are masked below.
        joints = np.nan_to_num(joints_mm[start : start + _SPANS_AT_ONCE].astype(np.float64))
        valid = joint_valid[start : start + _SPANS_AT_ONCE]
        # All pairs, not the box: a hand's span must not change with its rotation.
        gaps = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)
        pairs = valid[:, :, None] & valid[:, None]
        spans[start : start + _SPANS_AT_ONCE] = np.where(pairs, gaps, 0.0).max(axis=(1, 2))
    return spans


def check_labels(
    labelled: LabelledSet, path: Path, required_joints: tuple[int, ...] = (0, 9), keep_out_of_view: bool = False
) -> LabelCheck:
    """Check all labels of a set: finite, of human size, enough joints, in order, of the stated side, in the picture.

    Of a set that is 2D only, what 2D joints tell.

    Args:
        labelled: the set; a few of its pictures are decoded to learn their size.
        path: where it lies, for messages.
        required_joints: joints a sample must have (root and reference bone).
        keep_out_of_view: hands that are mostly outside their pictures stay: published test sets count them.

    Returns:
        the usable samples and the reasons for the others; nothing is put in the place of an unusable one.

    Raises:
        InputProblem: no sample is usable, or (nearly) all labels have the same mistake; which one is named.
    """
    details = label_details(labelled)
    pictures = look_at_pictures(labelled, _to_look_at(len(labelled), details), Ticker())
    faults = find_faults(labelled, details, known_sizes(pictures, details), required_joints)
    # The first refusal is the most basic one: find_faults goes from unit over order and side to projection.
    if refusal := next((fault.refusal for fault in faults if fault.refusal), ""):
        raise InputProblem(f"--data {path}: {refusal}; 'simhand data check {path}' shows more")
    usable = np.ones(len(labelled), bool)
    dropped = []
    for fault in faults:
        if keep_out_of_view and fault.kind == OUTSIDE:
            continue
        left = fault.samples[usable[fault.samples]]  # each sample is counted once
        usable[left] = False
        if len(left):
            dropped.append(Dropped(f"samples of {path}, first: number {left[0]}", len(left), fault.why))
    if not usable.any():
        raise InputProblem(f"--data {path}: no sample is usable; 'simhand data check {path}' says why")
    return LabelCheck(usable, dropped)


def _to_look_at(count: int, details: LabelDetails) -> NDArray[np.int64]:
    """Samples whose pictures tell the size of most others: pictures with the same K have the same size."""
    if details.size_px is not None and (details.size_px > 0).all():
        return spread(count, _LOOKED_AT)
    first, camera = details.lenses()
    # A set may have a camera of its own for each picture; the frequent ones say most for the time.
    frequent = np.argsort(-np.bincount(camera), kind="stable")[:_CAMERAS_LOOKED_AT]
    return np.union1d(spread(count, _LOOKED_AT), details.samples[first[frequent]])


def find_faults(
    labelled: LabelledSet,
    details: LabelDetails,
    size_px: NDArray[np.int64],
    required_joints: tuple[int, ...] = (0, 9),
) -> list[Fault]:
    """All mistakes in the labels of a set; a later check looks only at samples in which no earlier one failed.

    Args:
        labelled: the set; only its labels are read.
        details: side, K and 2D joints of its samples.
        size_px: width and height of the pictures of the detailed samples, 0 where unknown.
        required_joints: joints a sample must have; of a set that is 2D only none in particular.
    """
    joints_mm, joint_valid = labelled.joints()
    if isinstance(labelled, LabelledSet2D):
        return faults_2d(labelled.joints_px().astype(np.float64), joint_valid, labelled.sequences, details, size_px)
    faults = plain_faults(joints_mm, joint_valid, required_joints)
    sound = _without(np.ones(len(joints_mm), bool), faults)
    if any(fault.refusal for fault in faults):
        return faults  # in another unit nothing else can be judged
    # NaN of unlabelled joints would spread through means and cross products of the checks.
    joints_mm = np.where(joint_valid[..., None], joints_mm, np.float32(0))
    order = order_faults(joints_mm, joint_valid, sound)
    behind = depth_faults(joints_mm, joint_valid, sound)
    faults += order + behind
    if not any(fault.refusal for fault in order):
        # With joints in another order, thumb and knuckles are not where the sides are told apart.
        right = np.zeros(len(joints_mm), bool)
        right[details.samples] = details.right
        # Where a reader gives the details of 64 samples only, the side of the others is not known here.
        stated = np.isin(np.arange(len(joints_mm)), details.samples)
        faults += side_faults(joints_mm, joint_valid, right, stated & _without(sound, order))
    return faults + projection_faults(joints_mm, joint_valid, details, size_px, _without(sound, behind))


def _without(tested: NDArray[np.bool_], faults: list[Fault]) -> NDArray[np.bool_]:
    left = tested.copy()
    for fault in faults:
        left[fault.samples] = False
    return left


def plain_faults(
    joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_], required_joints: tuple[int, ...]
) -> list[Fault]:
    """Labels that are not finite, too few, or of no human size; a wrong unit is named.

    Args:
        joints_mm: (N, 21, 3).
        joint_valid: (N, 21).
        required_joints: joints a sample must have.
    """
    finite = by_chunks(_finite, joints_mm, joint_valid)
    enough = (joint_valid.sum(axis=1) >= MIN_VALID_JOINTS) & joint_valid[:, list(required_joints)].all(axis=1)
    # The largest of 210 distances: one misplaced joint is enough to show.
    spans = hand_spans_mm(joints_mm, joint_valid)
    low, high = SPAN_RANGE_MM
    alien = (spans < low) | (spans > high)
    complete = np.asarray(finite & enough)
    size = _why_size(spans[complete]) if nearly_all(alien, complete) else ""
    nothing = "" if complete.any() else "no sample has finite labels of wrist, middle knuckle and 10 joints in all"
    few = f"fewer than {MIN_VALID_JOINTS} joints labelled, or wrist or middle knuckle not"
    return [
        Fault(kind, rows_where(bad), why, meaning, refusal)
        for kind, bad, why, meaning, refusal in (
            ("not-finite", ~finite, "a joint label is NaN or infinite", "", nothing),
            ("too-few", finite & ~enough, few, "in labels.jsonl a joint without label is null, not NaN", nothing),
            ("span", complete & alien, f"hand span outside {low:.0f}-{high:.0f} mm", size or "a damaged label", size),
        )
        if bad.any()
    ]


def _finite(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray((np.isfinite(joints_mm).all(axis=2) | ~joint_valid).all(axis=1))


def _why_size(spans: NDArray[np.float64]) -> str:
    low, high = SPAN_RANGE_MM
    median = float(np.median(spans))
    # Only units that make the median a hand's: "in metres?" would be a bad guess for other damage.
    for unit, factor in (("metres", 1000.0), ("centimetres", 10.0)):
        if low <= median * factor <= high:
            return f"the median hand span is {median:.3g} mm: are the labels in {unit}, not millimetres?"
    return f"the median hand span is {median:.3g} mm, and hands are between {low:.0f} and {high:.0f} mm"


def verdict(command: str, samples: int, missing: int, faults: Sequence[Fault]) -> str:
    """One clause: the command refuses the set, and why, or how many samples it leaves out.

    Agrees with :func:`check_labels`, and counts pictures that cannot be decoded too.

    Args:
        command: ``finetune``, or ``evaluate``, which keeps hands outside their pictures; with its flags.
        samples: of the split.
        missing: left out on opening it already.
        faults: of labels and pictures.
    """
    # As check_labels, which decodes too few pictures to judge their sizes.
    kept = ("picture-size", OUTSIDE) if command.split()[0] == "evaluate" else ("picture-size",)
    out = np.zeros(samples, bool)
    for fault in faults:
        if fault.kind not in kept:
            out[fault.samples] = True
    refusal = next((fault.refusal for fault in faults if fault.refusal), "no sample is usable" if out.all() else "")
    if refusal:
        return f"'simhand {command}' refuses this set: {refusal}"
    return f"'simhand {command}' leaves out {int(out.sum()) + missing:,} of {samples + missing:,} samples"
