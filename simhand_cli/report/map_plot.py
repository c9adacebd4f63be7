"""Points of a 2D map several times side by side, coloured differently, and once with pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.report.plots import LINE_COLOURS, figure_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE_INCHES: Final = 3.4
_OTHERS: Final = "#c8c8c4"
_COLOUR_MAP: Final = "viridis"


@dataclass(frozen=True)
class Colouring:
    """What the points' colours mean.

    Attributes:
        title: the quantity, "low to high" where it is a number.
        values: (N,) numbers (NaN: grey), or (N,) names; the most frequent names get colours of their own.
    """

    title: str
    values: NDArray[Any]


@dataclass(frozen=True)
class MapPanel:
    """One row of the plot.

    Attributes:
        title: of the row.
        places: (N, 2).
        thumbnails: point -> (S, S, 3) uint8 picture shown at its place.
    """

    title: str
    places: NDArray[np.float64]
    thumbnails: Mapping[int, NDArray[np.uint8]]


def map_plot(panels: Sequence[MapPanel], colourings: Sequence[Colouring]) -> bytes:
    """Draw every map once per colouring, and once with its pictures.

    Args:
        panels: the maps, one a row, all of the same points.
        colourings: at least one.

    Returns:
        A PNG file's bytes; the same input gives the same bytes.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = len(colourings) + 1
    size = (_SIDE_INCHES * (columns + 0.35), _SIDE_INCHES * len(panels) * 1.12)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06), facecolor="white")
    grid = figure.subplots(len(panels), columns, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        for axes, colouring in zip(row, colourings, strict=False):
            _frame(axes, f"{panel.title}: {colouring.title}", panel)
            _scatter(axes, panel, colouring)
        _frame(row[-1], f"{panel.title}: hands", panel)
        _pictures(row[-1], panel)
    return figure_png(figure)


def _frame(axes: "Axes", title: str, panel: MapPanel) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    low, high = panel.places.min(axis=0), panel.places.max(axis=0)
    # One reach for both axes: distances on a map mean the same in every direction.
    middle, reach = (low + high) / 2, max(float((high - low).max()) * 0.56, 1e-9)
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    axes.set_aspect("equal")


def _scatter(axes: "Axes", panel: MapPanel, colouring: Colouring) -> None:
    x, y = panel.places.T
    if colouring.values.dtype.kind != "f":
        _names(axes, panel, colouring.values)
        return
    known = np.isfinite(colouring.values)
    # The unknown first and grey: what is known is drawn over it.
    axes.scatter(x[~known], y[~known], s=7, color=_OTHERS, linewidths=0)
    shown = axes.scatter(x[known], y[known], s=7, c=colouring.values[known], cmap=_COLOUR_MAP, linewidths=0)
    assert axes.figure is not None
    axes.figure.colorbar(shown, ax=axes, shrink=0.75, pad=0.02).ax.tick_params(labelsize=7)


def _names(axes: "Axes", panel: MapPanel, names: NDArray[Any]) -> None:
    # Ties by name, so that the same points give the same picture.
    frequent = [name for name, _ in sorted(Counter(names.tolist()).items(), key=lambda item: (-item[1], item[0]))]
    frequent = frequent[: len(LINE_COLOURS)]
    others = ~np.isin(names, frequent)
    x, y = panel.places.T
    if others.any():
        axes.scatter(x[others], y[others], s=7, color=_OTHERS, linewidths=0, label="others")
    for name, colour in zip(frequent, LINE_COLOURS, strict=False):
        axes.scatter(x[names == name], y[names == name], s=9, color=colour, linewidths=0, label=str(name))
    axes.legend(frameon=False, fontsize=6, markerscale=1.5, loc="best")


def _pictures(axes: "Axes", panel: MapPanel) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    x, y = panel.places.T
    axes.scatter(x, y, s=3, color=_OTHERS, linewidths=0)
    for point, image in panel.thumbnails.items():
        place = (float(panel.places[point, 0]), float(panel.places[point, 1]))
        axes.add_artist(AnnotationBbox(OffsetImage(image, zoom=24 / image.shape[0]), place, frameon=False))
