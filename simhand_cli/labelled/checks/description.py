"""What a labelled set holds, in figures."""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.decode_pictures import Pictures
from simhand_cli.labelled.checks.fault import MIN_VALID_JOINTS
from simhand_cli.labelled.checks.joint_order import bone_lengths_mm
from simhand_cli.labelled.checks.labels_2d import MIN_HANDS_FOR_ORDER, extents_px
from simhand_cli.labelled.checks.labels_3d import hand_spans_mm
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet, LabelledSet2D
from simhand_cli.skeleton import FINGERS, MIDDLE_MCP, WRIST

_QUARTERS: Final = (25, 50, 75)
#: More kinds of picture sizes than this are only counted.
_SIZES_NAMED: Final = 3
#: What needs 3D joints.
_IN_3D: Final = (
    "hand span (mm)",
    "wrist to middle knuckle (mm)",
    "bones, wrist outwards (mm)",
    "distance of the wrist (mm)",
)
_CHECKS_IN_3D: Final = "checks of unit, side, depth and K"


def describe(labelled: LabelledSet, details: LabelDetails, pictures: Pictures) -> dict[str, int | str]:
    """Counts and quartiles of a split, in the order they are to be shown; units in the keys.

    Where the reader offers side and camera of some samples only, these lines say of how many.
    """
    joints_mm, joint_valid = labelled.joints()
    if isinstance(labelled, LabelledSet2D):
        valid, hands = joint_valid, _in_pixels(labelled.joints_px(), joint_valid)
    else:
        valid = joint_valid & np.isfinite(joints_mm).all(axis=2)
        hands = _in_millimetres(joints_mm, valid)
    right, some = int(details.right.sum()), len(details.samples) < len(labelled)
    of_some = f" (of {len(details.samples):,} looked at)" if some else ""
    people = set(labelled.subjects)
    return {
        "samples": len(labelled),
        "subjects": "unknown" if people == {UNKNOWN_SUBJECT} else len(people),
        "sequences": len(set(labelled.sequences)) if details.names_sequences else "unknown",
        "cameras": f"{len(set(details.cameras)):,}{of_some}" if details.names_cameras else "unknown",
        "right / left hands": f"{right:,} / {len(details.right) - right:,}{of_some}",
        "joints labelled": f"{valid.mean():.1%}, all 21 in {valid.all(axis=1).mean():.1%} of the samples",
        **hands,
        "picture sizes (px)": _sizes(pictures),
    }


def _in_pixels(joints_px: NDArray[np.float32], valid: NDArray[np.bool_]) -> dict[str, str]:
    """What 2D joints (N, 21, 2) tell of the hands, and what they do not."""
    known = valid & np.isfinite(joints_px).all(axis=2)
    shown = np.where(known[..., None], joints_px, np.nan)[known.any(axis=1)]
    not_known = {**dict.fromkeys(_IN_3D, "not applicable: 2D only"), _CHECKS_IN_3D: "not checked: 2D only"}
    # The same rule as that of the check, or the report would promise one that was not made.
    many = int((known.sum(axis=1) >= MIN_VALID_JOINTS).sum()) >= MIN_HANDS_FOR_ORDER
    order = "by 2D lengths alone" if many else f"not checked: 2D only, fewer than {MIN_HANDS_FOR_ORDER} hands"
    return {
        "larger side of the joints' box (px)": _quartiles(extents_px(shown)),
        **not_known,
        "check of joint order": order,
    }


def _in_millimetres(joints_mm: NDArray[np.float32], valid: NDArray[np.bool_]) -> dict[str, str]:
    """What 3D joints tell of the hands, in the order of :data:`_IN_3D`."""
    # Damaged joints count as absent here; the checks report them.
    spans = hand_spans_mm(np.where(valid[..., None], joints_mm, 0), valid)
    both = valid[:, [WRIST, MIDDLE_MCP]].all(axis=1)
    palm = np.linalg.norm(joints_mm[:, MIDDLE_MCP] - joints_mm[:, WRIST], axis=1)[both]
    depth = joints_mm[valid[:, WRIST], WRIST, 2]
    bones = _bones(bone_lengths_mm(joints_mm, valid))
    return dict(zip(_IN_3D, (_quartiles(spans[spans > 0]), _quartiles(palm), bones, _quartiles(depth)), strict=True))


def _quartiles(values: NDArray[np.floating]) -> str:
    if values.size == 0:
        return "none labelled"
    low, middle, high = np.percentile(values.astype(np.float64), _QUARTERS)
    return f"{middle:.4g} (half of them {low:.4g} to {high:.4g})"


def _bones(lengths_mm: NDArray[np.float64]) -> str:
    """Median lengths by finger; ``BONES`` lists four bones a finger, thumb to little."""
    parts = []
    for finger, own in zip(FINGERS, np.split(lengths_mm, len(FINGERS), axis=1), strict=True):
        # nanmedian warns of columns that are all NaN.
        known = own[:, np.isfinite(own).any(axis=0)]
        medians = np.nanmedian(known, axis=0) if known.shape[1] else np.empty(0)
        parts.append(f"{finger} {' '.join(f'{length:.3g}' for length in medians) or 'none'}")
    return ", ".join(parts)


def _sizes(pictures: Pictures) -> str:
    read = pictures.size_px[pictures.size_px[:, 0] > 0]
    counts = Counter((int(width), int(height)) for width, height in read)
    named = [f"{width}x{height}" for (width, height), _ in counts.most_common(_SIZES_NAMED)]
    more = f" and {len(counts) - len(named)} other sizes" if len(counts) > len(named) else ""
    return f"{', '.join(named) or 'none read'}{more}; {len(read):,} pictures decoded"
