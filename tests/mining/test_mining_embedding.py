"""Normalisation and PCA against plain loops and numpy's own decompositions in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_workspace import open_hands

from simhand_cli.mining.pose_embedding import (
    CovarianceSum,
    embed,
    fit_pca,
    hand_size_px,
    has_shape,
    normalise_keypoints,
)
from simhand_cli.mining.selection import select_rows


def slow_normalise(hand: np.ndarray) -> list[float]:
    """The definition, with Python floats: centre on the mean, divide by the root-mean-square distance from it."""
    mean_x = math.fsum(float(x) for x, _ in hand) / 21
    mean_y = math.fsum(float(y) for _, y in hand) / 21
    size = math.sqrt(math.fsum((float(x) - mean_x) ** 2 + (float(y) - mean_y) ** 2 for x, y in hand) / 21)
    return [value for x, y in hand for value in ((float(x) - mean_x) / size, (float(y) - mean_y) / size)]


def test_normalisation_is_its_definition() -> None:
    hands = open_hands(np.random.default_rng(1), 5)
    expected = np.array([slow_normalise(hand) for hand in hands])
    np.testing.assert_allclose(normalise_keypoints(hands), expected, atol=1e-12)


@given(
    scale=st.floats(0.05, 40),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40)
def test_place_and_size_do_not_matter_but_rotation_does(scale: float, x: float, y: float, seed: int) -> None:
    hands = open_hands(np.random.default_rng(seed), 3).astype(np.float64)
    plain = normalise_keypoints(hands)
    np.testing.assert_allclose(normalise_keypoints(hands * scale + [x, y]), plain, atol=1e-8)
    turned = normalise_keypoints(hands @ np.array([[0.0, -1.0], [1.0, 0.0]]))
    assert np.abs(turned - plain).max() > 0.1


def test_hand_size_of_a_known_figure() -> None:
    # 21 points, half at (-3, 0), half at (3, 0), one in the middle: rms radius sqrt(20 * 9 / 21).
    points = np.array([[[-3.0, 0.0]] * 10 + [[3.0, 0.0]] * 10 + [[0.0, 0.0]]])
    assert hand_size_px(points)[0] == pytest.approx(math.sqrt(20 * 9 / 21))


def test_pca_equals_svd_of_the_centred_rows() -> None:
    vectors = normalise_keypoints(open_hands(np.random.default_rng(2), 400))
    pca = fit_pca([vectors[:100], vectors[100:101], vectors[101:]], 14)
    centred = vectors - vectors.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(pca.mean, vectors.mean(axis=0), atol=1e-14)
    # The last directions carry no variance (place and size are gone), so the floor is rounding.
    np.testing.assert_allclose(pca.variance, singular**2 / len(vectors), rtol=1e-8, atol=1e-15)
    signs = np.sign(np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1))
    np.testing.assert_allclose(pca.components, (rows * signs)[:14], atol=1e-7)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(14), atol=1e-12)
    assert (np.take_along_axis(pca.components, np.abs(pca.components).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_variance_kept_is_what_the_projection_keeps() -> None:
    hands = open_hands(np.random.default_rng(3), 300)
    pca, embedding = embed(hands, np.arange(300), 6)
    vectors = normalise_keypoints(hands)
    total = ((vectors - vectors.mean(axis=0)) ** 2).sum()
    assert embedding.dtype == np.float32
    assert (embedding.astype(np.float64) ** 2).sum() / total == pytest.approx(pca.variance_kept, rel=1e-5)
    assert 0.5 < pca.variance_kept < 1.0


def test_all_dimensions_keep_all_distances() -> None:
    hands = open_hands(np.random.default_rng(4), 50)
    pca, embedding = embed(hands, np.arange(50), 42)
    vectors = normalise_keypoints(hands)
    assert pca.variance_kept == pytest.approx(1.0)
    for i in range(0, 50, 7):
        expected = np.linalg.norm(vectors - vectors[i], axis=1)
        np.testing.assert_allclose(np.linalg.norm(embedding - embedding[i], axis=1), expected, atol=1e-5)


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), offset=st.sampled_from([0.0, 1e6]))
@settings(max_examples=40)
def test_covariance_in_blocks_equals_numpy(sizes: list[int], offset: float) -> None:
    rng = np.random.default_rng(sum(sizes))
    blocks = [rng.normal(size=(n, 4)) + offset for n in sizes]
    total = CovarianceSum(4)
    for block in blocks:
        total.add(block)
    rows = np.concatenate(blocks)
    assert total.count == len(rows)
    if len(rows):
        np.testing.assert_allclose(total.mean, rows.mean(axis=0), rtol=1e-14, atol=1e-12)
        expected = np.cov(rows.T, bias=True) if len(rows) > 1 else np.zeros((4, 4))
        np.testing.assert_allclose(total.covariance(), expected, atol=1e-7 if offset else 1e-13)


def test_dimensions_out_of_range() -> None:
    with pytest.raises(ValueError, match="1 to 42"):
        fit_pca([np.zeros((3, 42))], 43)


def test_each_unusable_row_is_counted_once_under_its_first_reason() -> None:
    hands = open_hands(np.random.default_rng(5), 8)
    hands[1, 3, 0] = np.nan
    hands[2, 0, 1] = np.inf
    hands[3] = 50.0  # all in one place
    hands[4, 5, 0] = np.nan  # but also invalid
    valid = np.array([1, 1, 1, 1, 0, 1, 1, 1], bool)
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.2, np.nan, 0.5], np.float32)
    assert has_shape(hands).tolist() == [True, False, False, False, False, True, True, True]
    selection = select_rows(hands, valid, confidence, 0.5)
    assert selection.rows.tolist() == [0, 7]
    assert (selection.invalid, selection.low_confidence, selection.nonfinite) == (1, 2, 3)
    assert [item.count for item in selection.dropped()] == [1, 2, 3]
