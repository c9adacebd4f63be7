"""Exact nearest neighbours by cosine, block by block, never among rows of the query's own group."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Rows of queries and of the gallery compared at a time: 16 MB of similarities.
_QUERIES: Final = 512
_GALLERY: Final = 4096


def unit_rows(features: NDArray[np.floating]) -> Floats:
    """Rows (N, D) in double precision, of unit length; a row of zeros stays zero."""
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return unit


def nearest(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    query_groups: NDArray[np.int64],
    gallery_groups: NDArray[np.int64],
    count: int,
) -> NDArray[np.int64]:
    """The most similar gallery rows of every query.

    Similarities are computed in double precision: features after a ReLU are so alike that single precision ties.

    Args:
        queries: (Q, D) features.
        gallery: (G, D) features.
        query_groups: (Q,) person or recording of each query.
        gallery_groups: (G,) the same of the gallery, numbered alike; equal numbers are never neighbours.
        count: how many neighbours, K.

    Returns:
        (Q, K) rows of the gallery, the most similar first; -1 where fewer are allowed. Among equals, the first wins.
    """
    best = np.full((len(queries), count), -np.inf)
    rows = np.full((len(queries), count), -1, np.int64)
    for start in range(0, len(gallery), _GALLERY):
        part = slice(start, start + _GALLERY)
        # Made again for every block rather than kept: in double precision a large gallery is gigabytes.
        known = unit_rows(gallery[part]).T
        for first in range(0, len(queries), _QUERIES):
            block = slice(first, first + _QUERIES)
            similarity = unit_rows(queries[block]) @ known
            # The same person's hands look alike for other reasons than their pose.
            similarity[query_groups[block, None] == gallery_groups[None, part]] = -np.inf
            best[block], rows[block] = _merge(best[block], rows[block], similarity, start)
    return np.where(np.isfinite(best), rows, -1)


def _merge(best: Floats, rows: NDArray[np.int64], similarity: Floats, start: int) -> tuple[Floats, NDArray[np.int64]]:
    """The best (Q, K) of those found so far and of a block of the gallery (Q, G) that starts at a row."""
    count = best.shape[1]
    # Earlier rows of the gallery stand to the left, so that a stable sort lets the first of equals win.
    away = -np.hstack([best, similarity])
    last = np.partition(away, count - 1, axis=1)[:, count - 1]
    # All as near as the last chosen one are sorted, not just K of them: the partition alone breaks ties as it likes.
    query, column = np.nonzero(away <= last[:, None])
    order = np.lexsort((away[query, column], query))
    starts = np.searchsorted(query, np.arange(len(away)))
    chosen = column[order[starts[:, None] + np.arange(count)]]
    earlier = np.take_along_axis(rows, np.minimum(chosen, count - 1), axis=1)
    return -np.take_along_axis(away, chosen, axis=1), np.where(chosen < count, earlier, start + chosen - count)


def random_rows(
    rng: np.random.Generator, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """(Q, K) gallery rows of other groups drawn at random with replacement; -1 where there is none."""
    rows = np.full((len(query_groups), count), -1, np.int64)
    for group in np.unique(query_groups):
        mine, allowed = np.flatnonzero(query_groups == group), np.flatnonzero(gallery_groups != group)
        if len(allowed):
            rows[mine] = rng.choice(allowed, size=(len(mine), count))
    return rows
