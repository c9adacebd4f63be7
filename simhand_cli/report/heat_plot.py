"""How histograms change over time: a picture with time to the right, the bins upwards, and shares as colours."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.report.plots import figure_png

#: Columns at most; histograms of neighbouring times are averaged into one.
_COLUMNS: Final = 120
_COLOUR_MAP: Final = "viridis"


def heat_plot(
    panels: Mapping[str, tuple[Sequence[float], NDArray[np.floating]]], *, x_label: str, y_label: str
) -> bytes:
    """Draw one panel below the other.

    Args:
        panels: title -> (T,) ascending times and (T, B) shares of B equal bins over [0, 1].
        x_label: quantity and unit of the times.
        y_label: quantity of the bins.

    Returns:
        A PNG file's bytes; the same input gives the same bytes.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = (7.0, 2.3 * len(panels))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.08), facecolor="white")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for one, (title, (times, shares)) in zip(axes, panels.items(), strict=True):
        edges, columns = column_means(np.asarray(times, np.float64), np.asarray(shares, np.float64))
        bins = np.linspace(0, 1, columns.shape[1] + 1)
        drawn = one.pcolormesh(edges, bins, 100 * columns.T, cmap=_COLOUR_MAP, vmin=0)
        one.set_title(title, loc="left", fontsize=11)
        one.set_ylabel(y_label)
        figure.colorbar(drawn, ax=one, label="share (%)")
    axes[-1].set_xlabel(x_label)
    return figure_png(figure)


def column_means(
    times: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most so many columns as can be seen: (C + 1,) borders in time and the (C, B) means between them."""
    # By count, not by time: every column then averages as many histograms.
    groups = np.array_split(np.arange(len(times)), min(_COLUMNS, len(times)))
    starts = np.array([times[group[0]] for group in groups])
    # The last column is as wide as the one before it; a single one is one unit wide.
    width = starts[-1] - starts[-2] if len(starts) > 1 else 1.0
    return np.append(starts, starts[-1] + width), np.array([shares[group].mean(axis=0) for group in groups])
