"""Best, median and worst samples of a set, truth and prediction side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.geometry import apply_affine, invert_affine, warp_crop
from simhand_cli.evaluation.predict.predict_set import evaluation_crop
from simhand_cli.evaluation.predict.predictions import SetPredictions
from simhand_cli.evaluation.score.score import Scale, SetScore
from simhand_cli.labelled.sample import HandSample, LabelledSet
from simhand_cli.metrics.alignment import root_bone_scale
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.plots import hand_3d_plot
from simhand_cli.report.sheet import Tile, contact_sheet

#: Side of a sample's picture on a sheet.
TILE_PX: Final = 192
_CROP_SCALE: Final = 1.5
_TRUTH_FRAME: Final = (60, 160, 80)


@dataclass(frozen=True)
class Chosen:
    """Rows of the predictions that are shown, by rank of the mean joint error after root + bone scale alignment.

    Where labels or predictions are 2D only, by the mean 2D error.

    Attributes:
        best: rows with the smallest errors, best first.
        median: rows around the median.
        worst: rows with the largest errors, worst first; samples without any prediction come before all others.
        errors: (N,) the errors they were ranked by; NaN where nothing was found.
        unit: of the errors: "mm", or "px" where they are those of the 2D joints.
    """

    best: list[int]
    median: list[int]
    worst: list[int]
    errors: NDArray[np.float64]
    unit: str

    def groups(self) -> list[tuple[str, list[int]]]:
        """(name, rows) of the groups."""
        return [("best", self.best), ("median", self.median), ("worst", self.worst)]


def choose(predictions: SetPredictions, score: SetScore, each: int) -> Chosen:
    """Pick ``each`` samples a group; with few samples the groups are smaller and never overlap."""
    errors, unit = score.by_alignment["root_bone_scale"].per_sample, "mm"
    if score.pixels is not None and not score.in_3d:
        errors, unit = score.pixels.per_sample, "px"
    # Stable: the same evaluation shows the same pictures.
    ranked = np.argsort(np.where(np.isfinite(errors), errors, np.inf), kind="stable")
    scored = [int(i) for i in ranked if np.isfinite(errors[i])]
    # Without a prediction is worse than any; without a label to compare with is not shown at all.
    missed = [int(i) for i in ranked if not np.isfinite(errors[i]) and not predictions.found[i]]
    # A third each at most, so that no sample is both among the best and the worst.
    each = min(each, max(1, len(scored) // 3))
    # Missed hands show what is not found, not how wrong predictions get: half the places at most.
    missed = missed[: max(each // 2, each - len(scored), 1)]
    worst = [*missed, *scored[::-1]][:each]
    rest = [i for i in scored if i not in set(worst)]
    best = rest[:each]
    rest = rest[len(best) :]
    # The median's place among what is left, moved where too few follow it.
    middle = max(0, min(len(scored) // 2 - len(best) - each // 2, len(rest) - each))
    return Chosen(best, rest[middle : middle + each], worst, errors, unit)


def gallery_sheet(labelled: LabelledSet, predictions: SetPredictions, chosen: Chosen) -> NDArray[np.uint8]:
    """One row a group: for each sample the truth (framed green) and then the prediction, error below."""
    rows = [[t for i in group for t in _pair(labelled, predictions, i, chosen)] for _, group in chosen.groups()]
    names = [f"{name}" for name, _ in chosen.groups()]
    columns = ["truth", "prediction"] * max(len(row) // 2 for row in rows)
    ranked_by = "mean joint error, root + bone scale aligned" if chosen.unit == "mm" else "mean 2D error"
    title = f"{predictions.label}: {ranked_by}"
    kept = [(row, name) for row, name in zip(rows, names, strict=True) if row]
    return contact_sheet(
        [row for row, _ in kept],
        tile_px=TILE_PX,
        row_labels=[name for _, name in kept],
        column_labels=columns,
        title=title,
    )


def gallery_3d(predictions: SetPredictions, chosen: Chosen, scale: Scale) -> list[tuple[str, NDArray[np.uint8]]]:
    """(caption, picture) of truth and prediction in 3D for the best, median and worst sample that was found.

    It is the first of its group with all joints labelled; a group without one has no picture.
    """
    pictures: list[tuple[str, NDArray[np.uint8]]] = []
    if chosen.unit != "mm":
        return pictures
    valid = predictions.valid_mm
    for name, group in chosen.groups():
        # A skeleton with missing joints looks like a wrong one.
        row = next((i for i in group if predictions.found[i] and valid[i].all()), None)
        if row is None:
            continue
        truth = predictions.truth_mm[row : row + 1]
        moved = root_bone_scale(
            predictions.relative_mm[row : row + 1],
            truth,
            valid[row : row + 1],
            root=scale.root,
            bone=scale.bone,
        ).joints_mm
        # Around the root: half a metre of distance would leave a dot in the picture.
        origin = truth[0, scale.root]
        picture = hand_3d_plot({"truth": truth[0] - origin, "prediction": moved[0] - origin})
        caption = f"{name}: {predictions.sample_ids[row]}, {chosen.errors[row]:.1f} {chosen.unit}"
        pictures.append((caption, picture))
    return pictures


def _pair(labelled: LabelledSet, predictions: SetPredictions, row: int, chosen: Chosen) -> Sequence[Tile]:
    sample = labelled[int(predictions.index[row])].as_right()
    label = sample.sample_id + ("\nleft, shown mirrored" if predictions.mirrored[row] else "")
    if not predictions.found[row]:
        return hand_tiles(sample, label, [(None, "no hand found")])
    return hand_tiles(sample, label, [(predictions.joints_px[row], f"{chosen.errors[row]:.1f} {chosen.unit}")])


def hand_tiles(
    sample: HandSample, label: str, predictions: Sequence[tuple[NDArray[np.float64] | None, str]]
) -> list[Tile]:
    """Tiles of the truth, framed green, and of predictions of the same sample.

    Args:
        sample: the sample, in the frame of its predictions.
        label: text below the truth.
        predictions: (21, 2) joints in the image, or None where nothing was found, and the text below.
    """
    image_from_crop = evaluation_crop(sample, _CROP_SCALE, TILE_PX)
    crop = warp_crop(sample.image_rgb, image_from_crop, TILE_PX)
    crop_from_image = invert_affine(image_from_crop)
    truth_px = apply_affine(crop_from_image, sample.joints_px)
    tiles = [Tile(draw_skeleton(crop, truth_px, joint_valid=sample.joint_valid, thickness=2), label, _TRUTH_FRAME)]
    for joints_px, caption in predictions:
        drawn = crop
        if joints_px is not None:
            drawn = draw_skeleton(crop, apply_affine(crop_from_image, joints_px), thickness=2)
        tiles.append(Tile(drawn, caption))
    return tiles
