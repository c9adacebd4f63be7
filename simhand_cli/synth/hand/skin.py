"""The skin of one person as a texture atlas: tones, redness, creases, nails and relief."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.hand_model import ATLAS_HEIGHT, ATLAS_WIDTH, hand_model
from simhand_cli.synth.render.noise import noise
from simhand_cli.synth.render.raster import rasterise, vertex_normals

Floats = NDArray[np.float32]
#: Back of the hand and palm, sRGB, from light to dark; a tone in [0, 1] blends between neighbours.
BACKS: Final = np.array(
    [(233, 200, 178), (222, 182, 154), (205, 160, 128), (184, 137, 104),
     (158, 111, 80), (126, 84, 58), (94, 60, 42), (68, 44, 33)],
    np.float32,
)  # fmt: skip
PALMS: Final = np.array(
    [(234, 176, 156), (227, 167, 144), (217, 161, 136), (208, 153, 126),
     (196, 146, 118), (182, 130, 104), (164, 112, 88), (148, 98, 78)],
    np.float32,
)  # fmt: skip
#: Creases across the palm side at each joint: (joint, offset towards the tip mm, strength).
_PALM_CREASES: Final = (
    *(
        (base + k, offset, strength)
        for base in (5, 9, 13, 17)
        for k, offset, strength in ((0, 19.0, 0.8), (0, 16.5, 0.4), (1, -1.2, 1.0), (1, 1.4, 0.7), (2, 0.0, 0.9))
    ),
    (2, 1.0, 0.6), (3, 0.0, 1.0), (3, 2.2, 0.5),
)  # fmt: skip
#: The three lines of the palm, as points in the hand frame (x, y) for a 96 mm palm.
_PALM_LINES: Final = (
    ((27.0, 66.0), (14.0, 60.0), (5.0, 48.0), (0.0, 32.0), (2.0, 14.0)),
    ((27.0, 68.0), (10.0, 64.0), (-8.0, 55.0), (-24.0, 45.0)),
    ((-36.0, 64.0), (-20.0, 68.0), (-4.0, 74.0), (6.0, 84.0)),
)


@dataclass(frozen=True)
class _Canvas:
    """What every texel of the atlas lies on: fixed for the model, indices of used texels and their place at rest."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    fill_rows: NDArray[np.int64]
    fill_columns: NDArray[np.int64]
    points: Floats
    palm_side: Floats
    digit: NDArray[np.int64]
    nail: Floats
    lines: Floats
    wrinkles: Floats
    redness: Floats


@lru_cache(maxsize=1)
def _canvas() -> _Canvas:
    from scipy import ndimage

    model = hand_model()
    fine = model.refine(model.base_mm).astype(np.float32)
    normals = vertex_normals(fine, model.fine_triangles)
    # The atlas counts from its edge, the rasteriser from pixel centres.
    corners = model.fine_uv.reshape(-1, 2) - 0.5
    faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    owner = np.full((ATLAS_HEIGHT, ATLAS_WIDTH), -1, np.int32)
    inverse = np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH), np.float32)
    ones = np.ones(len(corners), np.float32)
    for order in ((0, 1, 2), (0, 2, 1)):  # the unfolding may turn a face over
        rasterise(corners, ones, np.ascontiguousarray(faces[:, order]), 0.0, inverse, owner)
    # Texels between the islands take their nearest neighbour's colour, or bilinear lookups and smaller levels would
    # bleed black into the seams.
    nearest = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(owner >= 0)
    triangle = owner[rows, columns]
    weights = _barycentric(corners[faces[triangle]], np.stack([columns, rows], axis=1).astype(np.float32))
    ids = model.fine_triangles[triangle]
    points = (fine[ids] * weights[..., None]).sum(axis=1)
    normal = (normals[ids] * weights[..., None]).sum(axis=1)
    bones = model.refine(model.weights).argmax(axis=1)[ids].max(axis=1)
    digit = np.where(bones < 6, -1, np.where(bones < 9, 0, (bones - 6) // 3))
    nail = np.zeros(len(rows), np.float32)
    upper = rows < ATLAS_WIDTH
    nail[upper] = model.nail_mask[rows[upper], columns[upper]] / 255.0
    # The thumb is turned against the palm, so what counts as its palm side is said by its nail, blended in smoothly.
    thumb_weights = model.refine(model.weights)[:, 7:9].sum(axis=1).astype(np.float32)
    thumb = (thumb_weights[ids] * weights).sum(axis=1)
    palm_side = _palm_side(points, normal, thumb, model.nail_normals[0])
    lines, wrinkles = _crease_maps(points, palm_side, digit, model.base_points_mm)
    return _Canvas(
        rows, columns, nearest[0], nearest[1], points, palm_side, digit, nail, lines, wrinkles,
        _redness(points, palm_side, model.base_points_mm),
    )  # fmt: skip


def _barycentric(corners: Floats, at: Floats) -> Floats:
    """Weights (N, 3) of points (N, 2) in triangles (N, 3, 2), kept inside."""
    e1, e2, p = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], at - corners[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    # Slivers in the unfolding: any weights will do there, but not infinite ones.
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    b = (p[:, 0] * e2[:, 1] - p[:, 1] * e2[:, 0]) / area
    c = (e1[:, 0] * p[:, 1] - e1[:, 1] * p[:, 0]) / area
    weights = np.clip(np.stack([1 - b - c, b, c], axis=1), 0, 1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _palm_side(points: Floats, normal: Floats, thumb: Floats, thumb_nail: NDArray[np.float64]) -> Floats:
    """How much each texel lies on the palm side, 0..1, with a soft border along the fingers' flanks."""
    out_of_palm = thumb[:, None] * -thumb_nail + (1 - thumb[:, None]) * np.array([0.0, 0.0, 1.0])
    side = (normal * out_of_palm).sum(axis=1)
    share = 1 / (1 + np.exp(-(side - 0.1) * 7))
    forearm = np.clip((points[:, 1] + 30) / 45, 0, 1)  # the palm's colour fades out at the wrist
    return np.asarray(share * forearm, np.float32)


def _crease_maps(
    points: Floats, palm_side: Floats, digit: NDArray[np.int64], joints: NDArray[np.float64]
) -> tuple[Floats, Floats]:
    """Sharp lines on the palm side and knuckle wrinkles on the back, each 0..1."""
    # Ruled lines would look drawn: all creases and wrinkles sway a little, by the same field for every person.
    bend = 1.6 * noise(points, 7.0, 5)
    lines = np.zeros(len(points), np.float32)
    for joint, offset, strength in _PALM_CREASES:
        finger = (joint - 1) // 4
        axis = joints[joint + 1] - joints[joint]
        axis /= np.linalg.norm(axis)
        along = (points - joints[joint]) @ axis - offset + bend
        near = np.linalg.norm(points - joints[joint] - offset * axis, axis=1) < 15
        here = near & ((digit == finger) | (digit < 0))
        # A maximum, not a sum: where creases cross, skin is not twice as deep.
        lines = np.maximum(lines, np.where(here, strength * np.exp(-((along / 0.75) ** 2)) * palm_side, 0))
    for line in _PALM_LINES:
        gap = np.full(len(points), np.inf)
        for start, end in pairwise(line):
            p0, step = np.array(start), np.array(end) - np.array(start)
            t = np.clip(((points[:, :2] - p0) @ step) / (step @ step), 0, 1)
            gap = np.minimum(gap, np.linalg.norm(points[:, :2] - p0 - t[:, None] * step, axis=1))
        lines = np.maximum(lines, np.where(digit < 1, 0.7 * np.exp(-(((gap + 0.6 * bend) / 0.9) ** 2)) * palm_side, 0))
    wrinkles = np.zeros(len(points), np.float32)
    for finger in range(5):
        for joint, reach in ((2 + 4 * finger, 4.5), (3 + 4 * finger, 3.0)):
            axis = joints[joint + 1] - joints[joint - 1]
            axis /= np.linalg.norm(axis)
            along = (points - joints[joint]) @ axis
            wave = 0.5 + 0.5 * np.cos(2 * np.pi * (along + 0.7 * bend) / 2.3)
            here = (digit == finger) & (np.linalg.norm(points - joints[joint], axis=1) < 16)
            wrinkles = np.maximum(wrinkles, np.where(here, wave * np.exp(-((along / reach) ** 2)) * (1 - palm_side), 0))
    return lines.astype(np.float32), wrinkles.astype(np.float32)


def _redness(points: Floats, palm_side: Floats, joints: NDArray[np.float64]) -> Floats:
    """Where blood shows: knuckles, finger ends, the rim of the palm; 0..1."""
    red = np.zeros(len(points))
    for finger in range(5):
        for joint, reach, strength in ((1, 11.0, 0.5), (2, 9.0, 0.7), (3, 8.0, 0.5), (4, 11.0, 0.9)):
            gap = np.linalg.norm(points - joints[joint + 4 * finger], axis=1)
            red = np.maximum(red, strength * np.exp(-((gap / reach) ** 2)))
    ball = np.exp(-(((points[:, 0] - 24) / 14) ** 2) - ((points[:, 1] - 36) / 20) ** 2)
    heel = np.exp(-(((points[:, 0] + 30) / 12) ** 2) - ((points[:, 1] - 32) / 22) ** 2)
    return np.maximum(red, 0.6 * np.maximum(ball, heel) * palm_side).astype(np.float32)


def linear(srgb: NDArray[np.floating]) -> Floats:
    """Linear light 0-1 of sRGB values 0-255."""
    value = np.asarray(srgb, np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def tone_colours(tone: float) -> tuple[Floats, Floats]:
    """Linear colours of back and palm for a tone in [0, 1], light to dark."""
    place = tone * (len(BACKS) - 1)
    low = min(int(place), len(BACKS) - 2)
    share = np.float32(place - low)
    # Blended in linear light, where pigments' shares add; in sRGB the middle would come out too dark.
    mix = [linear(table[low]) * (1 - share) + linear(table[low + 1]) * share for table in (BACKS, PALMS)]
    return mix[0], mix[1]


def skin_atlas(rng: np.random.Generator, tone: float, age: float) -> list[Floats]:
    """Paint the skin of one person.

    Args:
        rng: source of the person's own pattern.
        tone: 0 lightest .. 1 darkest.
        age: 0 child .. 1 old: deepens creases, wrinkles and spots.

    Returns:
        Levels (h, w, 5) float32 of an image pyramid from (768, 512) down: linear colour, height in mm, nail gloss.
    """
    canvas = _canvas()
    seed = int(rng.integers(1 << 20))
    back, palm = tone_colours(tone)
    side = canvas.palm_side[:, None] * rng.uniform(0.7, 1.0)
    colour = back * (1 - side) + palm * side
    blotches = noise(canvas.points, 26.0, seed, 3) * 0.6 + noise(canvas.points, 3.2, seed + 9, 2) * 0.4
    melanin = rng.uniform(0.05, 0.20) * blotches * (1 - 0.5 * canvas.palm_side)
    # Pigments absorb: an exponent for each colour, blue most for melanin, and red not at all for blood.
    colour *= np.exp(-melanin[:, None] * np.array([0.7, 1.0, 1.25], np.float32))
    if age > 0.6 or rng.random() < 0.25:
        spots = np.clip(noise(canvas.points, 6.0, seed + 17) - 0.55, 0, 1) * (1 - canvas.palm_side)
        colour *= np.exp(-rng.uniform(0.4, 1.6) * spots[:, None] * np.array([0.6, 1.0, 1.3], np.float32))
    blood = canvas.redness * (0.75 + 0.5 * noise(canvas.points, 9.0, seed + 23, 2)) * rng.uniform(0.15, 0.5)
    colour *= np.exp(-np.clip(blood, 0, 1)[:, None] * np.array([0.0, 0.75, 0.62], np.float32) * (1 - 0.5 * tone))
    crease_depth = rng.uniform(0.35, 0.75) * (0.7 + 0.6 * age)
    wrinkle_depth = rng.uniform(0.12, 0.35) * (0.4 + 1.2 * age)
    dark = crease_depth * canvas.lines + wrinkle_depth * canvas.wrinkles
    colour *= np.exp(-dark[:, None] * np.array([0.55, 0.85, 0.9], np.float32))

    height = 0.10 * noise(canvas.points, 5.0, seed + 31, 3) * (0.5 + age)
    height -= 0.45 * crease_depth * canvas.lines + 0.35 * wrinkle_depth * canvas.wrinkles
    colour, height, wet = _nails(rng, canvas, colour, height.astype(np.float32), tone)
    # Colour, relief and gloss in one array: the shader then interpolates all of them with one set of weights.
    atlas = np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH, 5), np.float32)
    atlas[canvas.rows, canvas.columns] = np.concatenate([colour, height[:, None], wet[:, None]], axis=1)
    return _pyramid(atlas[canvas.fill_rows, canvas.fill_columns])


def _nails(
    rng: np.random.Generator, canvas: _Canvas, colour: Floats, height: Floats, tone: float
) -> tuple[Floats, Floats, Floats]:
    # The mask is blurred by its scale; a steeper ramp gives a nail an edge again, and its foot the cuticle's rim.
    nail = np.clip((canvas.nail - 0.35) / 0.3, 0, 1)
    bed = 0.5 * linear(np.array([232, 172, 156])) * (1 - 0.4 * tone) + 0.5 * colour
    if rng.random() < 0.18:  # varnish
        bed = np.broadcast_to(linear(rng.uniform(20, 235, 3)), colour.shape)
    rim = np.clip(1 - np.abs(canvas.nail - 0.3) / 0.25, 0, 1)
    colour = colour * (1 - nail[:, None]) + bed * nail[:, None]
    colour = colour * (1 - 0.3 * rim[:, None])
    height = height * (1 - nail) + 0.25 * nail
    return colour.astype(np.float32), height.astype(np.float32), nail.astype(np.float32)


def _pyramid(atlas: Floats) -> list[Floats]:
    import cv2

    levels = [np.ascontiguousarray(atlas)]
    for _ in range(2):
        h, w = levels[-1].shape[:2]
        # OpenCV resizes at most four channels at once here.
        parts = [
            cv2.resize(np.ascontiguousarray(levels[-1][..., c]), (w // 2, h // 2), None, 0, 0, cv2.INTER_AREA)
            for c in range(5)
        ]
        levels.append(np.ascontiguousarray(np.stack(parts, axis=-1)))
    return levels
