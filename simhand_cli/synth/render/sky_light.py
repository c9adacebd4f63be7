"""Sky light at every vertex of the hand, with the soft shadows the hand casts on itself (compiled)."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.render.jit import kernel
from simhand_cli.synth.render.raster import depth_map

Floats = NDArray[np.float32]


@kernel
def sky_light(
    vertices: Floats,
    normals: Floats,
    blockers: NDArray[np.int32],
    toward: Floats,
    power: Floats,
    centre: Floats,
    radius: float,
    size: int,
) -> Floats:
    """Irradiance of the sky at every vertex with shadows cast by the mesh itself.

    Args:
        vertices: (V, 3) mm.
        normals: (V, 3) unit.
        blockers: (T, 3) triangles that cast shadows.
        toward: (D, 3) unit directions of the sky's parts.
        power: (D, 3) radiance x solid angle of each part.
        centre: (3,) middle of the sphere the depth maps cover; outside it nothing is shadowed.
        radius: of that sphere, mm.
        size: side of the depth maps in pixels.

    Returns:
        (V, 4) irradiance in three colours, and the unshadowed share in [0, 1].
    """
    count = vertices.shape[0]
    light = np.zeros((count, 4), np.float32)
    weight = np.zeros(count, np.float32)
    mapped = np.empty((count, 3), np.float32)
    map_depth = np.empty((size, size), np.float32)
    scale = 0.5 * (size - 1) / radius
    # A surface must not shade itself: it may lie about a map pixel deeper than what the map holds there.
    bias = 2.2 * radius / size
    for d in range(toward.shape[0]):
        lx, ly, lz = toward[d, 0], toward[d, 1], toward[d, 2]
        # Two directions across this one, from whichever axis is not nearly along it.
        if abs(ly) < 0.9:
            ux, uy, uz = -lz, np.float32(0.0), lx
        else:
            ux, uy, uz = np.float32(0.0), lz, -ly
        length = np.sqrt(ux * ux + uy * uy + uz * uz)
        ux, uy, uz = ux / length, uy / length, uz / length
        vx, vy, vz = ly * uz - lz * uy, lz * ux - lx * uz, lx * uy - ly * ux
        for v in range(count):
            px, py, pz = vertices[v, 0] - centre[0], vertices[v, 1] - centre[1], vertices[v, 2] - centre[2]
            mapped[v, 0] = (px * ux + py * uy + pz * uz + radius) * scale
            mapped[v, 1] = (px * vx + py * vy + pz * vz + radius) * scale
            mapped[v, 2] = -(px * lx + py * ly + pz * lz)
        map_depth[:, :] = np.inf
        depth_map(mapped, blockers, map_depth)
        for v in range(count):
            cosine = normals[v, 0] * lx + normals[v, 1] * ly + normals[v, 2] * lz
            # Skin scatters light a little around the edge of the shade.
            wrapped = (cosine + 0.15) / 1.15
            if wrapped <= 0:
                continue
            weight[v] += wrapped
            x, y = int(mapped[v, 0] + 0.5), int(mapped[v, 1] + 0.5)
            open_sky = np.float32(1.0)
            if 0 <= x < size and 0 <= y < size:
                # More where the light grazes, since depth changes most within a map pixel there.
                behind = mapped[v, 2] - bias * (1.4 - cosine) - map_depth[y, x]
                open_sky = np.float32(min(max(1.0 - behind / bias, 0.0), 1.0))
            light[v, 3] += wrapped * open_sky
            for c in range(3):
                light[v, c] += wrapped * open_sky * power[d, c]
    for v in range(count):
        light[v, 3] /= max(weight[v], 1e-6)
    return light
