"""One level of Catmull-Clark subdivision as a sparse matrix, computed once per topology."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def catmull_clark(control_quads: NDArray[np.integer], count: int) -> tuple[Any, NDArray[np.int32]]:
    """Subdivision of an all-quad mesh (Catmull & Clark 1978), with open edges kept as B-spline curves.

    Args:
        control_quads: (F, 4) vertex indices, counter-clockwise seen from outside.
        count: number of vertices V.

    Returns:
        ``stencil``: scipy CSR matrix (V + E + F, V); refined positions are ``stencil @ positions``, old vertices first,
        then edge points, then face points. ``fine_quads`` (4 F, 4): the four children of face f, rows 4 f .. 4 f + 3,
        each (corner, next edge, face, previous edge), in the order of the face's corners.
    """
    import scipy.sparse as sparse

    quads: NDArray[np.int64] = np.asarray(control_quads, dtype=np.int64)
    faces = len(quads)
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, edge_of_side, uses = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True)
    # NumPy 2.0 alone gives the inverse another shape.
    edge_of_side = edge_of_side.reshape(-1)
    uses = uses.astype(np.int64)

    face_points = _matrix(np.repeat(np.arange(faces), 4), quads.ravel(), 0.25, (faces, count))
    ends = _matrix(np.repeat(np.arange(len(edges)), 2), edges.ravel(), 0.5, (len(edges), count))
    face_of_edge = _matrix(edge_of_side.astype(np.int64), np.repeat(np.arange(faces), 4), 0.5, (len(edges), faces))
    # An edge with one face is border: its point goes by its ends alone, as there is no second face to average.
    inner = sparse.diags((uses == 2).astype(float))
    edge_points = (
        inner @ (0.5 * ends + 0.5 * (face_of_edge @ face_points)) + (sparse.identity(len(edges)) - inner) @ ends
    )

    stencil = sparse.vstack([_vertex_points(edges, uses, ends, face_points, quads, count), edge_points, face_points])
    side_edges = edge_of_side.reshape(faces, 4) + count
    centre = np.repeat(np.arange(faces)[:, None] + count + len(edges), 4, axis=1)
    fine = np.stack([quads, side_edges, centre, np.roll(side_edges, 1, axis=1)], axis=-1)
    return stencil.tocsr(), fine.reshape(-1, 4).astype(np.int32)


def _vertex_points(
    edges: NDArray[np.int64],
    uses: NDArray[np.int64],
    ends: Any,
    face_points: Any,
    quads: NDArray[np.int64],
    count: int,
) -> Any:
    """Rows of the stencil for the old vertices: (Q + 2 R + (n - 3) S) / n inside, the cubic B-spline on open edges."""
    import scipy.sparse as sparse

    valence = np.maximum(np.bincount(edges.ravel(), minlength=count), 1).astype(float)
    face_count = np.maximum(np.bincount(quads.ravel(), minlength=count), 1).astype(float)
    around_faces = _matrix(quads.ravel(), np.repeat(np.arange(len(quads)), 4), 1.0, (count, len(quads)))
    around_edges = _matrix(edges.ravel(), np.repeat(np.arange(len(edges)), 2), 1.0, (count, len(edges)))
    identity = sparse.identity(count)
    mean_faces = sparse.diags(1 / face_count) @ around_faces @ face_points
    mean_edges = sparse.diags(1 / valence) @ around_edges @ ends
    smooth = sparse.diags(1 / valence) @ (mean_faces + 2 * mean_edges + sparse.diags(valence - 3) @ identity)
    border = np.zeros(count, bool)
    border[edges[uses == 1]] = True
    open_edges = around_edges @ sparse.diags((uses == 1).astype(float))
    curve = 0.5 * identity + 0.25 * (open_edges @ ends)
    on_border = sparse.diags(border.astype(float))
    return on_border @ curve + (identity - on_border) @ smooth


def _matrix(rows: NDArray[np.int64], columns: NDArray[np.int64], value: float, shape: tuple[int, int]) -> Any:
    import scipy.sparse as sparse

    return sparse.coo_matrix((np.full(len(rows), value), (rows, columns)), shape=shape).tocsr()


def split_corners(corner_uv: NDArray[np.floating]) -> NDArray[np.float32]:
    """Corner attributes (F, 4, C) of quads, interpolated to their four children: (4 F, 4, C) float32."""
    following = np.roll(corner_uv, -1, axis=1)
    previous = np.roll(corner_uv, 1, axis=1)
    centre = np.repeat(corner_uv.mean(axis=1, keepdims=True), 4, axis=1)
    fine = np.stack([corner_uv, (corner_uv + following) / 2, centre, (corner_uv + previous) / 2], axis=2)
    return fine.reshape(-1, 4, corner_uv.shape[-1]).astype(np.float32)


def triangles(quads: NDArray[np.integer]) -> NDArray[np.int32]:
    """Two triangles per quad, (2 F, 3) int32: rows 2 f and 2 f + 1 belong to quad f."""
    return np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], axis=1).reshape(-1, 3).astype(np.int32)
