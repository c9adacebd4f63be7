"""The z-buffer: which triangle each pixel shows, and how far it is (compiled, single-threaded, deterministic)."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.render.jit import kernel

Floats = NDArray[np.float32]


@kernel
def rasterise(
    xy: Floats, depth: Floats, faces: NDArray[np.int32], near: float, inverse: Floats, owner: NDArray[np.int32]
) -> None:
    """Draw triangles into a z-buffer of inverse depth (linear on the screen, so perspective is exact).

    Args:
        xy: (V, 2) vertices in pixels, pixel centres at whole numbers.
        depth: (V,) distance along the view direction, > 0 in front.
        faces: (T, 3); clockwise on the screen (y down) shows the front. Others are culled.
        near: triangles with a vertex nearer than this are left out.
        inverse: (H, W) in/out, 1 / depth of the nearest surface; start with zeros.
        owner: (H, W) in/out, triangle shown; start with -1.
    """
    height, width = inverse.shape
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if depth[a] < near or depth[b] < near or depth[c] < near:
            continue
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Turned away, or seen edge-on: the weights below divide by the area.
        if area >= -1e-12:
            continue
        x0 = max(int(np.ceil(min(ax, bx, cx))), 0)
        x1 = min(int(np.floor(max(ax, bx, cx))), width - 1)
        y0 = max(int(np.ceil(min(ay, by, cy))), 0)
        y1 = min(int(np.floor(max(ay, by, cy))), height - 1)
        if x0 > x1 or y0 > y1:
            continue
        scale = 1.0 / area
        ia, ib, ic = 1.0 / depth[a], 1.0 / depth[b], 1.0 / depth[c]
        step_b = (cy - ay) * scale
        step_c = (ay - by) * scale
        step_i = (ib - ia) * step_b + (ic - ia) * step_c
        for y in range(y0, y1 + 1):
            wb = ((x0 - ax) * (cy - ay) - (y - ay) * (cx - ax)) * scale
            wc = ((bx - ax) * (y - ay) - (by - ay) * (x0 - ax)) * scale
            value = ia + (ib - ia) * wb + (ic - ia) * wc
            for x in range(x0, x1 + 1):
                # A hair outside counts too, or rounding would leave pinholes between neighbours.
                if wb >= -1e-6 and wc >= -1e-6 and wb + wc <= 1.000001 and value > inverse[y, x]:
                    inverse[y, x] = value
                    owner[y, x] = t
                wb += step_b
                wc += step_c
                value += step_i


@kernel
def depth_map(points: Floats, faces: NDArray[np.int32], out: Floats) -> None:
    """Orthographic nearest depth (H, W) of a mesh seen along +z; ``out`` starts at +inf.

    Args:
        points: (V, 3), x and y in map pixels, z the distance from the light.
        faces: (T, 3), both sides drawn.
        out: (H, W) in/out.
    """
    height, width = out.shape
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        x0 = max(int(np.ceil(min(ax, bx, cx))), 0)
        x1 = min(int(np.floor(max(ax, bx, cx))), width - 1)
        y0 = max(int(np.ceil(min(ay, by, cy))), 0)
        y1 = min(int(np.floor(max(ay, by, cy))), height - 1)
        scale = 1.0 / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * scale
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * scale
                if wb >= -1e-6 and wc >= -1e-6 and wb + wc <= 1.000001:
                    z = points[a, 2] * (1 - wb - wc) + points[b, 2] * wb + points[c, 2] * wc
                    if z < out[y, x]:
                        out[y, x] = z


@kernel
def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Area-weighted unit normals (V, 3) of a triangle mesh."""
    normals = np.zeros_like(vertices)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        )  # fmt: skip
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        )  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length
    return normals
