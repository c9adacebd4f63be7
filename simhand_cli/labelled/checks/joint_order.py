"""Tell from bone lengths whether 21 joints stand in simhand's order, and in which other order they might stand.

Lengths between neighbouring joints do not change with the pose. In the right order the bones of a finger get shorter
outwards (but the last one, which ends at the skin, may be as long as the one before), the wrist lies far from four
knuckles and near the thumb's base, and neighbouring knuckles are about 22 mm apart. In another order this cannot be so.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.fault import Fault, by_chunks, rows_where
from simhand_cli.skeleton import BONES, FINGERS, WRIST

#: Length of a bone that a real hand can have, in mm. Over 4,000 synthetic people, children included, 8.4 to 117.6.
BONE_RANGE_MM: Final = (5.0, 120.0)
#: Neighbouring knuckles of the four fingers.
_KNUCKLES: Final = ((5, 9), (9, 13), (13, 17))
_LENGTHS: Final = np.array((*BONES, *_KNUCKLES))
#: Typical lengths in mm, thumb to little, wrist outwards, then the knuckles' distances: about the medians of four sets
#: (synthetic hands, hand_graph_cnn's real ones, two triangulated recordings). Only their ratios are used.
_TYPICAL_MM: Final = (
    38, 35, 32, 24,  94, 44, 26, 22,  92, 48, 28, 22,  87, 44, 26, 22,  84, 34, 19, 18,  24, 22, 21,
)  # fmt: skip
#: Fewer measured lengths say nothing.
_MIN_LENGTHS: Final = 15
#: Mismatch (see :func:`mismatch`) of a set's median lengths. Measured: 0.06-0.14 in the right order, 0.23-0.68 in the
#: orders below, 0.41 for random points.
_SUSPICIOUS: Final = 0.2
_NO_HAND: Final = 0.35
#: To be named, another order must fit this much better, and look like a hand itself.
_BETTER: Final = 0.7
#: Mismatch of a single sample. Measured: at most 0.27 on 2,399 hands, 0.32 with noise of 3 mm per coordinate added.
SAMPLE_MISMATCH: Final = 0.35

_FINGERS: Final = tuple(list(joints) for joints in FINGERS.values())
_PHALANGES: Final = [[finger[k] for finger in _FINGERS] for k in range(4)]


def _joined(*parts: list[int]) -> tuple[int, ...]:
    return tuple(joint for part in parts for joint in part)


def _mano() -> tuple[int, ...]:
    thumb, index, middle, ring, little = _FINGERS
    inner = [finger[:3] for finger in (index, middle, little, ring, thumb)]
    return _joined([WRIST], *inner, [finger[3] for finger in _FINGERS])


#: Orders in use elsewhere: a name, and which of simhand's joints stands at each place.
KNOWN_ORDERS: Final[dict[str, tuple[int, ...]]] = {
    "MANO's order (wrist, index, middle, little, ring, thumb, then the five tips)": _mano(),
    "tip first (wrist, then each finger from tip to palm, as in RHD)": _joined([WRIST], *(f[::-1] for f in _FINGERS)),
    "tip first with the wrist last (as in InterHand2.6M and AssemblyHands)": _joined(
        *(f[::-1] for f in _FINGERS), [WRIST]
    ),
    "the wrist last (thumb to little, each from palm to tip, then the wrist)": _joined(*_FINGERS, [WRIST]),
    "the fingers interleaved (wrist, five knuckles, then the next joints of all fingers)": _joined(
        [WRIST], *_PHALANGES
    ),
    "the fingers interleaved, tips first (wrist, five tips, ..., five knuckles)": _joined([WRIST], *_PHALANGES[::-1]),
    "the five knuckles first, then finger by finger (as in FPHA and BigHand2.2M)": _joined(
        [WRIST], _PHALANGES[0], *(f[1:] for f in _FINGERS)
    ),
    "the little finger first (wrist, little to thumb)": _joined([WRIST], *_FINGERS[::-1]),
    "the little finger first, tip first": _joined([WRIST], *(f[::-1] for f in _FINGERS[::-1])),
    "the thumb last (wrist, index to little, thumb)": _joined([WRIST], *_FINGERS[1:], _FINGERS[0]),
}


def reordering(order: tuple[int, ...]) -> NDArray[np.int64]:
    """Which place of an order to take for each of simhand's joints: ``joints = stored[reordering(order)]``."""
    return np.argsort(np.asarray(order, np.int64))


def bone_lengths_mm(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lengths (N, 20) of the bones, in the order of ``skeleton.BONES``; NaN where an end has no label."""
    return _distances_mm(joints_mm, joint_valid, np.array(BONES))


def _distances_mm(
    joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    a, b = pairs.T

    def distances(joints: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        # In double: in float32 bones of a hand a metre away lose their last digits.
        lengths = np.linalg.norm(joints[:, b].astype(np.float64) - joints[:, a], axis=-1)
        return np.where(valid[:, a] & valid[:, b], lengths, np.nan)

    return by_chunks(distances, joints_mm, joint_valid)


def lengths_mm(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lengths (N, 23): the bones, then the distances of neighbouring knuckles; NaN where there is no label."""
    return _distances_mm(joints_mm, joint_valid, _LENGTHS)


def mismatch(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unlike a hand's the proportions of some lengths are.

    Mean absolute deviation of log(length / typical length) from its median, so that the hand's size, and thereby the
    unit, does not count: 0.1 means that lengths are 10 % off their typical proportion on average.

    Args:
        lengths: (..., 23) as of :func:`lengths_mm`.

    Returns:
        (...) float64; NaN where fewer than 15 lengths are known.
    """
    # Logarithms, so that twice and half the typical length are equally far off.
    ratio = np.log(np.maximum(lengths, 1e-6)) - np.log(np.array(_TYPICAL_MM, np.float64))
    enough = np.isfinite(ratio).sum(axis=-1) >= _MIN_LENGTHS
    # Rows that are not judged become NaN in the end; 0 keeps nanmedian from warning of them.
    ratio = np.where(enough[..., None], ratio, 0.0)
    # The median takes the hand's size away, and unlike the mean is not moved by the few lengths that are wrong.
    off = np.abs(ratio - np.nanmedian(ratio, axis=-1, keepdims=True))
    return np.where(enough, np.nanmean(off, axis=-1), np.nan)


def fitting_order(joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_]) -> str | None:
    """Whether a set's joints stand in another order than simhand's, judged by the medians of their lengths.

    Args:
        joints_mm: (N, 21, 3) finite where valid; any unit. Or (N, 21, 2), hands of one size, seen from many sides.
        joint_valid: (N, 21).

    Returns:
        None if the order looks right or cannot be judged; a key of :data:`KNOWN_ORDERS` that fits; "" if none does.
        An order that only swaps fingers of like size (index and little, middle and ring) is not told from the right
        one by lengths; it mirrors the palm and is met in the check of left and right.
    """
    stated = _set_mismatch(lengths_mm(joints_mm, joint_valid))
    if not stated > _SUSPICIOUS:
        return None
    found = {}
    for name, order in KNOWN_ORDERS.items():
        taken = reordering(order)
        found[name] = _set_mismatch(_distances_mm(joints_mm, joint_valid, taken[_LENGTHS]))
    best = min(found, key=lambda name: np.inf if np.isnan(found[name]) else found[name])
    # Naming a wrong order would have the user mix up good labels, so it must be a hand and clearly better.
    if found[best] < min(_SUSPICIOUS, _BETTER * stated):
        return best
    # Between the two limits: odd hands (children, one person), but no proof of a mistake.
    return "" if stated > _NO_HAND else None


def _set_mismatch(lengths: NDArray[np.float64]) -> float:
    # Medians over all hands: single misplaced joints do not move them.
    medians = [float(np.median(own[known])) if (known := np.isfinite(own)).any() else np.nan for own in lengths.T]
    return float(mismatch(np.array(medians)))


def order_fault(rows: NDArray[np.int64], order: str) -> Fault:
    """The whole set's joints stand in another order; ``order`` as of :func:`fitting_order`."""
    taken = f"take them as joints[:, {reordering(KNOWN_ORDERS[order]).tolist()}]" if order else ""
    looks = f"the joints look like {order}" if order else "the bones are no hand's in any order simhand knows"
    why = f"{looks}, not like wrist, then thumb to little, each from palm to tip"
    return Fault("joint-order", rows, why, taken, f"{why}{'; ' + taken if taken else ''}")


def order_faults(
    joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_], tested: NDArray[np.bool_]
) -> list[Fault]:
    """A wrong order of the whole set, or single samples whose bones are no hand's.

    Args:
        joints_mm: (N, 21, 3).
        joint_valid: (N, 21).
        tested: (N,) samples that are finite, of human size and complete enough.
    """
    if not tested.any():
        return []
    rows = rows_where(tested)
    joints_mm, joint_valid = joints_mm[tested], joint_valid[tested]
    # The whole set first: in a wrong order every single hand would be reported.
    order = fitting_order(joints_mm, joint_valid)
    if order is not None:
        return [order_fault(rows, order)]
    lengths = lengths_mm(joints_mm, joint_valid)
    low, high = BONE_RANGE_MM
    bones = lengths[:, : len(BONES)]
    impossible = ((bones < low) | (bones > high)).any(axis=1)
    # Each hand has one fault, the plainer one first.
    unlike = ~impossible & (by_chunks(mismatch, lengths) > SAMPLE_MISMATCH)
    faults = []
    if impossible.any():
        why = f"a bone is shorter than {low:.0f} mm or longer than {high:.0f} mm"
        faults.append(Fault("bones", rows[impossible], why, "a joint is misplaced, or two are swapped"))
    if unlike.any():
        why = "the bones' proportions are no hand's"
        faults.append(Fault("proportions", rows[unlike], why, "joints are misplaced or in another order"))
    return faults
