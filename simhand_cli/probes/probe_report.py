"""The report of a probe: tables that compare encoders, what was retrieved, and maps of the features."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.features.figures import find_figure
from simhand_cli.features.retrieval import ALIGNMENTS, NEIGHBOURS
from simhand_cli.metrics.joint_errors import ROW_TITLES
from simhand_cli.report.page import Page

Cell = str | float | None

#: Columns of the table on the screen and at the top of the report: metric, alignment -> title.
COLUMNS: Final = {
    ("retrieval_1", "root_bone_scale"): "1-NN mm",
    ("retrieval_5", "root_bone_scale"): "5-NN mm",
    ("linear", "root_bone_scale"): "linear mm",
    ("retrieval_1", "procrustes_scale"): "1-NN mm, Procrustes",
    ("retrieval_5", "procrustes_scale"): "5-NN mm, Procrustes",
    ("linear", "procrustes_scale"): "linear mm, Procrustes",
}
#: Kind of what is never its own neighbour -> what a neighbour belongs to.
_OTHER: Final = {
    "person": "another person",
    "recording": "another recording",
    "mixed": "another person or recording",
}
_MEANING: Final = """\
Nothing was trained but one linear map: the figures say what is in the features already. Smaller is better throughout.

k-NN: for every test hand, the k gallery hands whose features have the largest cosine with its own, and how far their
poses are from its pose: mean distance of the joints in millimetres, with the wrist moved onto the test hand's and the
bone wrist - middle knuckle given its length (root + bone scale), or after the best rotation, shift and scale
(Procrustes + scale). Hands of the same person (or, where people are not known, of the same recording) are never
neighbours. "random retrieval" is what features without any information give; "oracle" is the nearest pose there is in
the gallery, found by trying all, so nothing can be below it on the same test hands. With a large gallery the oracle is
taken over a random part of the test hands, and its row says of how many: then its mean is of other hands than the
encoders', and only about a bound.

linear: ridge regression from the features to the joints relative to the wrist in bone lengths; its penalty is chosen
on people (or blocks of recordings) left out of the fit. Gallery hands of anybody who is tested are left out of it
altogether. "mean pose" is the best answer without a picture: the mean of the poses it was fitted to, and
for Procrustes the mean of the poses turned onto each other. An encoder near it knows nothing of pose that a line can
read.

An untrained encoder is a floor too, and not a low one: random filters keep edges and silhouettes. What pre-training has
given is the difference to it.

Differences are taken sample by sample to the first encoder; an interval without 0 is no accident of which samples are
in the set. Intervals are 95 % bootstrap intervals over the test samples alone: other seeds of pre-training can differ
by more."""


def build_report(metrics: Mapping[str, Any], sheet: NDArray[np.uint8], embedding: bytes) -> Page:
    """Compose the page.

    Args:
        metrics: the content of metrics.json.
        sheet: what was retrieved.
        embedding: PNG of the maps.
    """
    subtitle = f"{len(metrics['encoders'])} encoders on {metrics['set']}, compared without fine-tuning."
    page = Page("Probe of frozen features", subtitle)
    page.facts(
        {
            "test samples": metrics["test_samples"],
            "gallery samples": metrics["gallery_samples"],
            "never neighbours": metrics["never_neighbours"],
            "penalty chosen on": metrics["linear_probe"]["penalty_chosen_on"],
        }
    )
    page.heading("Which encoder is better")
    page.table(("", *COLUMNS.values()), overview_rows(metrics), "Mean joint error in mm; smaller is better.")
    _add_differences(page, metrics)
    page.heading("Retrieval")
    for alignment in ALIGNMENTS:
        keys = [(f"retrieval_{k}", alignment) for k in NEIGHBOURS]
        header = ("", *(f"k = {k}" for k in NEIGHBOURS))
        caption = f"Mean joint distance to the k nearest hands, mm, {ROW_TITLES[alignment]}, with 95 % intervals."
        page.table(header, _interval_rows(metrics, keys), caption)
    other = _OTHER[metrics["never_neighbours_kind"]]
    page.picture(sheet, f"Test hands (framed) and the nearest hand of {other} for every encoder.")
    page.heading("Linear probe")
    _add_linear(page, metrics)
    page.heading("Maps of the features")
    page.picture(
        embedding,
        f"t-SNE of the same {metrics['map']['points']} test hands (perplexity {metrics['map']['perplexity']:.0f}) for "
        "every encoder. Distances between far points of a map mean little; what lies close together does.",
    )
    page.heading("What these numbers mean")
    page.text(_MEANING)
    return page


def _add_linear(page: Page, metrics: Mapping[str, Any]) -> None:
    linear = metrics["linear_probe"]
    if linear["not_done"]:
        page.text(f"Not done: {linear['not_done']}.")
        return
    keys = [("linear", alignment) for alignment in ALIGNMENTS]
    header = ("", *(ROW_TITLES[alignment] for alignment in ALIGNMENTS))
    page.table(header, _interval_rows(metrics, keys), "MPJPE in mm with 95 % intervals.")
    penalties = [(name, float(value)) for name, value in linear["penalty"].items()]
    page.table(("encoder", "penalty"), penalties, f"Chosen on {linear['penalty_chosen_on']} left out of the fit.")


def overview_rows(metrics: Mapping[str, Any]) -> list[list[Cell]]:
    """Rows of the overview: every encoder, then the references; None where a figure does not exist."""
    rows: list[list[Cell]] = []
    for name, figures in _named_figures(metrics):
        found = [find_figure(figures, *key) for key in COLUMNS]
        rows.append([name, *(None if one is None else one["value"] for one in found)])
    return rows


def _named_figures(metrics: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    encoders = [(encoder["name"], encoder["figures"]) for encoder in metrics["encoders"]]
    asked, of = metrics["oracle_samples"], metrics["test_samples"]
    # Of other hands than the encoders' figures, which the row must say.
    titles = {"oracle": f"oracle, {asked:,} of {of:,}"} if asked < of else {}
    return [*encoders, *((titles.get(name, name), figures) for name, figures in metrics["references"].items())]


def _interval_rows(metrics: Mapping[str, Any], keys: Sequence[tuple[str, str]]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name, figures in _named_figures(metrics):
        found = [find_figure(figures, *key) for key in keys]
        if any(found):
            rows.append([name, *(_with_interval(one) for one in found)])
    return rows


def _with_interval(figure: Mapping[str, Any] | None, sign: str = "") -> str | None:
    if figure is None or figure["value"] is None:
        return None
    interval = figure["interval"]
    if interval["low"] is None:
        return f"{figure['value']:{sign}.2f}"
    return f"{figure['value']:{sign}.2f} ({interval['low']:{sign}.2f} to {interval['high']:{sign}.2f})"


def difference_rows(metrics: Mapping[str, Any]) -> list[list[Cell]]:
    """Rows of every later encoder minus the first, for the columns of the overview."""
    return [
        [encoder["name"], *(_with_interval(find_figure(encoder["minus_first"], *key), "+") for key in COLUMNS)]
        for encoder in metrics["encoders"][1:]
    ]


def _add_differences(page: Page, metrics: Mapping[str, Any]) -> None:
    rows = difference_rows(metrics)
    if rows:
        first = metrics["encoders"][0]["name"]
        page.table(
            (f"minus {first}", *COLUMNS.values()),
            rows,
            f"Paired differences in mm with 95 % intervals; above 0, {first} is better.",
        )
