"""Draw a lit mesh as one camera sees it: colours, what covers what, and how far it is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.mesh import Mesh
from simhand_cli.synth.hand.person import Person
from simhand_cli.synth.render.develop import develop, exposure_gains
from simhand_cli.synth.render.illumination import Illumination
from simhand_cli.synth.render.raster import rasterise
from simhand_cli.synth.render.shading import shade
from simhand_cli.synth.scene.camera import NEAR_MM, Camera
from simhand_cli.synth.scene.surroundings import Scene, reflections

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
SAMPLES: Final = 2  # per pixel side


@dataclass(frozen=True)
class Drawing:
    """A drawn mesh before it is put in front of anything.

    Attributes:
        linear_rgb: (H, W, 3) linear colour times coverage. coverage: (H, W) share of each pixel that is covered.
        hand_coverage: (H, W) the labelled hand's and its arm's part of it.
        depth_mm: (H, W) of the visible surface, 0 where there is none.
        light: (3,) mean light on what is seen.
    """

    linear_rgb: Floats
    coverage: Floats
    hand_coverage: Floats
    depth_mm: Floats
    light: Floats


def draw(
    person: Person, mesh: Mesh, lit: Illumination, camera: Camera, scene: Scene, thing: Floats | None = None
) -> Drawing:
    """Draw a mesh.

    Args:
        person: whose skin it is.
        mesh: from :mod:`simhand_cli.synth.hand.mesh`.
        lit: the light on it.
        camera: where it is seen from.
        scene: for the sleeve and reflections.
        thing: (10,) the held thing's material, see :func:`simhand_cli.synth.render.shading.shade`.
    """
    width, height = camera.size_wh
    position = camera.place(mesh.vertices_mm).astype(np.float32)
    normal = (lit.normals @ camera.turn.T.astype(np.float32)).astype(np.float32)
    pixels = np.zeros((len(position), 2), np.float32)
    # Points behind the camera have no pixel; the rasteriser leaves out triangles nearer than NEAR_MM.
    ahead = position[:, 2] > 1.0
    # Whole numbers are centres in the picture's grid and in that of the samples.
    pixels[ahead] = ((camera.project(position[ahead].astype(np.float64)) + 0.5) * SAMPLES - 0.5).astype(np.float32)
    inverse = np.zeros((height * SAMPLES, width * SAMPLES), np.float32)
    owner = np.full(inverse.shape, -1, np.int32)
    rasterise(pixels, position[:, 2].copy(), mesh.faces, NEAR_MM, inverse, owner)

    key_toward = (camera.turn @ lit.key_toward).astype(np.float32)
    level = _atlas_level(person, camera)
    out = np.zeros((height, width, 6), np.float32)
    # The shader works in the camera frame, since there the view direction of a point is just minus its position.
    skin = np.array([person.roughness, person.reflectance, person.scattering], np.float32)
    materials = np.stack([scene.cloth, scene.cloth if thing is None else thing])
    shade(
        inverse, owner, pixels, position, normal, lit.sky, mesh.along_mm, mesh.faces, mesh.uv, person.atlas[level],
        0.5**level, lit.shadow, _in_camera_frame(lit.shadow_from_rig, camera), np.stack([key_toward, lit.key_power]),
        reflections(scene), camera.world_from_camera.astype(np.float32), skin, materials, mesh.hand_faces,
        mesh.skin_faces, SAMPLES, out,
    )  # fmt: skip
    coverage = out[..., 3]
    # Inverse depth is averaged, as it is linear on the screen; both sums carry the coverage, which cancels.
    with np.errstate(divide="ignore", invalid="ignore"):
        # The shader sums inverse depths, which are linear on the screen.
        depth_mm = np.where(coverage > 0, coverage / out[..., 4], 0.0).astype(np.float32)
    # z points away from the camera, so what faces it looks back along -z.
    seen = normal[:, 2] < 0
    direct = np.maximum(normal[seen] @ key_toward, 0).mean()
    light = lit.sky[seen, :3].mean(axis=0) + lit.key_power * direct
    return Drawing(out[..., :3], coverage, out[..., 5], depth_mm, np.asarray(light, np.float32))


def photograph(
    drawing: Drawing, behind: Floats, scene: Scene, rng: np.random.Generator, gains: Floats | None = None
) -> tuple[NDArray[np.uint8], Floats]:
    """Put a drawing before a backdrop (H, W, 3) and take the picture.

    Args:
        drawing: what is in front.
        behind: linear light of the backdrop.
        scene: how the camera is set.
        rng: source of the grain.
        gains: (3,) on linear light, to keep them in a sequence; None meters and balances this picture.

    Returns:
        (H, W, 3) uint8, and the gains used.
    """
    picture = drawing.linear_rgb + behind * (1 - drawing.coverage[..., None])
    if gains is None:
        gains = exposure_gains(drawing.linear_rgb, drawing.coverage, behind, drawing.light, scene)
    return develop(picture, gains, scene, rng), gains


def _atlas_level(person: Person, camera: Camera) -> int:
    """The level of the skin's image pyramid whose texels are about as large as the drawing's samples."""
    texel_px = camera.intrinsics[0, 0] / camera.distance_mm * 0.6 * SAMPLES  # one texel is about 0.6 mm
    return int(np.clip(np.round(np.log2(max(1 / texel_px, 1e-3))), 0, len(person.atlas) - 1))


def _in_camera_frame(map_from_rig: Array, camera: Camera) -> Floats:
    """A (3, 4) affine map of the rig frame as one of the camera frame: x_rig = turn^T (x_camera - shift)."""
    linear = map_from_rig[:, :3] @ camera.turn.T
    offset = map_from_rig[:, 3] - linear @ camera.shift_mm
    return np.concatenate([linear, offset[:, None]], axis=1).astype(np.float32)
