"""Retrieval against loops: neighbours by cosine, distances of poses, chance and oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from simhand_cli.features import knn
from simhand_cli.features.knn import nearest, random_rows
from simhand_cli.features.retrieval import Poses, means_of_nearest, oracle_distances, pair_distances


def brute_force(queries, gallery, query_groups, gallery_groups, count):
    """The definition, one pair at a time in double precision."""
    found = []
    for q, own in zip(queries.astype(float), query_groups, strict=True):
        allowed = []
        for row, (g, other) in enumerate(zip(gallery.astype(float), gallery_groups, strict=True)):
            if own != other:
                allowed.append((-float(q @ g) / (np.sqrt(q @ q) * np.sqrt(g @ g)), row))
        rows = [row for _, row in sorted(allowed)[:count]]
        found.append(rows + [-1] * (count - len(rows)))
    return np.array(found)


@pytest.mark.parametrize("block", [3, 7, 4096])
def test_neighbours_equal_brute_force_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(knn, "_QUERIES", block)
    monkeypatch.setattr(knn, "_GALLERY", block + 2)
    rng = np.random.default_rng(0)
    # As after a ReLU: all vectors point nearly the same way, which single precision could not tell apart.
    queries = (1000 + rng.random((17, 5))).astype(np.float32)
    gallery = (1000 + rng.random((23, 5))).astype(np.float32)
    query_groups, gallery_groups = rng.integers(0, 4, 17), rng.integers(0, 4, 23)
    expected = brute_force(queries, gallery, query_groups, gallery_groups, 6)
    np.testing.assert_array_equal(nearest(queries, gallery, query_groups, gallery_groups, 6), expected)


def test_each_block_of_the_gallery_is_normalised_once(monkeypatch):
    monkeypatch.setattr(knn, "_QUERIES", 3)
    monkeypatch.setattr(knn, "_GALLERY", 4)
    real, seen = knn.unit_rows, []
    rng = np.random.default_rng(0)
    queries, gallery = rng.random((11, 5)), rng.random((9, 5))

    def counted(rows):
        if np.shares_memory(rows, gallery):
            seen.append(len(rows))
        return real(rows)

    monkeypatch.setattr(knn, "unit_rows", counted)
    nearest(queries, gallery, np.zeros(11, int), np.ones(9, int), 2)
    assert seen == [4, 4, 1]


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([2, 5, 64]))
def test_among_equals_the_first_wins(seed, count, block):
    """Rows on the axes have cosines of exactly 0 and 1, and so nothing but ties."""
    rng = np.random.default_rng(seed)
    queries, gallery = np.eye(3)[rng.integers(0, 3, 6)], np.eye(3)[rng.integers(0, 3, 20)]
    query_groups, gallery_groups = rng.integers(0, 3, 6), rng.integers(0, 3, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "_GALLERY", block)
        found = nearest(queries, gallery, query_groups, gallery_groups, count)
    np.testing.assert_array_equal(found, brute_force(queries, gallery, query_groups, gallery_groups, count))


def test_length_of_features_does_not_matter_and_missing_neighbours_are_named():
    queries = np.array([[1.0, 0.0], [0.0, 0.0]])
    gallery = np.array([[0.1, 0.1], [90.0, 1.0], [0.0, 5.0]])
    found = nearest(queries, gallery, np.array([7, 7]), np.array([1, 1, 7]), 3)
    assert found[0].tolist() == [1, 0, -1]
    assert found[1].tolist() == [0, 1, -1]  # a zero vector is equally unlike all: the first ones


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_no_neighbour_is_of_the_querys_group(query_groups, gallery_groups):
    rng = np.random.default_rng(len(query_groups))
    mine, others = np.array(query_groups), np.array(gallery_groups)
    found = nearest(rng.random((len(mine), 3)), rng.random((len(others), 3)), mine, others, 4)
    drawn = random_rows(rng, mine, others, 4)
    for rows in (found, drawn):
        for own, row in zip(mine, rows, strict=True):
            assert all(others[r] != own for r in row if r >= 0)
            assert (row >= 0).sum() == (
                0 if (others == own).all() else min(4, (others != own).sum()) if rows is found else 4
            )


@pytest.fixture
def poses():
    rng = np.random.default_rng(5)

    def some(count):
        valid = rng.random((count, 21)) > 0.15
        valid[:, [0, 9]] = True
        joints = rng.normal(0, 40, (count, 21, 3)) + np.array([0, 0, 500])
        return Poses(np.where(valid[..., None], joints, np.nan), valid)

    return some(4), some(6)


def slow_distance(name, query, query_valid, other, other_valid):
    """One pair, from the definitions."""
    both = query_valid & other_valid
    truth, moved = query[both], other[both]
    if name == "root_bone_scale":
        scale = np.linalg.norm(query[9] - query[0]) / np.linalg.norm(other[9] - other[0])
        placed = query[0] + scale * (moved - other[0])
    else:
        a, b = moved - moved.mean(axis=0), truth - truth.mean(axis=0)
        turned = Rotation.align_vectors(b, a)[0].apply(a)
        placed = (b * turned).sum() / (turned**2).sum() * turned + truth.mean(axis=0)
    return np.linalg.norm(placed - truth, axis=1).mean()


@pytest.mark.parametrize("name", ["root_bone_scale", "procrustes_scale"])
def test_distances_of_poses_and_the_oracle_equal_a_loop(name, poses):
    queries, gallery = poses
    every = np.tile(np.arange(6), (4, 1))
    found = pair_distances(name, queries, gallery, every)
    expected = [
        [slow_distance(name, q, qv, g, gv) for g, gv in zip(gallery.joints_mm, gallery.valid, strict=True)]
        for q, qv in zip(queries.joints_mm, queries.valid, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    query_groups, gallery_groups = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    best, rows = oracle_distances(name, queries, gallery, query_groups, gallery_groups, 5)
    for q in range(4):
        allowed = [(expected[q][g], g) for g in range(6) if gallery_groups[g] != query_groups[q]]
        assert rows[q].tolist() == [g for _, g in sorted(allowed)] + [-1]
        np.testing.assert_allclose(best[q, :4], [d for d, _ in sorted(allowed)], atol=1e-6)
        assert np.isnan(best[q, 4])


def test_means_need_all_neighbours():
    means = means_of_nearest(np.array([[1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, np.nan]]))
    assert list(means) == [1, 5]
    assert means[5][0] == 3
    assert np.isnan(means[5][1])
