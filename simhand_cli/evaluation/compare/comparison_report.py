"""What a comparison adds to a finished evaluation: ``against-NAME.json`` and a section of its report."""

import hashlib
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.compare.paired import Compared, Comparison, PairedDifference, compare
from simhand_cli.evaluation.compare.record import comparison_record, evaluated_model
from simhand_cli.evaluation.predict.predictions import StoredPredictions, read_predictions
from simhand_cli.evaluation.prepare import EvaluationRun
from simhand_cli.evaluation.score.gallery import TILE_PX, hand_tiles
from simhand_cli.evaluation.score.records import ROWS_2D
from simhand_cli.evaluation.score.score import CURVE_MM, Scale
from simhand_cli.labelled.sample import HandSample, LabelledSet
from simhand_cli.metrics.joint_errors import ROW_TITLES
from simhand_cli.report.page import Cell, Page, put_section
from simhand_cli.report.plots import line_plot
from simhand_cli.report.sheet import Tile, contact_sheet
from simhand_cli.skeleton import JOINT_NAMES
from simhand_cli.workspace.atomic import write_json

#: Samples listed, and pictured, of each kind.
_LISTED: Final = 8
_PICTURED: Final = 3
_HEADER: Final = ("alignment", "this, mm", "other, mm", "difference, mm", "95 % interval", "better on, %", "samples")
_HEADER_2D: Final = ("2D error", "this", "other", "difference", "95 % interval", "better on, %", "samples")
#: What stands on the screen and in the report where no joints are compared in 3D.
ONLY_2D: Final = "labels or predictions are 2D only"


def add_comparison(job: EvaluationRun, other: Path) -> tuple[Compared, Path, dict[str, Any]]:
    """Compare a finished evaluation with another; nothing is predicted or scored anew. The caller holds its lock.

    The JSON file comes first, then the report, each atomically: after a kill the same call writes both again.

    Args:
        job: the finished evaluation.
        other: folder of the one it is measured against.

    Returns:
        the comparison, the path of its JSON file and the file's content.

    Raises:
        InputProblem: the two cannot be compared, or the report is missing.
    """
    config = job.config
    scale = Scale(root=JOINT_NAMES.index(config.root_joint), reflections=config.reflections)
    files = job.folder / "predictions.h5", other / "predictions.h5"
    # Also the key of the report's section: the same comparison again replaces it.
    name = other_name(job.folder, other)
    found = compare(*files, scale, config.bootstrap, config.seed, config.bootstrap_over)
    record = comparison_record(found, scale, job.folder, other)
    path = job.folder / f"against-{name}.json"
    write_json(path, record)
    this, that = (read_predictions(file) for file in files)
    by_label = dict(zip(job.labels, job.sets, strict=True))
    # A set may not be open any more; then there are figures without pictures.
    sheets = [_sheet(by_label.get(one.label), one, this, that) for one in found.sets]
    model = evaluated_model(other)
    about = f"{name} is {other.resolve()}, model {model.get('path', model['kind'])}."
    section = comparison_section(found, name, about, sheets)
    put_section(job.folder / "report.html", f"against-{name}", section)
    return found, path, record


def other_name(this: Path, other: Path) -> str:
    """How the other evaluation is called: two of one name in different workspaces must not replace each other.

    Args:
        this: folder of the evaluation at hand.
        other: folder of the other; one that does not lie beside has a digest of its place added.
    """
    place = other.resolve()
    name = place.name.removeprefix("evaluate-")
    # Beside each other names are unique already.
    if place.parent == this.resolve().parent:
        return name
    return f"{name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def comparison_section(
    found: Compared, name: str, about: str = "", sheets: Sequence[NDArray[np.uint8] | None] = ()
) -> Page:
    """The report's section on one comparison.

    Args:
        found: the differences.
        name: how the other evaluation is called.
        about: what the other evaluation is, in a sentence.
        sheets: for each set, pictures of the samples where most is gained and lost, if there are any.
    """
    page = Page("Comparison")
    page.heading(f"Compared with {name}")
    left_out = f"Not compared, for want of a hand that both evaluated and found: {', '.join(found.left_out)}."
    page.text(
        f"{about} Differences are this evaluation minus the other, sample by sample: negative means that this one is "
        "better. An interval without 0 says that the difference is no accident of the choice of samples. "
        f"{left_out if found.left_out else ''}"
    )
    for one, sheet in zip_longest(found.sets, sheets):
        if len(found.sets) > 1:
            page.heading(f"{one.label}, compared with {name}")
        _add_set(page, one, name, sheet)
    return page


def _add_set(page: Page, found: Comparison, name: str, sheet: NDArray[np.uint8] | None) -> None:
    page.text(
        f"Of {found.evaluated:,} samples of {found.label} that both evaluated, {found.samples:,} in which both found "
        "the hand are compared."
    )
    drawn = f"{found.how.repeats} draws of {found.how.groups} {found.how.unit}s, seed {found.how.seed}"
    rows = [_table_row(one) for one in found.differences]
    what = "MPJPE of both" if found.in_3d else f"Mean 2D error of both ({ONLY_2D})"
    header = _HEADER if found.in_3d else _HEADER_2D
    page.table(header, rows, caption=f"{what} over the same samples, and their difference. Intervals: {drawn}.")
    if found.how.caution:
        page.text(f"Mind the {found.how.caution}.")
    if found.in_3d:
        for alignment in ("root", "procrustes_scale"):
            _add_curves(page, found, alignment, name)
    of_what = "difference of the mean error, mm" if found.in_3d else "difference of the mean 2D error"
    columns = [(found.of(alignment).per_joint, alignment_words(alignment)) for alignment in found.shown]
    joints = [
        [joint.replace("_", " "), *(_rounded(factor * values[j]) for values, (_, _, factor) in columns)]
        for j, joint in enumerate(JOINT_NAMES)
    ]
    header_joints = [of_what, *(title for _, (title, _, _) in columns)]
    page.table(header_joints, joints, caption="By joint; negative: this evaluation is better.")
    _add_extremes(page, found, sheet)


def alignment_words(alignment: str) -> tuple[str, str, float]:
    """How a row is called, its unit, and what its values are multiplied by for that unit."""
    return ROWS_2D[alignment] if alignment in ROWS_2D else (ROW_TITLES[alignment], "mm", 1.0)


def _table_row(one: PairedDifference) -> list[Cell]:
    title, _, factor = alignment_words(one.alignment)
    low, high = (factor * end for end in one.interval)
    lacking = "no interval" if np.isfinite(one.mean) else None
    # With signs: what counts is on which side of 0 both ends are.
    interval = f"{low:+.2f} to {high:+.2f}" if np.isfinite(low) else lacking
    difference = f"{factor * one.mean:+.2f}" if np.isfinite(one.mean) else None
    better = f"{100 * one.better:.0f} %" if np.isfinite(one.better) else None
    means = [_rounded(factor * value) for value in one.means]
    return [title, *means, difference, interval, better, one.samples]


def _add_curves(page: Page, found: Comparison, alignment: Literal["root", "procrustes_scale"], name: str) -> None:
    curves = found.of(alignment).curves
    series = {
        label: (CURVE_MM.tolist(), (100 * curve).tolist())
        for label, curve in zip(("this evaluation", name), curves, strict=True)
    }
    title = f"PCK of both, {ROW_TITLES[alignment]}"
    page.picture(
        line_plot(series, title=title, x_label="threshold, mm", y_label="joints within it, %"),
        caption=f"{title}: share of joints whose error is at most the threshold, over the {found.evaluated:,} samples "
        "that both evaluated; a hand that was not found is a miss.",
    )


def _add_extremes(page: Page, found: Comparison, sheet: NDArray[np.uint8] | None) -> None:
    title, unit, factor = alignment_words(found.ranked_by)
    per_sample = factor * found.of(found.ranked_by).per_sample
    rows: list[list[Cell]] = []
    for what, positions in zip(("gains", "loses"), found.extremes(_LISTED), strict=True):
        for k in positions:
            this, other = (float(value) for value in per_sample[k])
            rows.append([what, found.keys[k], _rounded(this), _rounded(other), _rounded(this - other)])
    if not rows:
        return
    caption = f"Samples on which this evaluation gains and loses most: mean joint error, {title}."
    header = ("", "sample", f"this, {unit}", f"other, {unit}", f"difference, {unit}")
    page.table(header, rows, caption=caption)
    if sheet is not None:
        page.picture(sheet, caption="The first of them: truth, this evaluation, the other.")


def _sheet(
    labelled: LabelledSet | None, found: Comparison, this: StoredPredictions, other: StoredPredictions
) -> NDArray[np.uint8] | None:
    """Pictures of the samples with the largest gains and losses, as far as they can be read."""
    rows, labels = [], []
    _, unit, factor = alignment_words(found.ranked_by)
    # Both ends: gains alone would flatter.
    for what, positions in zip(("gains", "loses"), found.extremes(_PICTURED), strict=True):
        tiles: list[Tile] = []
        for k in positions:
            row, other_row = found.rows[k]
            sample = _sample(labelled, int(this.index[row]), this.sample_ids[row])
            if sample is not None:
                errors = factor * found.of(found.ranked_by).per_sample[k]
                captions = (f"this: {errors[0]:.1f} {unit}", f"other: {errors[1]:.1f} {unit}")
                shown = zip((this.joints_px[row], other.joints_px[other_row]), captions, strict=True)
                tiles += hand_tiles(sample, sample.sample_id, list(shown))
        if tiles:
            rows.append(tiles)
            labels.append(what)
    if not rows:
        return None
    columns = ["truth", "this", "other"] * max(len(row) // 3 for row in rows)
    return contact_sheet(rows, tile_px=TILE_PX, row_labels=labels, column_labels=columns)


def _sample(labelled: LabelledSet | None, index: int, sample_id: str) -> HandSample | None:
    """The sample, if its set is open, its place in it known, and its picture still readable."""
    if labelled is None or not 0 <= index < len(labelled):
        return None
    try:
        sample = labelled[index]
    except InputProblem:
        return None
    # A set that has changed since would show another hand below these figures.
    return sample if sample.sample_id == sample_id else None


def _rounded(value: float) -> float | None:
    """To a hundredth of a millimetre, pixel or per cent."""
    return round(float(value), 2) if np.isfinite(value) else None
