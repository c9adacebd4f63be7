"""Light on a mesh: computed once and the same for every camera that looks at it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.mesh import Mesh
from simhand_cli.synth.render.raster import depth_map, vertex_normals
from simhand_cli.synth.render.sky_light import sky_light
from simhand_cli.synth.scene.surroundings import Scene, lights

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
#: Sky shadows are soft and there are 28 maps a frame, so these are coarse; the key light's edges are seen.
SKY_MAP_PX: Final = 72
KEY_MAP_PX: Final = 256
#: Flesh around the joints, mm: shadow maps reach this far beyond them.
FLESH_MM: Final = 45.0


@dataclass(frozen=True)
class Illumination:
    """Light in the rig frame.

    Attributes:
        normals: (N, 3) unit. sky: (N, 4) irradiance in three colours, and the share of the sky that is not hidden.
        key_toward, key_power: (3,) towards the key light, and its irradiance.
        shadow: (S, S) depth map of the key light; shadow_from_rig: (3, 4) into its pixels and depth.
    """

    normals: Floats
    sky: Floats
    key_toward: Floats
    key_power: Floats
    shadow: Floats
    shadow_from_rig: Array


def illuminate(mesh: Mesh, joints_mm: Array, scene: Scene, world_from_rig: Array) -> Illumination:
    """Light a mesh.

    Args:
        mesh: what stands in the light.
        joints_mm: (J, 3) of the labelled hand, rig frame: shadows are cast on and by what is near them.
        scene: the place.
        world_from_rig: (3, 3) how the rig stands in it.
    """
    toward, power, key_toward, key_power = lights(scene, world_from_rig.T)
    position = mesh.vertices_mm.astype(np.float32)
    normals = vertex_normals(position, mesh.faces)
    # A sphere about the hand alone: maps that also held the arm would be too coarse, and show as scales on the skin.
    centre = joints_mm.mean(axis=0)
    radius = float(np.linalg.norm(joints_mm - centre, axis=1).max()) + FLESH_MM
    middle = centre.astype(np.float32)
    # The control mesh casts the shadows: a quarter of the triangles, and whose difference is lost in the maps' pixels.
    sky = sky_light(position, normals, mesh.blockers, toward, power, middle, radius, SKY_MAP_PX)
    shadow, to_map = _key_shadow(position, mesh.blockers, key_toward, centre, radius)
    return Illumination(normals, sky, key_toward, key_power, shadow, to_map)


def _key_shadow(
    position: Floats, blockers: NDArray[np.int32], toward: Floats, centre: Array, radius: float
) -> tuple[Floats, Array]:
    """Depth map of the key light and the (3, 4) map from the rig frame into it; fitted to the hand."""
    # Any direction far from the light's will do to span the map's plane.
    helper = np.array([1.0, 0.0, 0.0]) if abs(toward[0]) < 0.7 else np.array([0.0, 1.0, 0.0])
    # Where a panorama has no key light any direction will do: its power is 0.
    if not np.any(toward):
        toward = np.array([0.0, -1.0, 0.0], np.float32)
    u = np.cross(toward, helper)
    u /= np.linalg.norm(u)
    v = np.cross(toward, u)
    scale = 0.5 * (KEY_MAP_PX - 1) / radius
    linear_part = np.stack([u * scale, v * scale, -np.asarray(toward, np.float64)])
    offset = -linear_part @ centre + np.array([radius * scale, radius * scale, 0.0])
    to_map = np.concatenate([linear_part, offset[:, None]], axis=1)
    shadow = np.full((KEY_MAP_PX, KEY_MAP_PX), np.inf, np.float32)
    mapped = position @ to_map[:, :3].T.astype(np.float32) + to_map[:, 3].astype(np.float32)
    depth_map(np.ascontiguousarray(mapped, np.float32), blockers, shadow)
    return shadow, to_map
