"""A sheet of labelled pictures with their joints drawn in, doubtful ones first."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.geometry import apply_affine, invert_affine, square_around, square_crop, warp_crop
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import Fault
from simhand_cli.labelled.checks.reprojection import share_inside
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, HandSample, LabelledSet, LabelledSet2D
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.sheet import Tile, contact_sheet

_TILE_PX: Final = 192
_COLUMNS: Final = 6
_CROP_SCALE: Final = 1.6
_DOUBTFUL_FRAME: Final = (210, 50, 50)


def choose_shown(
    readable: NDArray[np.int64], faults: list[Fault], count: int, rng: np.random.Generator
) -> list[tuple[int, str]]:
    """Samples to show, each with the kind of its fault ("" if none): examples of every fault, then others at random.

    Args:
        readable: samples whose picture is known to be readable.
        faults: found in the labels.
        count: how many samples to show; at most half of them are examples of faults.
        rng: draws the others.
    """
    shown: dict[int, str] = {}
    # A picture that cannot be read shows nothing.
    kinds = [fault for fault in faults if fault.kind != "picture" and len(fault.samples)]
    # By turns, so that a frequent fault does not crowd out the rare ones.
    for turn in range(count):
        for fault in kinds:
            if turn < len(fault.samples) and len(shown) < (count + 1) // 2:
                shown.setdefault(int(fault.samples[turn]), fault.kind)
    doubtful = {int(index): fault.kind for fault in kinds for index in fault.samples}
    others = [int(index) for index in rng.permutation(readable) if int(index) not in shown]
    shown |= {index: doubtful.get(index, "") for index in others[: max(count - len(shown), 0)]}
    return list(shown.items())


def check_sheet(labelled: LabelledSet, shown: list[tuple[int, str]]) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) of the samples as they are (left hands are not mirrored), with their joints in them.

    The hand is cut out, or the whole picture shown where most joints fall outside it. Doubtful samples are framed red.
    """
    tiles = [_tile(labelled, index, fault) for index, fault in shown]
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    flat = isinstance(labelled, LabelledSet2D)
    title = f"{labelled.name} / {labelled.split}: {'2D labels' if flat else 'labels as projected into the pictures'}"
    return contact_sheet(rows, tile_px=_TILE_PX, title=title)


def _tile(labelled: LabelledSet, index: int, fault: str) -> Tile:
    frame = _DOUBTFUL_FRAME if fault else None
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            sample = labelled[index]
    except InputProblem:
        return Tile(None, f"number {index}\npicture cannot be read", frame)
    person = "" if sample.subject == UNKNOWN_SUBJECT else f", {sample.subject}"
    caption = f"{sample.hand}: {fault}" if fault else sample.hand + person
    return Tile(_drawn(sample), f"{sample.sample_id}\n{caption}", frame)


def _drawn(sample: HandSample) -> NDArray[np.uint8]:
    height, width = sample.image_rgb.shape[:2]
    known = sample.joint_valid & np.isfinite(sample.joints_px).all(axis=1)
    inside = float(share_inside(sample.joints_px[None], known[None], np.array([[width, height]]))[0])
    # A crop around joints that lie elsewhere would show no hand and no reason; the whole picture does.
    if inside > 0.5:
        center, side = square_around(sample.joints_px[known], _CROP_SCALE)
    else:
        center, side = np.array([width - 1, height - 1]) / 2, float(max(width, height))
    # At least 8 px, or a hand whose joints coincide would be a crop of no size.
    image_from_crop = square_crop(center, max(side, 8.0), _TILE_PX)
    crop = warp_crop(sample.image_rgb, image_from_crop, _TILE_PX)
    joints = np.where(known[:, None], sample.joints_px, np.nan)
    return draw_skeleton(crop, apply_affine(invert_affine(image_from_crop), joints), thickness=2)
