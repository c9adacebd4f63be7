"""Exclusion, completeness, order and ties of the searches, against a plain float64 reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simhand_cli.mining import exact as exact_module
from simhand_cli.mining.exact import exact_neighbours
from simhand_cli.mining.index import IndexSettings, build_index
from simhand_cli.mining.search import available_neighbours, indexed_neighbours, measure_recall


def slow_neighbours(embedding: np.ndarray, video: np.ndarray, row: int, topk: int) -> list[tuple[float, int]]:
    """(squared distance, row id) of the K nearest rows of other videos: every row, sorted."""
    found = []
    for other in range(len(embedding)):
        if video[other] != video[row]:
            total = 0.0
            for a, b in zip(embedding[row], embedding[other], strict=True):
                difference = float(a) - float(b)
                total += difference * difference
            found.append((total, other))
    return sorted(found)[:topk]


def check_against_slow(found, embedding, video, queries, topk) -> None:
    for place, row in enumerate(queries):
        expected = slow_neighbours(embedding, video, row, topk)
        filled = len(expected)
        assert found.rows[place, :filled].tolist() == [other for _, other in expected]
        assert found.squared[place, :filled].tolist() == [distance for distance, _ in expected]
        assert (found.rows[place, filled:] == -1).all()
        assert np.isinf(found.squared[place, filled:]).all()


@st.composite
def small_sets(draw) -> tuple[np.ndarray, np.ndarray]:
    """Rows of few distinct values, so that ties abound, in videos of any sizes and order."""
    count = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    embedding = (rng.integers(0, levels, (count, 3)) / levels).astype(np.float32)
    video = rng.integers(0, draw(st.integers(1, 6)), count).astype(np.int32)
    return embedding, video


@given(data=small_sets(), topk=st.sampled_from([1, 2, 5, 50]))
@settings(max_examples=60)
def test_exact_search_is_the_reference_to_the_last_tie(data, topk: int) -> None:
    embedding, video = data
    queries = np.arange(len(embedding))
    check_against_slow(exact_neighbours(embedding, video, queries, topk), embedding, video, queries, topk)


@given(data=small_sets(), topk=st.sampled_from([1, 3, 50]))
@settings(max_examples=60)
def test_indexed_search_fills_every_row_from_other_videos(data, topk: int) -> None:
    embedding, video = data
    index = build_index(embedding, IndexSettings(m=4, ef_construction=20))
    found, _ = indexed_neighbours(index, embedding, video, topk, ef=10, threads=1)
    expected = np.minimum(available_neighbours(video), topk)
    assert ((found.rows >= 0).sum(axis=1) == expected).all()
    for row, neighbours in enumerate(found.rows):
        others = neighbours[neighbours >= 0]
        assert (video[others] != video[row]).all()
        assert len(set(others.tolist())) == len(others)
        assert (np.diff(found.squared[row][: len(others)]) >= 0).all()
        slow = {other: d for d, other in slow_neighbours(embedding, video, row, len(embedding))}
        assert [slow[int(other)] for other in others] == found.squared[row][: len(others)].tolist()


def test_exact_search_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    embedding = rng.normal(size=(230, 14)).astype(np.float32)
    embedding[100:130] = embedding[0]  # equal rows on both sides of block borders
    video = np.sort(rng.integers(0, 7, 230)).astype(np.int32)
    video[:90] = 0  # the first query blocks are of one video
    monkeypatch.setattr(exact_module, "_QUERY_ROWS", 16)
    monkeypatch.setattr(exact_module, "_DATA_ROWS", 33)
    queries = rng.permutation(230)[:150]
    for topk in (1, 4, 40):
        check_against_slow(exact_neighbours(embedding, video, queries, topk), embedding, video, queries, topk)


def test_exact_search_of_near_duplicates_far_from_the_origin() -> None:
    # Here a^2 + b^2 - 2ab loses all digits of the distance in float32 and most of them in float64.
    rng = np.random.default_rng(8)
    embedding = (1000 + 1e-3 * rng.normal(size=(60, 14))).astype(np.float32)
    video = (np.arange(60) % 3).astype(np.int32)
    check_against_slow(exact_neighbours(embedding, video, np.arange(60), 3), embedding, video, np.arange(60), 3)


def test_one_giant_video_cannot_hide_the_others() -> None:
    """Hundreds of nearly equal hands in one video fill any fixed over-fetch; some rows end in exact search."""
    rng = np.random.default_rng(9)
    giant = (0.001 * rng.normal(size=(3000, 14))).astype(np.float32)
    few = (3 + rng.normal(size=(5, 14))).astype(np.float32)
    embedding = np.concatenate([giant, few])
    video = np.array([0] * 3000 + [1, 1, 2, 2, 3], np.int32)
    index = build_index(embedding, IndexSettings(m=8, ef_construction=40))
    found, log = indexed_neighbours(index, embedding, video, 2, ef=16, threads=2)
    fetched = [k for k, _ in log.rounds]
    assert fetched == [36, 72, 144, 256]
    assert log.exact_rows > 2900
    queries = np.concatenate([np.arange(0, 3000, 100), np.arange(3000, 3005)])
    for place in queries:
        expected = slow_neighbours(embedding, video, place, 2)
        assert found.rows[place].tolist() == [other for _, other in expected]


def test_equal_rows_of_one_video_do_not_break_the_graph_search() -> None:
    embedding = np.zeros((500, 4), np.float32)
    embedding[400:] = np.random.default_rng(1).normal(size=(100, 4))
    video = np.array([0] * 400 + list(range(1, 101)), np.int32)
    index = build_index(embedding, IndexSettings(m=4, ef_construction=16))
    found, _ = indexed_neighbours(index, embedding, video, 3, ef=8, threads=1)
    assert (found.rows >= 0).all()
    check_rows = [0, 399, 400, 450]
    for row in check_rows:
        assert (video[found.rows[row]] != video[row]).all()


def test_search_does_not_depend_on_threads_and_finds_nearly_all() -> None:
    rng = np.random.default_rng(10)
    embedding = rng.normal(size=(2000, 14)).astype(np.float32)
    video = np.sort(rng.integers(0, 60, 2000)).astype(np.int32)
    index = build_index(embedding, IndexSettings())
    one, _ = indexed_neighbours(index, embedding, video, 5, ef=64, threads=1)
    many, _ = indexed_neighbours(index, embedding, video, 5, ef=64, threads=4)
    assert np.array_equal(one.rows, many.rows)
    truth = exact_neighbours(embedding, video, np.arange(2000), 5)
    by_hand = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(one.rows.tolist(), truth.rows.tolist(), strict=True)])
    measured = measure_recall(one, embedding, video, np.arange(2000))
    assert measured == pytest.approx(by_hand, abs=1e-9)
    assert measured > 0.97


def test_recall_notices_what_is_missing() -> None:
    rng = np.random.default_rng(11)
    embedding = rng.normal(size=(100, 5)).astype(np.float32)
    video = (np.arange(100) % 4).astype(np.int32)
    truth = exact_neighbours(embedding, video, np.arange(100), 4)
    assert measure_recall(truth, embedding, video, np.arange(100)) == 1.0
    worse = exact_neighbours(embedding, video, np.arange(100), 5)
    # Every row loses its nearest neighbour and gets the fifth instead: 3 of 4 found.
    shifted = type(truth)(worse.rows[:, 1:], worse.squared[:, 1:])
    assert measure_recall(shifted, embedding, video, np.arange(100)) == pytest.approx(0.75)


def test_single_video_has_no_neighbours() -> None:
    embedding = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    video = np.zeros(10, np.int32)
    index = build_index(embedding, IndexSettings())
    found, log = indexed_neighbours(index, embedding, video, 2, ef=10, threads=1)
    assert (found.rows == -1).all()
    assert log.rounds == ()
    assert (exact_neighbours(embedding, video, np.arange(10), 2).rows == -1).all()
