"""How alike the poses are of hands that lie near each other in feature space: k-NN pose retrieval."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.metrics.alignment import AlignmentName, align
from simhand_cli.metrics.joint_errors import joint_errors, sample_means

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Numbers of neighbours that are reported.
NEIGHBOURS: Final = (1, 5, 10)
#: What is forgiven between two poses: wrist and bone length, or rotation too.
ALIGNMENTS: Final[tuple[AlignmentName, ...]] = ("root_bone_scale", "procrustes_scale")
#: Pairs of poses compared at a time, 25 MB of joints each side.
_PAIRS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Poses:
    """Labelled poses of N right hands.

    Attributes:
        joints_mm: (N, 21, 3) camera frame.
        valid: (N, 21).
    """

    joints_mm: Floats
    valid: Mask

    def __len__(self) -> int:
        return len(self.joints_mm)


def pair_distances(name: AlignmentName, queries: Poses, gallery: Poses, rows: NDArray[np.int64]) -> Floats:
    """Mean joint distance between queries and gallery poses that were moved onto them.

    Args:
        name: alignment of the gallery's pose with the query's; the size is the query's.
        queries: Q poses.
        gallery: G poses.
        rows: (Q, K) rows of the gallery, -1 for none.

    Returns:
        (Q, K) in mm over the joints labelled in both; NaN for no row, or where the alignment is not determined.
    """
    query, column = np.nonzero(rows >= 0)
    distances = np.full(rows.shape, np.nan)
    for start in range(0, len(query), _PAIRS):
        q, c = query[start : start + _PAIRS], column[start : start + _PAIRS]
        g = rows[q, c]
        valid = queries.valid[q] & gallery.valid[g]
        # 0 for unlabelled joints: NaN would spread through the sums of an alignment, though their weight is 0.
        truth = np.where(valid[..., None], queries.joints_mm[q], 0.0)
        aligned = align(name, np.where(valid[..., None], gallery.joints_mm[g], 0.0), truth, valid)
        errors = joint_errors(aligned.joints_mm, truth)
        distances[q, c] = sample_means(errors, valid & aligned.scored[:, None])
    return distances


def means_of_nearest(distances: Floats) -> dict[int, Floats]:
    """Number k -> (Q,) mean of the first k columns of (Q, K) distances; NaN where one of them is missing."""
    return {k: distances[:, :k].mean(axis=1) for k in NEIGHBOURS if k <= distances.shape[1]}


def oracle_distances(
    name: AlignmentName,
    queries: Poses,
    gallery: Poses,
    query_groups: NDArray[np.int64],
    gallery_groups: NDArray[np.int64],
    count: int,
) -> tuple[Floats, NDArray[np.int64]]:
    """The best that retrieval could do: the gallery's nearest poses by the distance itself, found by trying all.

    Args:
        name: alignment.
        queries: Q poses.
        gallery: G poses.
        query_groups: (Q,) as for :func:`~simhand_cli.features.knn.nearest`.
        gallery_groups: (G,).
        count: K.

    Returns:
        (Q, K) ascending distances in mm and the (Q, K) rows; NaN and -1 where fewer are allowed.
    """
    kept = np.full((len(queries), count), np.nan)
    rows = np.full((len(queries), count), -1, np.int64)
    for number in range(len(queries)):
        # One query at a time: all pairs at once would be a gigabyte of joints.
        allowed = np.flatnonzero(gallery_groups != query_groups[number])
        one = Poses(queries.joints_mm[number : number + 1], queries.valid[number : number + 1])
        distances = pair_distances(name, one, gallery, allowed[None])[0]
        order = np.argsort(distances, kind="stable")[:count]  # NaN comes last
        kept[number, : len(order)], rows[number, : len(order)] = distances[order], allowed[order]
    return kept, np.where(np.isfinite(kept), rows, -1)
