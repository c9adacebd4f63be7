"""The report of mining: what was paired with what, to be judged by eye."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simhand_cli.mining.exact import Neighbours
from simhand_cli.mining.pair_sheet import MinedRows
from simhand_cli.mining.pose_embedding import PosePca
from simhand_cli.mining.statistics import PairStatistics, frequent_video_pairs
from simhand_cli.report.page import Cell, Page
from simhand_cli.report.plots import histogram_plot, line_plot
from simhand_cli.summary import Dropped

_VIDEOS_SHOWN = 15
_JOINTS = 21


def build_report(
    rows: MinedRows,
    found: Neighbours,
    pca: PosePca,
    figures: PairStatistics,
    sheet: NDArray[np.uint8],
    facts: Mapping[str, int | float | str],
    dropped: list[Dropped],
) -> Page:
    """Put the page together.

    Args:
        rows: the mined rows.
        found: their neighbours.
        pca: the projection.
        figures: statistics of the pairs.
        sheet: the contact sheet.
        facts: the command's summary.
        dropped: what was left out and why.
    """
    page = Page(
        "Similar hands", "For every hand, the most similar hands of other videos: the positives of pre-training."
    )
    page.heading("In short")
    page.facts(facts)
    if dropped:
        table: list[list[Cell]] = [[item.count, item.what, item.why, item.change] for item in dropped]
        page.table(["left out", "what", "why", "changed by"], table)
    page.heading("Look at the pairs")
    page.text(
        "Each line is a random hand (blue frame). Next to it, in grey, stands the nearest hand of its own video, which "
        "mining leaves out: it is often the same pose a moment later. Then come hands of other videos by rank. The "
        "poses should agree well at Top-1 and drift apart with the rank. Left hands are shown mirrored; d is the "
        "distance in the pose embedding."
    )
    page.picture(sheet, "Random queries and their similar hands at growing ranks.")
    _distances(page, figures, found.rows.shape[1])
    _variety(page, rows, found, figures)
    _embedding(page, pca)
    _videos(page, rows)
    return page


def _distances(page: Page, figures: PairStatistics, topk: int) -> None:
    page.heading("Distances")
    marks = {f"median of Top-{topk}": figures.last_median} if topk > 1 and np.isfinite(figures.last_median) else {}
    page.picture(
        histogram_plot(figures.histograms, title="How near similar hands are", x_label="distance", marks=marks),
        "Distance of every hand to its most similar hand of another video, and of random pairs for comparison. "
        f"A distance of 1 is a root-mean-square offset of {1 / _JOINTS**0.5:.0%} of the hand's radius per joint.",
    )


def _variety(page: Page, rows: MinedRows, found: Neighbours, figures: PairStatistics) -> None:
    page.heading("Variety")
    anchors = int(figures.by_hand.sum())
    page.facts(
        {
            "hands used as a Top-1": figures.distinct_positives,
            "uses of the most used hand": figures.most_used,
            "mutual Top-1 pairs (%)": round(100 * figures.mutual_share, 1),
        }
    )
    sides = ("left", "right")
    share = 100 * figures.by_hand / max(anchors, 1)
    # Had the side no influence: the product of both margins.
    expected = 100 * np.outer(share.sum(axis=1), share.sum(axis=0)) / 1e4
    table: list[list[Cell]] = [
        [sides[a], sides[b], int(figures.by_hand[a, b]), _percent(share[a, b]), _percent(expected[a, b])]
        for a in range(2)
        for b in range(2)
    ]
    header = ["hand", "its Top-1", "pairs", "share (%)", "if by chance (%)"]
    page.table(header, table, caption="Which hands are paired, before mirroring left ones to right ones.")
    frequent = frequent_video_pairs(found, rows.video_index, len(rows.video_ids), _VIDEOS_SHOWN)
    names = [rows.video_names.get(video_id, video_id) for video_id in rows.video_ids]
    page.table(
        ["video", "its hands' Top-1 are in", "pairs"],
        [[names[a], names[b], count] for a, b, count in frequent],
        caption="The most frequent pairs of videos. One pair far ahead of the others hints at one person or scene.",
    )


def _embedding(page: Page, pca: PosePca) -> None:
    page.heading("Pose embedding")
    # All hands alike have no variance, and nothing to divide by.
    kept = 100 * np.cumsum(pca.variance) / max(float(pca.variance.sum()), 1e-300)
    dimensions = list(range(1, len(kept) + 1))
    page.picture(
        line_plot(
            {"": (dimensions, kept.tolist())},
            title="Variance kept",
            x_label="dimensions of the embedding",
            y_label="variance (%)",
        ),
        f"{len(pca.components)} dimensions keep {100 * pca.variance_kept:.2f} % of the variance of the keypoints, "
        "which are centred and scaled to one size.",
    )


def _videos(page: Page, rows: MinedRows) -> None:
    page.heading("Videos")
    counts = np.bincount(rows.video_index, minlength=len(rows.video_ids))
    order = np.argsort(-counts, kind="stable")[:_VIDEOS_SHOWN]
    table: list[list[Cell]] = []
    for video in order:
        here = rows.handedness[rows.video_index == video]
        left = 100 * float((here == 0).mean()) if len(here) else 0.0
        name = rows.video_names.get(rows.video_ids[video], rows.video_ids[video])
        table.append([name, int(counts[video]), _percent(100 * counts[video] / len(rows.video_index)), _percent(left)])
    caption = "Hands per video"
    if len(counts) > _VIDEOS_SHOWN:
        caption += f": the largest {_VIDEOS_SHOWN} of {len(counts)} (median {np.median(counts):.0f})"
    page.table(["video", "hands", "share (%)", "left hands (%)"], table, caption=caption + ".")


def _percent(share: float) -> float:
    return round(float(share), 1)
