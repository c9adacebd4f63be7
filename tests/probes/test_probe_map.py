"""t-SNE from its equations: perplexity, gradient by finite differences, neighbourhoods kept; what colours mean."""

import numpy as np
import pytest
from mini_freihand import random_hand_mm

from simhand_cli.features.retrieval import Poses
from simhand_cli.probes.map.feature_map import colourings, hand_openness, palm_facing, spread_rows
from simhand_cli.probes.map.tsne import (
    affinities,
    conditional_affinities,
    divergence_gradient,
    principal_components,
    squared_distances,
    tsne,
    usable_perplexity,
)
from simhand_cli.report.map_plot import Colouring, MapPanel, map_plot


@pytest.mark.parametrize("perplexity", [2.0, 8.0, 20.0])
def test_every_row_has_the_wanted_perplexity(perplexity):
    points = np.random.default_rng(0).normal(size=(60, 4)) * np.array([100, 1, 1, 0.01])
    rows = conditional_affinities(squared_distances(points), perplexity)
    assert np.abs(np.diag(rows)).max() == 0
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    for row in rows:
        p = row[row > 0]
        assert 2 ** -(p * np.log2(p)).sum() == pytest.approx(perplexity, rel=1e-6)


def divergence(joint: np.ndarray, places: np.ndarray) -> float:
    """KL(P || Q) in nats of the map's places (N, 2)."""
    kernel = 1.0 / (1.0 + squared_distances(places))
    np.fill_diagonal(kernel, 0.0)
    q = np.maximum(kernel / kernel.sum(), 1e-12)
    return float((joint * np.log(np.maximum(joint, 1e-12) / q)).sum())


def test_rows_are_gaussians_of_the_distance():
    points = np.random.default_rng(1).normal(size=(12, 3))
    distances = squared_distances(points)
    row = conditional_affinities(distances, 4.0)[0, 1:]
    slope = np.polyfit(distances[0, 1:], np.log(row), 1)
    np.testing.assert_allclose(np.polyval(slope, distances[0, 1:]), np.log(row), atol=1e-8)
    assert slope[0] < 0


def test_affinities_are_symmetric_and_sum_to_one():
    joint = affinities(np.random.default_rng(1).normal(size=(30, 3)), 5.0)
    np.testing.assert_allclose(joint, joint.T)
    assert joint.sum() == pytest.approx(1)


def test_gradient_equals_finite_differences_of_the_divergence():
    rng = np.random.default_rng(2)
    joint = affinities(rng.normal(size=(15, 5)), 4.0)
    places = rng.normal(size=(15, 2))

    def slow(at):
        """KL(P || Q) with Student's kernel, pair by pair."""
        n = len(at)
        kernel = {(i, j): 1 / (1 + ((at[i] - at[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j}
        total = sum(kernel.values())
        return sum(joint[ij] * np.log(joint[ij] * total / k) for ij, k in kernel.items())

    assert divergence(joint, places) == pytest.approx(slow(places), rel=1e-9)
    gradient = divergence_gradient(joint, places)
    for i, axis in ((0, 0), (3, 1), (14, 0)):
        step = np.zeros_like(places)
        step[i, axis] = 1e-5
        numeric = (slow(places + step) - slow(places - step)) / 2e-5
        assert gradient[i, axis] == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_groups_stay_together_and_the_map_is_the_same_again():
    rng = np.random.default_rng(3)
    group = np.repeat([0, 1, 2], 25)
    points = rng.normal(size=(75, 20)) + 12 * rng.normal(size=(3, 20))[group]
    places = tsne(points, perplexity=10)
    np.testing.assert_array_equal(places, tsne(points, perplexity=10))
    distances = squared_distances(places)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :10]
    assert (group[nearest] == group[:, None]).mean() > 0.99
    # The divergence is below that of the plain projection on two axes.
    joint = affinities(principal_components(points, 50), 10)
    assert divergence(joint, places) < divergence(joint, principal_components(points, 2))


def test_few_points_get_a_smaller_perplexity_and_too_few_are_refused():
    assert usable_perplexity(30, 13) == 4
    assert usable_perplexity(30, 1000) == 30
    assert np.isfinite(tsne(np.random.default_rng(0).normal(size=(5, 3)))).all()
    assert np.isfinite(tsne(np.ones((6, 3)))).all()  # all alike
    with pytest.raises(ValueError, match="4 to 2000"):
        tsne(np.zeros((3, 2)))


def test_principal_components_keep_distances():
    points = np.random.default_rng(4).normal(size=(10, 4))
    np.testing.assert_allclose(
        squared_distances(principal_components(points, 4)), squared_distances(points), atol=1e-10
    )
    scores = principal_components(points, 2)
    assert scores.shape == (10, 2)
    assert scores[:, 0].var() >= scores[:, 1].var()


def test_openness_and_palm():
    # A flat right hand seen from the palm, fingers up, thumb to the right (the picture's x and y in mm).
    joints = random_hand_mm(np.random.default_rng(0))[None]
    flat = np.zeros((21, 3))
    for finger, x in zip(range(5), (40, 25, 5, -15, -35), strict=True):
        for joint in range(4):
            flat[1 + 4 * finger + joint] = (x, -80 - 30 * joint, 0)
    fist = flat.copy()
    fist[[8, 12, 16, 20]] = flat[[5, 9, 13, 17]] * 0.8
    joints_mm = np.stack([flat, fist, flat * [-1, 1, -1]]) + np.array([0, 0, 500])
    both = Poses(joints_mm, np.ones((3, 21), bool))
    openness = hand_openness(both)
    assert openness[0] > 1.9
    assert openness[1] < 1
    assert palm_facing(both)[0] == pytest.approx(1)
    assert palm_facing(both)[2] == pytest.approx(-1)  # turned about the vertical: its back is seen
    missing = Poses(joints, np.ones((1, 21), bool))
    missing.valid[0, 5] = False
    assert np.isnan(palm_facing(missing)).all()


def test_people_are_a_colouring_only_where_they_are_known():
    poses = Poses(np.random.default_rng(0).normal(size=(3, 21, 3)), np.ones((3, 21), bool))
    assert colourings(poses, ["a", "b", "a"])[0].title == "person"
    assert "person" not in [c.title for c in colourings(poses, ["unknown"] * 3)]


def test_pictures_are_spread_and_the_plot_is_the_same_again():
    places = np.array([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    assert set(spread_rows(places, 4)) >= {2, 3, 4}
    panel = MapPanel("a", places, {2: np.zeros((8, 8, 3), np.uint8)})
    shades = [Colouring("numbers", np.array([0.0, 1, np.nan, 2, 3])), Colouring("names", np.array(list("abcab")))]
    drawn = map_plot([panel], shades)
    assert drawn.startswith(b"\x89PNG")
    assert drawn == map_plot([panel], shades)
