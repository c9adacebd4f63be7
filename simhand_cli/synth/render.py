"""Draw a posed hand in a scene: from vertices to a photograph with exact labels."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.articulation import bone_rotations
from simhand_cli.synth.camera import NEAR_MM, Camera
from simhand_cli.synth.hand_model import hand_model
from simhand_cli.synth.jit import kernel
from simhand_cli.synth.person import NO_SLEEVE, Person
from simhand_cli.synth.raster import depth_map, rasterise, vertex_normals
from simhand_cli.synth.scene import LUMINANCE, Scene, backdrop_picture, lights, reflections
from simhand_cli.synth.shading import shade
from simhand_cli.synth.sky_light import sky_light

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
SAMPLES: Final = 2  # per pixel side
SKY_MAP_PX: Final = 72
KEY_MAP_PX: Final = 256
SLEEVE_MM: Final = 4.5
DARKEST: Final = 0.09  # mean linear luminance a hand has at least after metering


@dataclass(frozen=True)
class Surface:
    """A posed hand in its own frame: refined vertices (N, 3), control vertices (V, 3), joints (21, 3); mm.

    ``faces`` (T, 3) wind counter-clockwise seen from outside, also for left hands.
    """

    fine_mm: Array
    control_mm: Array
    joints_mm: Array
    faces: NDArray[np.int32]
    left: bool


@dataclass(frozen=True)
class Shot:
    """One rendered picture with its labels, all in the camera frame.

    Attributes:
        image_rgb: (H, W, 3) uint8. coverage: (H, W) share of each pixel the hand and arm cover.
        depth_mm: (H, W) of the visible surface, 0 where there is none.
        joints_mm: (21, 3); joints_px: (21, 2); vertices_mm: (V, 3) control mesh; intrinsics: (3, 3).
    """

    image_rgb: NDArray[np.uint8]
    coverage: Floats
    depth_mm: Floats
    joints_mm: Array
    joints_px: Array
    vertices_mm: Array
    intrinsics: Array


def posed_surface(person: Person, pose: Array, left: bool, sleeve_start_mm: float = NO_SLEEVE) -> Surface:
    """Skin, refine and dress the hand of a person in a pose (24,) degrees; a left hand is mirrored in x."""
    model = hand_model()
    control, joints = model.skin(person.hand, bone_rotations(person.hand, pose))
    fine = model.refine(control)
    if sleeve_start_mm < NO_SLEEVE:
        normals = vertex_normals(fine.astype(np.float32), model.fine_triangles)
        inside = person.arm_mm - sleeve_start_mm
        ease = np.clip(inside / 3.0 + 1.0, 0, 1)
        folds = 1 + 0.35 * np.sin(inside / 7.0) * np.clip(inside / 40, 0, 1)
        fine = fine + normals * (SLEEVE_MM * ease * folds)[:, None]
    faces = model.fine_triangles
    if left:
        mirror = np.array([-1.0, 1.0, 1.0])
        return Surface(fine * mirror, control * mirror, joints * mirror, faces, True)
    return Surface(fine, control, joints, faces, False)


def forearm_axis(person: Person, left: bool) -> Array:
    """Points (12, 3) along the arm from behind the wrist to its end, hand frame, mm."""
    elbow = person.hand.points_mm[23]
    axis = elbow / np.linalg.norm(elbow)
    end = float(np.linalg.norm(elbow)) + 330.0
    points: Array = np.linspace(50.0, end, 12)[:, None] * axis
    return points * (np.array([-1.0, 1.0, 1.0]) if left else 1.0)


def render(
    person: Person,
    surface: Surface,
    camera: Camera,
    scene: Scene,
    rng: np.random.Generator,
    gains: Floats | None = None,
    backdrop: Floats | None = None,
) -> tuple[Shot, Floats]:
    """Photograph a surface.

    Args:
        person: whose skin it is.
        surface: from :func:`posed_surface`.
        camera: where it is seen from.
        scene: light and backdrop.
        rng: source of the photograph's grain.
        gains: (3,) on linear light, to keep them in a sequence; None meters and balances this picture.
        backdrop: (H, W, 3) linear, to reuse it in a sequence; None draws it.

    Returns:
        the shot, and the gains used.
    """
    width, height = camera.size_wh
    linear_rgb, coverage, depth, light = _draw(person, surface, camera, scene)
    behind = backdrop_picture(scene, camera) if backdrop is None else backdrop
    picture = linear_rgb + behind * (1 - coverage[..., None])
    if gains is None:
        exposure = _meter(linear_rgb, coverage, behind, scene)
        gains = (exposure * _white_balance(scene, light)).astype(np.float32)
    image = _develop(picture, gains, scene, rng, min(width, height))
    joints = camera.place(surface.joints_mm)
    shot = Shot(
        image, coverage, depth, joints, camera.project(joints), camera.place(surface.control_mm), camera.intrinsics
    )
    return shot, gains


def _draw(person: Person, surface: Surface, camera: Camera, scene: Scene) -> tuple[Floats, Floats, Floats, Floats]:
    """Linear colour (H, W, 3) times coverage, coverage (H, W), depth (H, W) in mm, mean light (3,) on what is seen."""
    model = hand_model()
    width, height = camera.size_wh
    position = camera.place(surface.fine_mm).astype(np.float32)
    faces, uv = surface.faces, model.fine_uv
    if surface.left:
        faces, uv = np.ascontiguousarray(faces[:, ::-1]), np.ascontiguousarray(uv[:, ::-1])
    normal = vertex_normals(position, faces)
    pixels = np.zeros((len(position), 2), np.float32)
    ahead = position[:, 2] > 1.0
    pixels[ahead] = ((camera.project(position[ahead].astype(np.float64)) + 0.5) * SAMPLES - 0.5).astype(np.float32)
    inverse = np.zeros((height * SAMPLES, width * SAMPLES), np.float32)
    owner = np.full(inverse.shape, -1, np.int32)
    rasterise(pixels, position[:, 2].copy(), faces, NEAR_MM, inverse, owner)

    toward, power, key_toward, key_power = lights(scene, camera)
    joints = camera.place(surface.joints_mm)
    centre = joints.mean(axis=0).astype(np.float32)
    radius = float(np.linalg.norm(joints - joints.mean(axis=0), axis=1).max()) + 45.0
    blockers = model.coarse_triangles
    light = sky_light(position, normal, blockers, toward, power, centre, radius, SKY_MAP_PX)
    shadow, to_map = _key_shadow(position, blockers, key_toward, centre, radius)

    depth = float(np.median(joints[:, 2]))
    texel_px = camera.intrinsics[0, 0] / depth * 0.6 * SAMPLES  # one atlas texel is about 0.6 mm
    level = int(np.clip(np.round(np.log2(max(1 / texel_px, 1e-3))), 0, len(person.atlas) - 1))
    out = np.zeros((height, width, 5), np.float32)
    skin = np.array([person.roughness, person.reflectance, person.scattering], np.float32)
    key = np.stack([key_toward, key_power])
    to_world = camera.world_from_camera.astype(np.float32)
    shade(
        inverse, owner, pixels, position, normal, light, person.arm_mm, faces, uv, person.atlas[level], 0.5**level,
        shadow, to_map, key, reflections(scene), to_world, skin, scene.cloth, SAMPLES, out,
    )  # fmt: skip
    coverage = out[..., 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_mm = np.where(coverage > 0, coverage / out[..., 4], 0.0).astype(np.float32)
    seen = normal[:, 2] < 0
    on_hand = light[seen, :3].mean(axis=0) + key_power * np.maximum(normal[seen] @ key_toward, 0).mean()
    return out[..., :3], coverage, depth_mm, np.asarray(on_hand, np.float32)


def _key_shadow(
    position: Floats, blockers: NDArray[np.int32], toward: Floats, centre: Floats, radius: float
) -> tuple[Floats, Floats]:
    """Depth map of the key light and the (3, 4) map from the camera frame into it; fitted to the hand."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(toward[0]) < 0.7 else np.array([0.0, 1.0, 0.0])
    if not np.any(toward):
        toward = np.array([0.0, -1.0, 0.0], np.float32)
    u = np.cross(toward, helper)
    u /= np.linalg.norm(u)
    v = np.cross(toward, u)
    scale = 0.5 * (KEY_MAP_PX - 1) / radius
    linear_part = np.stack([u * scale, v * scale, -np.asarray(toward, np.float64)])
    offset = -linear_part @ centre + np.array([radius * scale, radius * scale, 0.0])
    to_map = np.concatenate([linear_part, offset[:, None]], axis=1).astype(np.float32)
    shadow = np.full((KEY_MAP_PX, KEY_MAP_PX), np.inf, np.float32)
    depth_map(np.ascontiguousarray(position @ to_map[:, :3].T + to_map[:, 3]), blockers, shadow)
    return shadow, to_map


def _meter(linear_rgb: Floats, coverage: Floats, behind: Floats, scene: Scene) -> float:
    """Gain that puts a weighted mean of hand and backdrop near middle grey, as a camera's metering would."""
    hand = float((linear_rgb @ LUMINANCE).sum() / max(float(coverage.sum()), 1.0))
    around = float(np.minimum(behind @ LUMINANCE, 3.0).mean())
    exposure = 0.22 * 2.0**scene.exposure_ev / max(0.7 * hand + 0.3 * around, 1e-3)
    # Whoever films hands sees to it that they are not mere silhouettes.
    return float(max(exposure, DARKEST * 2.0 ** (0.5 * scene.exposure_ev) / max(hand, 1e-3)))


def _white_balance(scene: Scene, on_hand: Floats) -> Floats:
    """Gains (3,) that take most of the colour of the light away, that of the place and that on the hand alike."""
    place = scene.surrounding.sky.sum(axis=0) * scene.tint
    light = place / float(place @ LUMINANCE) + on_hand / max(float(on_hand @ LUMINANCE), 1e-6)
    gains = (float(light @ LUMINANCE) / np.maximum(light, 1e-6)) ** scene.white_balance
    return np.asarray(gains / float(gains @ LUMINANCE), np.float32)


@kernel
def _encode(picture: Floats, gains: Floats, vivid: float, grain: Floats, out: NDArray[np.uint8]) -> None:
    """What a camera does: balance and exposure, more vivid colours, soft shoulder, sRGB curve, grain, eight bits."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            grey = 0.0
            for c in range(3):
                grey += (0.2126, 0.7152, 0.0722)[c] * picture[y, x, c] * gains[c]
            for c in range(3):
                value = max(grey + vivid * (picture[y, x, c] * gains[c] - grey), 0.0)
                if value > 0.6:
                    value = 1.0 - 0.4 * np.exp(-(value - 0.6) / 0.4)
                value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
                value += 0.35 * value * (1 - value) * (2 * value - 1)  # a little contrast, black and white kept
                value = (value + grain[y, x, c]) * 255.0 + 0.5
                out[y, x, c] = np.uint8(min(max(value, 0.0), 255.0))


def _develop(
    picture: Floats, gains: Floats, scene: Scene, rng: np.random.Generator, short_px: int
) -> NDArray[np.uint8]:
    import cv2

    sigma = scene.blur_px * short_px / 256
    if sigma > 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(scene.grain)
    out = np.empty(picture.shape, np.uint8)
    _encode(np.ascontiguousarray(picture, np.float32), gains, scene.vivid, grain, out)
    return out
