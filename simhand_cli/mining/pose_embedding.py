"""The pose embedding: 2D keypoints without place and size, projected by PCA (SiMHand paper, Sec. 3.2).

The paper gives ``p = M^T phi(I)`` with a 42-vector of keypoints and D = 14 and leaves the normalisation open. Here the
21 keypoints are centred on their mean and divided by their root-mean-square distance from it (the "centroid size"
of Procrustes analysis). Every joint has a say in both, so that one misplaced joint moves them little, and neither
the wrist (often cut off by a sleeve) nor one bone (often foreshortened) decides. Rotation in the image is kept: a hand
that points up is not similar to one that points left. There is no whitening: distances in the embedding are those of
the normalised keypoints, less the noise in the directions left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.skeleton import NUM_JOINTS

NORMALISATION: Final = "centroid-rms"
VECTOR_SIZE: Final = 2 * NUM_JOINTS
#: Rows in double precision at a time: 22 MB.
_BLOCK_ROWS: Final = 65536
#: A smaller hand is all rounding, which division by its size would blow up to a pose.
_SMALLEST_HAND_PX: Final = 1e-3


def hand_size_px(keypoints_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Root-mean-square distance of the keypoints (N, 21, 2) from their mean, (N,), in their unit."""
    points = np.asarray(keypoints_px, dtype=np.float64)
    centred = points - points.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt((centred**2).sum(axis=2).mean(axis=1)), dtype=np.float64)


def normalise_keypoints(keypoints_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take place and size from keypoints.

    Args:
        keypoints_px: (N, 21, 2), finite and not all in one place.

    Returns:
        (N, 42) float64: x0, y0, x1, y1, ... with mean 0 and root-mean-square radius 1.
    """
    points = np.asarray(keypoints_px, dtype=np.float64)
    centred = points - points.mean(axis=1, keepdims=True)
    shapes: NDArray[np.float64] = centred / hand_size_px(points)[:, None, None]
    return shapes.reshape(len(points), VECTOR_SIZE)


def has_shape(keypoints_px: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) True where keypoints (N, 21, 2) are finite and not all in one place; checked in blocks."""
    usable = np.isfinite(keypoints_px).all(axis=(1, 2))
    for start in range(0, len(keypoints_px), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        # Rows that are not finite have size NaN here, which is larger than nothing.
        with np.errstate(invalid="ignore"):
            usable[part] &= hand_size_px(keypoints_px[part]) > _SMALLEST_HAND_PX
    return np.asarray(usable, dtype=bool)


class CovarianceSum:
    """Mean and covariance of vectors that come in blocks, exact to float64 rounding (Chan's pairwise update)."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, block: NDArray[np.float64]) -> None:
        """Add the rows of ``block`` (n, size)."""
        if len(block) == 0:
            return
        mean = block.mean(axis=0)
        # Centred before squaring: sums of squares less squared sums lose the digits that count.
        centred = block - mean
        total = self.count + len(block)
        shift = mean - self.mean
        self._scatter += centred.T @ centred + np.outer(shift, shift) * (self.count * len(block) / total)
        self.mean = self.mean + shift * (len(block) / total)
        self.count = total

    def covariance(self) -> NDArray[np.float64]:
        """(size, size) covariance, divided by the count."""
        return self._scatter / max(self.count, 1)


@dataclass(frozen=True)
class PosePca:
    """A fitted projection.

    Attributes:
        mean: (42,) mean of the normalised keypoints.
        components: (D, 42) orthonormal rows, largest variance first; the entry of largest magnitude is positive.
        variance: (42,) all eigenvalues of the covariance, largest first.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def variance_kept(self) -> float:
        """Share of the variance in the components kept, 0 to 1."""
        total = float(self.variance.sum())
        return float(self.variance[: len(self.components)].sum()) / total if total > 0 else 1.0

    def project(self, normalised: NDArray[np.float64]) -> NDArray[np.float32]:
        """(N, 42) normalised keypoints -> (N, D) float32 embedding."""
        # Not a BLAS product: its rounding depends on where in the block a row stands, and equal hands must stay equal.
        projected: NDArray[np.float64] = np.einsum("nk,dk->nd", normalised - self.mean, self.components)
        return projected.astype(np.float32)


def fit_pca(blocks: Iterable[NDArray[np.float64]], dimensions: int) -> PosePca:
    """Fit the projection on normalised keypoints that come in blocks (n, 42).

    Args:
        blocks: every row once, in any blocks.
        dimensions: number of components D, 1 to 42.
    """
    if not 1 <= dimensions <= VECTOR_SIZE:
        raise ValueError(f"the embedding can have 1 to {VECTOR_SIZE} dimensions, not {dimensions}")
    total = CovarianceSum(VECTOR_SIZE)
    for block in blocks:
        total.add(block)
    # Of 42 x 42, whatever the number of hands; eigh gives ascending order.
    variance, vectors = np.linalg.eigh(total.covariance())
    # Rounding can bring the smallest eigenvalues below 0.
    variance, rows = variance[::-1].clip(min=0.0), vectors.T[::-1]
    # The sign of an eigenvector is free and differs between LAPACK libraries; this settles it.
    strongest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    rows = rows * np.where(strongest < 0, -1.0, 1.0)
    return PosePca(total.mean, np.ascontiguousarray(rows[:dimensions]), np.ascontiguousarray(variance))


def normalised_blocks(keypoints_px: NDArray[np.floating], rows: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """The chosen rows of keypoints (N, 21, 2), normalised, in blocks (n, 42)."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield normalise_keypoints(keypoints_px[rows[start : start + _BLOCK_ROWS]])


def embed(
    keypoints_px: NDArray[np.floating], rows: NDArray[np.int64], dimensions: int
) -> tuple[PosePca, NDArray[np.float32]]:
    """Fit the projection on the chosen rows and project them.

    Returns:
        the projection and the (len(rows), D) float32 embedding.
    """
    pca = fit_pca(normalised_blocks(keypoints_px, rows), dimensions)
    embedding = np.empty((len(rows), dimensions), dtype=np.float32)
    start = 0
    # Normalised twice rather than kept: 14 million hands in double precision are 5 GB.
    for block in normalised_blocks(keypoints_px, rows):
        embedding[start : start + len(block)] = pca.project(block)
        start += len(block)
    return pca, embedding
