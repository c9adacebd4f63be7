"""Plots for reports: curves, histograms and hands in 3D, drawn without a display."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.report.draw import joint_colour
from simhand_cli.skeleton import BONES, NUM_JOINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Readable on white, apart without colour vision (Okabe and Ito's palette, reordered).
LINE_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#404040")
_INK: Final = "#1c1e24"
_PALE_INK: Final = "#60646e"
_GRID: Final = "#e2e2de"
_DPI: Final = 160


def line_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = False,
) -> bytes:
    """Curves over a common axis.

    Args:
        series: name -> (x values, y values) of equal length; non-finite points are gaps.
        title: what the plot shows.
        x_label: quantity and unit of x.
        y_label: quantity and unit of y.
        log_y: logarithmic y axis.

    Returns:
        A PNG file's bytes; the same input gives the same bytes.
    """
    figure, axes = _figure(title, x_label, y_label)
    for number, (name, (x, y)) in enumerate(series.items()):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        # Markers show where few values were measured; of many they would hide the line.
        marker = "o" if len(x) < 25 else None
        axes.plot(x, y, label=name, color=colour, linewidth=1.8, marker=marker, markersize=3.5)
    if log_y:
        axes.set_yscale("log")
    axes.margins(x=0.02)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=_INK)
    return figure_png(figure)


def histogram_plot(
    histograms: Mapping[str, tuple[NDArray[np.integer], NDArray[np.floating]]],
    *,
    title: str,
    x_label: str,
    y_label: str = "share of each (%)",
    marks: Mapping[str, float] | None = None,
) -> bytes:
    """Histograms already counted, so that N values need not be in memory, each as shares of its own total.

    Args:
        histograms: name -> (B,) items per bin and (B + 1,) borders of the bins; equal bin widths compare best.
        title: what the plot shows.
        x_label: quantity and unit of x.
        y_label: what the height says.
        marks: name -> x of vertical lines (a median, a threshold).

    Returns:
        A PNG file's bytes; the same input gives the same bytes.
    """
    figure, axes = _figure(title, x_label, y_label)
    colours = iter(LINE_COLOURS * 4)
    for name, (counts, edges) in histograms.items():
        # Shares, not counts: histograms of sets of different sizes can then be compared.
        share = 100 * counts / max(int(counts.sum()), 1)
        axes.stairs(share, edges, fill=True, color=next(colours), alpha=0.7, label=name)
    for name, x in (marks or {}).items():
        axes.axvline(x, color=next(colours), linewidth=1.6, linestyle="--", label=f"{name} {x:.3g}")
    if len(histograms) + len(marks or {}) > 1:
        axes.legend(frameon=False, labelcolor=_INK)
    axes.set_xlim(min(float(e[0]) for _, e in histograms.values()), max(float(e[-1]) for _, e in histograms.values()))
    axes.set_ylim(bottom=0)
    return figure_png(figure)


def hand_3d_plot(joints_mm_by_name: Mapping[str, NDArray[np.floating]], size_px: int = 320) -> NDArray[np.uint8]:
    """Hands in 3D, each from the camera's side and turned by 90 degrees about the vertical.

    Args:
        joints_mm_by_name: name -> (21, 3) joints in the camera frame (x right, y down, z forward), mm. Each
            hand is centred in its view; all share one scale.
        size_px: side of one view; a hand takes two side by side, hands lie below each other.

    Returns:
        (hands * size, 2 * size, 3) uint8 picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    hands = {name: np.asarray(j, np.float64) for name, j in joints_mm_by_name.items()}
    if not hands or any(j.shape != (NUM_JOINTS, 3) for j in hands.values()):
        raise ValueError("hand_3d_plot needs at least one hand of shape (21, 3)")
    centred = {name: j - (j.min(axis=0) + j.max(axis=0)) / 2 for name, j in hands.items()}
    # One scale for all hands: a wrong size is one of the mistakes to be seen.
    reach = max(float(np.nanmax(np.abs(j))) for j in centred.values()) * 1.12 or 1.0
    figure = Figure(figsize=(2 * size_px / 100, len(hands) * size_px / 100), dpi=100, facecolor="white")
    for row, (name, joints) in enumerate(centred.items()):
        for column, (view, azimuth) in enumerate((("from the camera", -90), ("from the side", 0))):
            place = (column / 2, 1 - (row + 1) / len(hands), 0.5, 1 / len(hands))
            _draw_hand_3d(figure, place, joints, reach, azimuth, f"{name} · {view}" if name else view)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _draw_hand_3d(
    figure: "Figure",
    place: tuple[float, float, float, float],
    joints: NDArray[np.float64],
    reach: float,
    azimuth: int,
    title: str,
) -> None:
    import matplotlib

    # 3D axes take the grid's colour from here while they are made.
    with matplotlib.rc_context({"grid.color": _GRID}):
        axes: Any = figure.add_axes(place, projection="3d")
    # The plot's vertical is -y of the camera, its depth is z: a hand stands as it does in the image.
    x, depth, up = joints[:, 0], joints[:, 2], -joints[:, 1]
    for a, b in BONES:
        colour = tuple(c / 255 * 0.9 for c in joint_colour(b))
        axes.plot(x[[a, b]], depth[[a, b]], up[[a, b]], color=colour, linewidth=2.6, solid_capstyle="round")
    colours = [tuple(c / 255 * 0.75 for c in joint_colour(j)) for j in range(NUM_JOINTS)]
    axes.scatter(x, depth, up, c=colours, s=14, depthshade=False)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.view_init(elev=8, azim=azimuth)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_ticklabels([])
        axis.set_tick_params(color="none")
        axis.line.set_color("none")
        axis.set_pane_color((0.97, 0.97, 0.965))
    axes.text2D(0.04, 0.95, title, transform=axes.transAxes, fontsize=9, color=_INK, va="top")


def _figure(title: str, x_label: str, y_label: str) -> tuple["Figure", "Axes"]:
    # Figure without pyplot: no global state, no display, safe in threads and worker processes.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12)
    figure = Figure(figsize=(7.0, 3.9), layout=layout, facecolor="white")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold")
    axes.set_xlabel(x_label, color=_PALE_INK)
    axes.set_ylabel(y_label, color=_PALE_INK)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_PALE_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GRID)
    return figure, axes


def figure_png(figure: "Figure") -> bytes:
    """A PNG file of a figure; the same figure gives the same bytes."""
    stream = io.BytesIO()
    # No "Software" tag: the file depends on the data alone.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
