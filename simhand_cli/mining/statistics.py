"""What a person wants to know of mined pairs: how near, how varied, whose hands, between which videos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.mining.exact import Neighbours, squared_distance


@dataclass(frozen=True)
class PairStatistics:
    """Figures of the mined pairs.

    Attributes:
        pairs: filled places of the (N, K) table.
        unfilled: places without a neighbour.
        top1_quantiles: distance of Top-1 at 5, 50 and 95 %.
        last_median: median distance at rank K.
        random_median: median distance of random rows of different videos.
        by_hand: (2, 2) Top-1 pairs by anchor (row) and positive (column), 0 left, 1 right.
        distinct_positives: rows that are some row's Top-1.
        most_used: how often the most used row is a Top-1.
        mutual_share: share of Top-1 pairs whose positive's Top-1 is the anchor.
        histograms: name -> counts and edges of distances, over common bins.
    """

    pairs: int
    unfilled: int
    top1_quantiles: tuple[float, float, float]
    last_median: float
    random_median: float
    by_hand: NDArray[np.int64]
    distinct_positives: int
    most_used: int
    mutual_share: float
    histograms: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


def pair_statistics(
    found: Neighbours,
    embedding: NDArray[np.float32],
    video_index: NDArray[np.int32],
    handedness: NDArray[np.uint8],
    seed: int,
) -> PairStatistics:
    """Measure the pairs; ``found`` holds every row's neighbours, in row order, at least one of them filled."""
    anchor = np.flatnonzero(found.rows[:, 0] >= 0)
    positive = found.rows[anchor, 0]
    top1 = np.sqrt(found.squared[anchor, 0])
    last = found.squared[:, -1][found.rows[:, -1] >= 0]
    # Both sides in one number, 0 to 3.
    by_hand = np.bincount(2 * handedness[anchor].astype(np.int64) + handedness[positive], minlength=4).reshape(2, 2)
    used = np.bincount(positive)
    # What distances mean is seen beside those of pairs drawn blindly.
    random = _random_distances(embedding, video_index, seed)
    low, middle, high = (float(q) for q in np.quantile(top1, [0.05, 0.5, 0.95]))
    return PairStatistics(
        pairs=int((found.rows >= 0).sum()),
        unfilled=int((found.rows < 0).sum()),
        top1_quantiles=(low, middle, high),
        last_median=float(np.sqrt(np.median(last))) if len(last) else float("nan"),
        random_median=float(np.median(random)) if len(random) else float("nan"),
        by_hand=by_hand,
        distinct_positives=int((used > 0).sum()),
        most_used=int(used.max()),
        # Chance would give nearly 0; a high share hints at duplicated videos.
        mutual_share=float((found.rows[positive, 0] == anchor).mean()),
        histograms=_histograms({"Top-1": top1, "random pairs of other videos": random}),
    )


def _histograms(
    distances: dict[str, NDArray[np.float64]],
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Count every set of distances over the same bins, from 0 to nearly the largest."""
    present = {name: values for name, values in distances.items() if len(values)}
    # Not up to the largest: a few outliers would press all others into the first bins.
    end = max(max(float(np.quantile(values, 0.995)) for values in present.values()), 1e-6)
    return {name: np.histogram(values, bins=80, range=(0.0, end)) for name, values in present.items()}


def _random_distances(embedding: NDArray[np.float32], video_index: NDArray[np.int32], seed: int) -> NDArray[np.float64]:
    """Distances of up to 20,000 random pairs of rows from different videos."""
    left, right = np.random.default_rng(seed).integers(0, len(embedding), (2, 20000))
    other = video_index[left] != video_index[right]
    return np.asarray(np.sqrt(squared_distance(embedding, left[other], right[other])), dtype=np.float64)


def frequent_video_pairs(
    found: Neighbours, video_index: NDArray[np.int32], videos: int, most: int
) -> list[tuple[int, int, int]]:
    """(anchor's video, positive's video, Top-1 pairs), the most frequent first, ties by video."""
    anchor = np.flatnonzero(found.rows[:, 0] >= 0)
    # One number a pair of videos; the square of their number does not fit into 32 bits.
    from_video = video_index[anchor].astype(np.int64)
    keys, counts = np.unique(from_video * videos + video_index[found.rows[anchor, 0]], return_counts=True)
    order = np.lexsort((keys, -counts))[:most]
    return [(int(keys[i] // videos), int(keys[i] % videos), int(counts[i])) for i in order]
