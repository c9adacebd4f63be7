"""Everything about a picture but the hand's pose: light, backdrop, sleeve, exposure and the photograph's flaws."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.person import NO_SLEEVE
from simhand_cli.synth.scene.backgrounds import Backdrop, clutter, panorama_view, plain
from simhand_cli.synth.scene.camera import Camera
from simhand_cli.synth.scene.panorama import LUMINANCE, Panorama, panorama, panorama_names, sky_directions
from simhand_cli.synth.scene.photos import Pictures, photo_view

Floats = NDArray[np.float32]
#: Share of each backdrop in mixed sets.
BACKDROP_SHARES: Final[dict[Backdrop, float]] = {"panorama": 0.55, "photo": 0.15, "clutter": 0.2, "plain": 0.1}
#: The same where the user's own pictures are given.
OWN_SHARES: Final[dict[Backdrop, float]] = {"panorama": 0.3, "photo": 0.6, "clutter": 0.1}
#: Gloss and squared roughness of cloth.
_CLOTH_SHINE: Final = (0.2, 0.5)


@dataclass(frozen=True)
class Scene:
    """One place, lit and dressed: fixed during a sequence.

    Attributes:
        yaw: turn of the panorama about the vertical, radians.
        key_gain: strength of the key light relative to the panorama's own, capped.
        cloth: (10,) the sleeve's material, see :func:`simhand_cli.synth.render.shading.shade`.
        pictures: the user's own backgrounds; None: the packaged photographs.
        exposure_ev, white_balance: metering offset in stops; share of the light's colour that is balanced out.
        vivid: gain on the colours' distance from grey, as cameras apply it.
        blur_px, grain, jpeg_quality: flaws of the photograph; sigma of the blur is for a 256-pixel picture.
    """

    panorama_name: str
    yaw: float
    backdrop: Backdrop
    backdrop_seed: int
    key_gain: float
    tint: Floats
    cloth: Floats
    exposure_ev: float
    white_balance: float
    vivid: float
    blur_px: float
    grain: float
    jpeg_quality: int
    pictures: Pictures | None = None

    @property
    def surrounding(self) -> Panorama:
        """The decoded panorama."""
        return panorama(self.panorama_name)


def random_scene(rng: np.random.Generator, backdrop: Backdrop | None = None, pictures: Pictures | None = None) -> Scene:
    """Draw a place; without ``backdrop`` its kind follows :data:`BACKDROP_SHARES`, or :data:`OWN_SHARES`."""
    names = panorama_names()
    shares = OWN_SHARES if pictures else BACKDROP_SHARES
    # Drawn among the names of the type.
    kind: Backdrop = backdrop or str(rng.choice(list(shares), p=list(shares.values())))  # type: ignore[assignment]
    tint = np.exp(rng.normal(0.0, 0.12, 3)) if rng.random() < 0.25 else np.ones(3)
    return Scene(
        panorama_name=names[int(rng.integers(len(names)))],
        yaw=float(rng.uniform(0, 2 * np.pi)),
        backdrop=kind,
        # A seed instead of the picture: every camera paints its own backdrop from it and its number.
        backdrop_seed=int(rng.integers(1 << 31)),
        key_gain=float(rng.uniform(0.3, 1.0)),
        tint=tint.astype(np.float32),
        cloth=random_cloth(rng),
        exposure_ev=float(np.clip(rng.normal(0.0, 0.3), -0.8, 0.8)),
        white_balance=float(rng.uniform(0.75, 1.0)),
        vivid=float(rng.uniform(1.0, 1.3)),
        blur_px=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.5 else 0.0,
        grain=float(rng.uniform(0.003, 0.022)),
        jpeg_quality=int(rng.integers(70, 96)),
        pictures=pictures,
    )


def random_cloth(rng: np.random.Generator) -> Floats:
    """The sleeve's material (10,) for the shader; matt."""
    # Sleeves in 55 % of the scenes; both bare and dressed arms must be common.
    if rng.random() > 0.55:
        return np.array([NO_SLEEVE, 0, 0, 0, 0, 0, 0, 0, *_CLOTH_SHINE], np.float32)
    value = rng.uniform(0.03, 0.7)
    first = np.clip(value * np.exp(rng.normal(0, 0.7, 3)), 0.01, 0.85)
    second = np.clip(first * np.exp(rng.normal(0, 0.8, 3)), 0.01, 0.85)
    period = rng.uniform(8, 40) if rng.random() < 0.35 else 0.0
    return np.array([rng.uniform(30, 160), *first, *second, period, *_CLOTH_SHINE], np.float32)


def turn_about_vertical(directions: Floats, yaw: float) -> Floats:
    """Panorama directions (..., 3) as world directions when the panorama is turned by ``yaw``."""
    c, s = np.cos(yaw), np.sin(yaw)
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    return np.stack([x * c + z * s, y, z * c - x * s], axis=-1).astype(np.float32)


def lights(scene: Scene, rig_from_world: NDArray[np.float64]) -> tuple[Floats, Floats, Floats, Floats]:
    """Directions and powers of the sky's parts (D, 3), and of the key light (3,), in the rig frame."""
    place = scene.surrounding
    toward = (turn_about_vertical(sky_directions(), scene.yaw) @ rig_from_world.T).astype(np.float32)
    power = place.sky * scene.tint
    key_toward = (rig_from_world @ turn_about_vertical(place.key_direction, scene.yaw)).astype(np.float32)
    key = place.key_irradiance * scene.tint
    # A bare sun is fifty times the sky here; a photograph's shade would be black. It stays below three skies.
    sky_total = float(power.sum(axis=0) @ LUMINANCE) / 4
    strength = float(key @ LUMINANCE)
    if strength > 1e-6:
        key = key * (min(strength, 3.0 * sky_total) / strength * scene.key_gain)
    return np.ascontiguousarray(toward), np.ascontiguousarray(power, np.float32), key_toward, key.astype(np.float32)


def reflections(scene: Scene) -> Floats:
    """The blurred panorama (16, 32, 3), turned to world azimuths."""
    small = scene.surrounding.small
    # Whole columns of the blurred map are near enough for a reflection; it spares a resampling.
    columns = round(scene.yaw / (2 * np.pi) * small.shape[1])
    return np.ascontiguousarray(np.roll(small, -columns, axis=1) * scene.tint, np.float32)


def backdrop_picture(scene: Scene, camera: Camera) -> Floats:
    """The picture behind the hand, (H, W, 3) linear, in the light's units.

    Panoramas agree between the cameras of a rig; the other kinds are flat pictures, each camera's its own.
    """
    seen = panorama_view(scene.surrounding, camera.world_from_camera, camera.intrinsics, scene.yaw, camera.size_wh)
    if scene.backdrop == "panorama":
        return seen
    rng = np.random.default_rng([scene.backdrop_seed, camera.number])
    if scene.backdrop == "photo":
        # A photograph's brightness is its camera's choice; it takes over that of the place.
        return photo_view(rng, scene.pictures, camera.size_wh, float(np.median(seen @ LUMINANCE)))
    palette = np.clip(seen.reshape(-1, 3)[rng.integers(seen.shape[0] * seen.shape[1], size=24)], 0.05, 2.0)
    painter = clutter if scene.backdrop == "clutter" else plain
    return painter(rng, camera.size_wh, palette)
