"""Scores as self-describing JSON records and as the rows of tables."""

import math
from typing import Any, Final

from simhand_cli.evaluation.score.score import CURVE_MM, AlignedScore, SetScore, finger_means
from simhand_cli.metrics.bootstrap import Resampling
from simhand_cli.metrics.joint_errors import (
    AUC_0_20_BOX,
    AUC_0_30_PX,
    AUC_0_50,
    AUC_20_50,
    ROW_TITLES,
    Thresholds,
    finite_or_none,
)
from simhand_cli.skeleton import JOINT_NAMES

METRICS_SCHEMA: Final = "simhand.metrics"
METRICS_VERSION: Final = 1

_THRESHOLDS: Final = {t.name: t for t in (AUC_20_50, AUC_0_50, AUC_0_30_PX, AUC_0_20_BOX)}
#: Measure of 2D joints -> how tables call it, its short unit, and what its values are multiplied by for that.
ROWS_2D: Final[dict[str, tuple[str, str, float]]] = {
    "2d_px": ("px of the picture", "px", 1.0),
    "2d_box": ("% of the hand's extent", "%", 100.0),
}
_HEADER_2D: Final = ("2D error", "mean", "95 % interval", "median", "AUC 0-30 px, 0-20 %")
_HEADER: Final = ("alignment", "MPJPE mm", "95 % interval", "median mm", "AUC 20-50 mm", "AUC 0-50 mm")


def set_record(score: SetScore, how: Resampling) -> dict[str, Any]:
    """Everything measured on one set; each figure repeats the conditions it was taken under."""
    figures = [figure for one in score.all_scores() for figure in _figures(one, how)]
    curves = [
        {
            "metric": "pck",
            **one.conditions,
            "thresholds_mm": CURVE_MM.tolist(),
            "values": [finite_or_none(v) for v in one.curve],
        }
        for one in score.by_alignment.values()
    ]
    return {
        "set": score.set_name,
        "split": score.split,
        "label": score.label,
        "samples": score.samples,
        "hands_found": score.found,
        "not_found_count_as": "misses in PCK and AUC; left out of means and medians",
        "figures": figures,
        "curves": curves,
    }


def _figures(score: AlignedScore, how: Resampling) -> list[dict[str, Any]]:
    def record(metric: str, value: Any, interval: tuple[float, float] | None = None, **more: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {"metric": metric, "value": value, **score.conditions, **more}
        if interval is not None:
            entry["interval"] = {
                "low": finite_or_none(interval[0]),
                "high": finite_or_none(interval[1]),
                **how.describe(),
            }
        return entry

    joints = {name: finite_or_none(value) for name, value in zip(JOINT_NAMES, score.per_joint, strict=True)}
    fingers = {name: finite_or_none(value) for name, value in finger_means(score.per_joint).items()}
    # MPJPE is a 3D term; in pixels the same mean goes by another name.
    mean_name = "mpjpe" if score.conditions["unit"] == "mm" else "mean_joint_error"
    average = "mean over joints of the mean over samples"
    return [
        record(mean_name, finite_or_none(score.mean), score.intervals["mpjpe"], averaging=average),
        record("median_joint_error", finite_or_none(score.median), averaging="median of all joint errors"),
        *(
            record("pck_auc", finite_or_none(area), score.intervals[name], name=name, thresholds=_thresholds(name))
            for name, area in score.areas.items()
        ),
        record("mean_error_per_joint", joints),
        record("mean_error_per_finger", fingers),
    ]


def _thresholds(name: str) -> dict[str, Any]:
    t: Thresholds = _THRESHOLDS[name]
    return {
        "low": t.low,
        "high": t.high,
        "steps": t.steps,
        "unit": t.unit,
        "comparison": "<=",
        "integration": "trapezoid, divided by high - low, mean over joints",
    }


def set_table(score: SetScore) -> tuple[list[str], list[list[str | float | None]]]:
    """Header and rows, one an alignment; figures that could not be taken are None.

    A last column says on how many samples means and medians were taken, where a row lacks some of the set's.
    """
    scores = list(score.by_alignment.values())
    rows = [_table_row(one) for one in scores]
    counts = [int(one.conditions["samples_measured"]) for one in scores]
    # A column that says the same in every row is left out.
    if min(counts) == score.samples:
        return list(_HEADER), rows
    measured = [f"{count:,} of {score.samples:,}" for count in counts]
    return [*_HEADER, "measured on"], [[*row, text] for row, text in zip(rows, measured, strict=True)]


def table_2d(score: SetScore) -> tuple[list[str], list[list[str | float | None]]]:
    """Header and rows of the 2D figures, one a unit; figures that could not be taken are None."""
    rows: list[list[str | float | None]] = []
    for one in (score.pixels, score.box):
        if one is not None:
            title, _, factor = ROWS_2D[one.alignment]
            (area,) = one.areas.values()
            values = (one.mean, *one.intervals["mpjpe"], one.median)
            mean, low, high, median = (finite_or_none(factor * value) for value in values)
            interval = None if low is None or high is None else f"{low:.2f} to {high:.2f}"
            rows.append([title, mean, interval, median, finite_or_none(area)])
    return list(_HEADER_2D), rows


def _table_row(one: AlignedScore) -> list[str | float | None]:
    low, high = one.intervals["mpjpe"]
    lacking = "no interval" if math.isfinite(one.mean) else None
    # "no interval" and a dash differ: there is a figure, but too few groups to vary it.
    interval = f"{low:.2f} to {high:.2f}" if math.isfinite(low) else lacking
    figures = [finite_or_none(value) for value in (one.median, *(one.areas[t.name] for t in (AUC_20_50, AUC_0_50)))]
    return [ROW_TITLES[one.alignment], finite_or_none(one.mean), interval, *figures]


def screen_table(score: SetScore) -> dict[str, str]:
    """The table as summary facts: the first column is the name, the others stand below each other.

    Where labels or predictions are 2D only, that of the 2D figures.
    """
    header, figures = set_table(score) if score.in_3d else table_2d(score)
    rows = [header, *([_screen_cell(cell) for cell in row] for row in figures)]
    widths = [max(len(row[c]) for row in rows) for c in range(1, len(header))]
    return {row[0]: "  ".join(f"{cell:>{w}}" for cell, w in zip(row[1:], widths, strict=True)) for row in rows}


def _screen_cell(cell: str | float | None) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    # Areas lie below 1 and differ in the third digit.
    return f"{cell:.3f}" if cell < 1 else f"{cell:.2f}"
