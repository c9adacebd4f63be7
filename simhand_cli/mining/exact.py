"""Exact nearest neighbours from other videos, in blocks: the reference, and the search of small sets.

The block distances come from a matrix product and are only a filter with a rigorous rounding margin. What passes is
measured again as a plain float64 sum of squared differences and ordered by (distance, row id). The result thus depends
neither on the block sizes nor on the BLAS library.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker

#: Rows compared at a time: 8 MB of distances.
_QUERY_ROWS = 256
_DATA_ROWS = 4096
#: Relative error that a block distance may have, per dimension. Generous: too much only means a few more candidates
#: that are measured again, too little would lose neighbours.
_ROUNDING = 64 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of Q query rows, nearest first, ties by row id.

    Attributes:
        rows: (Q, K) int64 row ids, -1 where there are no more.
        squared: (Q, K) float64 squared distances, inf where there are no more.
    """

    rows: NDArray[np.int64]
    squared: NDArray[np.float64]

    @classmethod
    def empty(cls, queries: int, topk: int) -> "Neighbours":
        """All unfilled."""
        return cls(np.full((queries, topk), -1, np.int64), np.full((queries, topk), np.inf))


def squared_distance(
    embedding: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared Euclidean distance of rows ``left`` and ``right`` (any one shape), summed in float64, axis by axis."""
    total = np.zeros(left.shape)
    for axis in range(embedding.shape[1]):
        values = embedding[:, axis]
        difference = values[left].astype(np.float64) - values[right]
        total += difference * difference
    return total


def exact_neighbours(
    embedding: NDArray[np.float32],
    video_index: NDArray[np.int32],
    queries: NDArray[np.int64],
    topk: int,
    ticker: Ticker | None = None,
) -> Neighbours:
    """The K nearest rows from other videos, for each query row.

    Args:
        embedding: (N, D) finite float32.
        video_index: (N,) video of each row.
        queries: (Q,) row ids to search for.
        topk: K >= 1.
        ticker: advanced by the queries done.

    Returns:
        (Q, K) neighbours in the order of ``queries``.
    """
    found = Neighbours.empty(len(queries), topk)
    # Queries of one video together, so that most blocks can leave that video out as a whole.
    by_video = np.argsort(video_index[queries], kind="stable")
    for start in range(0, len(queries), _QUERY_ROWS):
        block = by_video[start : start + _QUERY_ROWS]
        found.rows[block], found.squared[block] = _search_block(embedding, video_index, queries[block], topk)
        if ticker is not None:
            ticker.advance(len(block))
    return found


def _search_block(
    embedding: NDArray[np.float32], video_index: NDArray[np.int32], queries: NDArray[np.int64], topk: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    best = Neighbours.empty(len(queries), topk)
    ours = embedding[queries].astype(np.float64)
    our_norms = (ours**2).sum(axis=1)
    own_video = video_index[queries]
    # Queries of one video need only the rest: where one video makes up most of the set, that is little.
    one_video = bool((own_video == own_video[0]).all())
    database = np.flatnonzero(video_index != own_video[0]) if one_video else np.arange(len(embedding))
    for start in range(0, len(database), _DATA_ROWS):
        part = database[start : start + _DATA_ROWS]
        # In double: in float32 the product form loses the distances of near hands, which are what is looked for.
        theirs = embedding[part].astype(np.float64)
        their_norms = (theirs**2).sum(axis=1)
        # |a|^2 - 2ab + |b|^2 in place; the factor goes into the smaller matrix, which saves a pass over the block.
        squared = ours @ (-2.0 * theirs.T)
        squared += our_norms[:, None]
        squared += their_norms
        if not one_video:
            squared[own_video[:, None] == video_index[part]] = np.inf
        margin = _ROUNDING * embedding.shape[1] * (our_norms + their_norms.max())
        limit = _limits(squared, best.squared[:, -1], topk) + margin
        query, column = np.nonzero(squared <= limit[:, None])
        _merge(best, query, part[column], squared_distance(embedding, queries[query], part[column]))
    return best.rows, best.squared


def _limits(squared: NDArray[np.float64], worst: NDArray[np.float64], topk: int) -> NDArray[np.float64]:
    """(Q,) a finite bound above which no candidate of this block can be among the K nearest."""
    limit = worst.copy()
    unfilled = np.flatnonzero(np.isinf(worst))
    if len(unfilled) and topk <= squared.shape[1]:
        limit[unfilled] = np.partition(squared[unfilled], topk - 1, axis=1)[:, topk - 1]
    # Finite, or rows of the own video (inf) would pass while places are unfilled; half, so that the margin fits on top.
    return np.minimum(limit, np.finfo(np.float64).max / 2)


def _merge(best: Neighbours, query: NDArray[np.int64], rows: NDArray[np.int64], squared: NDArray[np.float64]) -> None:
    """Put candidates (flat; ``query`` says whose) among the best, in place, ordered by (distance, row id)."""
    if len(query) == 0:
        return
    touched = np.unique(query)
    kept, topk = best.rows[touched], best.rows.shape[1]
    filled = kept >= 0
    # The kept ones compete again, which keeps one rule for ties between blocks.
    owner = np.concatenate([np.repeat(touched, filled.sum(axis=1)), query])
    candidates = np.concatenate([kept[filled], rows])
    distances = np.concatenate([best.squared[touched][filled], squared])
    order = np.lexsort((candidates, distances, owner))
    owner, candidates, distances = owner[order], candidates[order], distances[order]
    # Each candidate's place among those of its owner, which stand together.
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    wanted = rank < topk
    best.rows[owner[wanted], rank[wanted]] = candidates[wanted]
    best.squared[owner[wanted], rank[wanted]] = distances[wanted]
