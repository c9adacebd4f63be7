"""Exact t-SNE (van der Maaten & Hinton 2008) for up to a few thousand points, on numpy alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The memory and the time of a step grow with the square of the points.
MAX_POINTS: Final = 2000
_PCA_DIMENSIONS: Final = 50
_EXAGGERATION, _EXAGGERATED_STEPS, _STEPS = 12.0, 250, 750
_SMALLEST: Final = 1e-12


def principal_components(points: NDArray[np.floating], dimensions: int) -> Floats:
    """Points (N, D) on their first principal axes (N, min(dimensions, N, D)); signs chosen so that they are unique."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    scores = (u * singular)[:, :dimensions]
    largest = np.abs(scores).argmax(axis=0)
    turned: Floats = scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)
    return turned


def squared_distances(points: Floats) -> Floats:
    """(N, N) squared Euclidean distances, exactly 0 on the diagonal."""
    square = (points**2).sum(axis=1)
    # Rounding can bring the distance of nearly equal points below 0.
    distances: Floats = np.maximum(square[:, None] + square[None] - 2 * points @ points.T, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def conditional_affinities(distances: Floats, perplexity: float) -> Floats:
    """(N, N) rows p(j | i) of Eq. 1, whose widths give every row the perplexity 2^H; found by bisection.

    Args:
        distances: (N, N) squared distances.
        perplexity: wanted, below N - 1.
    """
    others = ~np.eye(len(distances), dtype=bool)
    # A factor common to a row cancels when it is normalised; without the shift all of a far point's terms underflow.
    shifted = distances - np.where(others, distances, np.inf).min(axis=1, keepdims=True)
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    precision = 1.0 / np.maximum(np.where(others, shifted, 0.0).mean(axis=1), _SMALLEST)
    for _ in range(100):
        rows = np.where(others, np.exp(-shifted * precision[:, None]), 0.0)
        rows /= rows.sum(axis=1, keepdims=True)
        entropy = -(rows * np.log(np.maximum(rows, 1e-300))).sum(axis=1)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        # Doubled until the wanted width is bracketed, then halved intervals.
        precision = np.where(np.isinf(high), precision * 2, (low + np.where(np.isinf(high), 0.0, high)) / 2)
    return rows


def affinities(points: Floats, perplexity: float) -> Floats:
    """(N, N) symmetric joint probabilities of the points (N, D), summing to 1 (Section 3.1)."""
    rows = conditional_affinities(squared_distances(points), perplexity)
    joint: Floats = (rows + rows.T) / (2 * len(points))
    return joint


def divergence_gradient(joint: Floats, places: Floats) -> Floats:
    """Gradient (N, 2) of KL(P || Q) over the map's places (N, 2) (Eq. 5)."""
    # Student's t: its heavy tails let far points stand apart, for which the plane has no room otherwise.
    kernel = 1.0 / (1.0 + squared_distances(places))
    np.fill_diagonal(kernel, 0.0)
    pull = (joint - kernel / kernel.sum()) * kernel
    # Sum over j of pull_ij (y_i - y_j), without the (N, N, 2) array of differences.
    gradient: Floats = 4.0 * (pull.sum(axis=1)[:, None] * places - pull @ places)
    return gradient


def tsne(points: NDArray[np.floating], perplexity: float = 30.0, steps: int = _STEPS) -> Floats:
    """Places (N, 2) of points (N, D) in a map.

    Starts from the first two principal components, so that it needs no random numbers (Kobak & Berens 2019); early
    exaggeration, momentum and gains as in the authors' program, step width N / exaggeration (Belkina et al. 2019).

    Args:
        points: at most :data:`MAX_POINTS`; brought to 50 dimensions by PCA first.
        perplexity: made smaller where there are fewer than three times as many points.
        steps: of gradient descent.

    Raises:
        ValueError: fewer than 4 points, or too many.
    """
    if not 4 <= len(points) <= MAX_POINTS:
        raise ValueError(f"t-SNE takes 4 to {MAX_POINTS} points, got {len(points)}")
    reduced = principal_components(points, _PCA_DIMENSIONS)
    joint = affinities(reduced, usable_perplexity(perplexity, len(points)))
    places = np.zeros((len(points), 2))
    places[:, : reduced.shape[1]] = reduced[:, :2]
    # As small as a random start would be: spread wider, the points could no longer pass each other.
    places *= 1e-4 / max(float(places[:, 0].std()), _SMALLEST)
    rate = max(len(points) / _EXAGGERATION, 50.0)
    step, gains = np.zeros_like(places), np.ones_like(places)
    for number in range(steps):
        # Clusters form while they are pulled together too strongly, then spread.
        early = number < min(_EXAGGERATED_STEPS, steps // 3)
        gradient = divergence_gradient(joint * _EXAGGERATION if early else joint, places)
        gains = np.maximum(np.where(np.sign(gradient) != np.sign(step), gains + 0.2, gains * 0.8), 0.01)
        step = (0.5 if early else 0.8) * step - rate * gains * gradient
        places = places + step
        # Gains differ from coordinate to coordinate, so that steps do not sum to 0 and the map would drift.
        places -= places.mean(axis=0)
    return places


def usable_perplexity(wanted: float, points: int) -> float:
    """The perplexity, at most a third of the number of neighbours a point has."""
    return min(wanted, max((points - 1) / 3, 1.0))
