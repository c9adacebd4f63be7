"""One picture of all tables."""

import io
from typing import Any

from tables import Figures, Spread, spread

from simhand_cli.report.plots import LINE_COLOURS

_GRIDS = ("fractions", "sizes", "topk", "recipes")
_TITLES = {
    "fractions": "Fewer and more labels", "sizes": "More videos", "topk": "Which neighbour is the positive",
    "recipes": "Recipes",
}  # fmt: skip


def draw(figures: Figures, test: str, floor: float | None) -> bytes:
    """PNG: the methods of the main table, every seed a dot; then the other tables that have cells.

    Args:
        figures: finished cells.
        test: name of the test set.
        floor: MPJPE of the mean pose, a dashed line.
    """
    from matplotlib.figure import Figure

    grids = [table for table in _GRIDS if figures.names(table, "row")]
    height = 1 + (len(grids) + 1) // 2
    figure = Figure(figsize=(11, 3.6 * height), dpi=110, facecolor="white", layout="constrained")
    places = figure.add_gridspec(height, 2)
    _methods(figure.add_subplot(places[0, :]), figures, test, floor)
    for number, table in enumerate(grids):
        _grid(figure.add_subplot(places[1 + number // 2, number % 2]), figures, table, test)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _methods(axes: Any, figures: Figures, test: str, floor: float | None) -> None:
    rows = figures.names("main", "row")
    for y, row in enumerate(rows):
        values = list(figures.seeds("main", row, "MPJPE", test, "root_bone_scale").values())
        colour = LINE_COLOURS[y % len(LINE_COLOURS)]
        axes.plot(values, [y] * len(values), "o", color=colour, markersize=5, alpha=0.7)
        axes.plot([spread(values).mean], [y], "|", color=colour, markersize=22, markeredgewidth=2)
    if floor is not None:
        axes.axvline(floor, linestyle="--", color="#60646e", linewidth=1, label="mean pose")
        axes.legend(frameon=False)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel(f"MPJPE after root + bone scale, mm, {test}; dots: seeds, bars: means")
    axes.set_title("Methods")


def _grid(axes: Any, figures: Figures, table: str, test: str) -> None:
    columns = figures.names(table, "column")
    for number, row in enumerate(figures.names(table, "row")):
        found: list[tuple[int, Spread]] = []
        for x, column in enumerate(columns):
            one = spread(figures.seeds(table, row, column, test, "root_bone_scale").values())
            found += [(x, one)] if one.seeds else []
        axes.errorbar(
            [x for x, _ in found], [one.mean for _, one in found],
            yerr=[one.std if one.seeds > 1 else 0.0 for _, one in found], label=row,
            color=LINE_COLOURS[number], marker="o", markersize=4, capsize=3, linewidth=1.5,
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_ylabel("MPJPE, root + bone scale, mm")
    axes.set_title(_TITLES[table])
    axes.legend(frameon=False, fontsize=8)
