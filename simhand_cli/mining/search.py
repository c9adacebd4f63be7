"""Neighbours from other videos by the hnsw index, fetching more until every row has enough.

The index knows nothing of videos, and a callback that filters inside it would run one Python call per candidate. So
more neighbours than wanted are fetched and those of the query's own video are dropped; rows left short ask again for
twice as many, since the hands of one long video can fill any fixed number of places. What is still short at the end
is searched exactly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.mining.exact import Neighbours, exact_neighbours, squared_distance

_FETCHED_AT_ONCE = 1 << 20  # neighbours held per call, rows x k
#: Fetched beyond twice K, since the row itself and its own video's hands are among the answers.
_SPARE = 32
_SMALLEST_LIMIT = 256
_LIMIT_SHARE = 256
_TIE = 1e-9


@dataclass(frozen=True)
class SearchLog:
    """What the over-fetch did.

    Attributes:
        rounds: (neighbours fetched, rows that asked) per round.
        exact_rows: rows searched exactly in the end.
    """

    rounds: tuple[tuple[int, int], ...]
    exact_rows: int


def available_neighbours(video_index: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,) how many rows of other videos there are for each row."""
    counts = np.bincount(video_index)
    return len(video_index) - counts[video_index]


def indexed_neighbours(
    index: Any,
    embedding: NDArray[np.float32],
    video_index: NDArray[np.int32],
    topk: int,
    *,
    ef: int,
    threads: int,
    ticker: Ticker | None = None,
) -> tuple[Neighbours, SearchLog]:
    """The K nearest rows from other videos for every row, as far as the index finds them.

    Every row gets min(K, rows of other videos) neighbours, ordered by (float64 distance, row id).

    Args:
        index: ``hnswlib.Index`` over ``embedding`` with row ids as labels.
        embedding: (N, D) finite float32.
        video_index: (N,) video of each row.
        topk: K >= 1.
        ef: candidates looked at per search, at least.
        threads: of the search; the answers do not depend on it.
        ticker: advanced by the rows finished.
    """
    total = len(embedding)
    found = Neighbours.empty(total, topk)
    # Of a video that is most of the set, fewer neighbours than K exist; waiting for more would never end.
    needed = np.minimum(available_neighbours(video_index), topk)
    todo = np.flatnonzero(needed)
    # Measured: past this share of all rows, looking at everything is cheaper than walking the graph.
    limit = min(total, max(_SMALLEST_LIMIT, total // _LIMIT_SHARE, 2 * topk + _SPARE))
    fetch = min(limit, 2 * topk + _SPARE)
    rounds: list[tuple[int, int]] = []
    while len(todo):
        rounds.append((fetch, len(todo)))
        # hnswlib returns at most ef neighbours.
        index.set_ef(max(ef, fetch))
        finished = np.zeros(len(todo), dtype=bool)
        # The more a row fetches, the fewer rows a call: a call's memory stays the same.
        step = max(64, _FETCHED_AT_ONCE // fetch)
        for start in range(0, len(todo), step):
            part = todo[start : start + step]
            labels = _fetch(index, embedding[part], fetch, threads)
            done = _keep_others(found, labels, part, needed[part], embedding, video_index)
            finished[start : start + step] = done
            if ticker is not None:
                ticker.advance(int(done.sum()), f"{fetch} fetched")
        todo = todo[~finished]
        if fetch >= limit:
            break
        fetch = min(limit, 2 * fetch)
    # What is left are rows in large videos; exact search leaves such a video out as a whole.
    if len(todo):
        rest = exact_neighbours(embedding, video_index, todo, topk, ticker)
        found.rows[todo], found.squared[todo] = rest.rows, rest.squared
    return found, SearchLog(tuple(rounds), len(todo))


def _fetch(index: Any, queries: NDArray[np.float32], count: int, threads: int) -> NDArray[np.int64]:
    """(Q, count) labels; a row whose part of the graph holds fewer is all -1.

    hnswlib then refuses the whole batch, which is split until only such rows are left out.
    """
    try:
        labels, _ = index.knn_query(queries, k=count, num_threads=threads)
        return np.asarray(labels).astype(np.int64)
    except RuntimeError as error:
        # Its message is the only sign that hnswlib gives; any other failure must not be swallowed.
        if "contiguous 2D array" not in str(error):
            raise
    if len(queries) == 1:
        return np.full((1, count), -1, np.int64)
    half = len(queries) // 2
    parts = (_fetch(index, part, count, threads) for part in (queries[:half], queries[half:]))
    return np.concatenate(list(parts))


def _keep_others(
    found: Neighbours,
    labels: NDArray[np.int64],
    queries: NDArray[np.int64],
    needed: NDArray[np.int64],
    embedding: NDArray[np.float32],
    video_index: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Store the nearest of other videos for the queries that have enough of them; (Q,) True for those."""
    other = (labels >= 0) & (video_index[labels] != video_index[queries][:, None])
    enough = other.sum(axis=1) >= needed
    labels, other, queries = labels[enough], other[enough], queries[enough]
    # Measured again, since hnswlib's distances are float32: index and exact search must put equal hands in one order.
    squared = squared_distance(embedding, np.broadcast_to(queries[:, None], labels.shape), labels)
    squared[~other] = np.inf
    # By distance, then row id: equal hands come in one order, whatever the graph's.
    order = np.lexsort((labels, squared), axis=-1)[:, : found.rows.shape[1]]
    nearest = np.take_along_axis(squared, order, axis=1)
    chosen = np.where(np.isfinite(nearest), np.take_along_axis(labels, order, axis=1), -1)
    found.rows[queries, : chosen.shape[1]] = chosen
    found.squared[queries, : chosen.shape[1]] = nearest
    return np.asarray(enough, dtype=bool)


def measure_recall(
    found: Neighbours,
    embedding: NDArray[np.float32],
    video_index: NDArray[np.int32],
    sample: NDArray[np.int64],
) -> float:
    """Share of the true K nearest neighbours of the sampled rows that were found, 0 to 1.

    A neighbour counts as found if it is as near as the true one of the same rank or nearer, so that equal hands can
    stand for each other.
    """
    truth = exact_neighbours(embedding, video_index, sample, found.rows.shape[1]).squared
    wanted = np.isfinite(truth)
    farthest = np.where(wanted, truth, -1.0).max(axis=1, keepdims=True)
    # The tolerance is rounding between two ways of summing one distance.
    hits = (found.squared[sample] <= farthest * (1 + _TIE)) & wanted
    return float(hits.sum() / max(int(wanted.sum()), 1))
