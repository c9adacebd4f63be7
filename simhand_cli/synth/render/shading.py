"""The skin and cloth shader: colour of every visible point of the hand (compiled).

Diffuse reflection of shadowed sky and key light, with light wrapped around the edge of the shade most strongly in red
(a cheap stand-in for scattering under the skin), a GGX highlight of the key light (Walter et al. 2007), and a blurred
reflection of the surrounding with Schlick's Fresnel term.
"""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.render.jit import kernel

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Three = tuple[float, float, float]


@kernel
def _lit(shadow: Floats, to_map: Floats, px: float, py: float, pz: float, bias: float) -> float:
    """Share of the key light that reaches a point: a 3 x 3 filtered lookup in its shadow map."""
    size = shadow.shape[0]
    u = to_map[0, 0] * px + to_map[0, 1] * py + to_map[0, 2] * pz + to_map[0, 3]
    v = to_map[1, 0] * px + to_map[1, 1] * py + to_map[1, 2] * pz + to_map[1, 3]
    w = to_map[2, 0] * px + to_map[2, 1] * py + to_map[2, 2] * pz + to_map[2, 3] - bias
    x, y = int(u + 0.5), int(v + 0.5)
    # Outside the map nothing casts a shadow: it is fitted to the hand, and the rest of the arm stays lit.
    if x < 1 or y < 1 or x >= size - 1 or y >= size - 1:
        return 1.0
    seen = 0.0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            # A ramp over twice the bias, not a step: it hides the map's pixels at the edge of a shadow.
            seen += min(max(1.0 - (w - shadow[y + dy, x + dx]) / (2 * bias), 0.0), 1.0)
    return seen / 9.0


@kernel
def _weights(xy: Floats, position: Floats, corners: Ints, x: float, y: float) -> Three:
    """Perspective-correct weights of a triangle's corners at a sample."""
    a, b, c = corners[0], corners[1], corners[2]
    ax, ay = xy[a, 0], xy[a, 1]
    area = (xy[b, 0] - ax) * (xy[c, 1] - ay) - (xy[b, 1] - ay) * (xy[c, 0] - ax)
    wb = ((x - ax) * (xy[c, 1] - ay) - (y - ay) * (xy[c, 0] - ax)) / area
    wc = ((xy[b, 0] - ax) * (y - ay) - (xy[b, 1] - ay) * (x - ax)) / area
    # What is linear on the screen is not a weight but a weight over depth.
    qa, qb, qc = (1 - wb - wc) / position[a, 2], wb / position[b, 2], wc / position[c, 2]
    total = qa + qb + qc
    return qa / total, qb / total, qc / total


@kernel
def _mix(values: Floats, corners: Ints, w: Three) -> Three:
    """The first three columns of vertex values (V, >= 3) at a point of a triangle."""
    a, b, c = corners[0], corners[1], corners[2]
    return (
        values[a, 0] * w[0] + values[b, 0] * w[1] + values[c, 0] * w[2],
        values[a, 1] * w[0] + values[b, 1] * w[1] + values[c, 1] * w[2],
        values[a, 2] * w[0] + values[b, 2] * w[1] + values[c, 2] * w[2],
    )


@kernel
def _unit(x: float, y: float, z: float) -> Three:
    length = np.sqrt(x * x + y * y + z * z) + 1e-9
    return x / length, y / length, z / length


@kernel
def _texel(atlas: Floats, u: float, v: float) -> tuple[Three, float, float, float]:
    """Bilinear colour and nail gloss of the atlas (h, w, 5), and the slope of its height per texel."""
    # No mirroring or wrapping: the atlas is filled beyond its islands, so clamping shows skin as well.
    u0 = min(max(int(u), 0), atlas.shape[1] - 2)
    v0 = min(max(int(v), 0), atlas.shape[0] - 2)
    fu, fv = u - u0, v - v0
    k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
    t00, t01, t10, t11 = atlas[v0, u0], atlas[v0, u0 + 1], atlas[v0 + 1, u0], atlas[v0 + 1, u0 + 1]
    colour = (
        t00[0] * k00 + t01[0] * k01 + t10[0] * k10 + t11[0] * k11,
        t00[1] * k00 + t01[1] * k01 + t10[1] * k10 + t11[1] * k11,
        t00[2] * k00 + t01[2] * k01 + t10[2] * k10 + t11[2] * k11,
    )
    wet = t00[4] * k00 + t01[4] * k01 + t10[4] * k10 + t11[4] * k11
    du = (t01[3] - t00[3]) * (1 - fv) + (t11[3] - t10[3]) * fv
    dv = (t10[3] - t00[3]) * (1 - fu) + (t11[3] - t01[3]) * fu
    return colour, wet, du, dv


@kernel
def _bumped(n: Three, position: Floats, corners: Ints, uv: Floats, scale: float, du: float, dv: float) -> Three:
    """The normal tilted by the relief: against the gradient g in the triangle's plane with g . edge = change of height.

    Args:
        n: unit normal.
        position: (V, 3) mm.
        corners: (3,) of the triangle.
        uv: (3, 2) its atlas pixels of level 0.
        scale: atlas level as a factor on ``uv``.
        du: slope of the height along the atlas's columns, mm per texel.
        dv: the same along its rows.
    """
    h1 = du * (uv[1, 0] - uv[0, 0]) * scale + dv * (uv[1, 1] - uv[0, 1]) * scale
    h2 = du * (uv[2, 0] - uv[0, 0]) * scale + dv * (uv[2, 1] - uv[0, 1]) * scale
    p, q, r = position[corners[0]], position[corners[1]], position[corners[2]]
    ex, ey, ez = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    gx, gy, gz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
    ee, eg, gg = ex * ex + ey * ey + ez * ez, ex * gx + ey * gy + ez * gz, gx * gx + gy * gy + gz * gz
    det = ee * gg - eg * eg
    # A sliver of a triangle has no gradient to speak of; the smooth normal is right to within a pixel.
    if det < 1e-9:
        return n
    m1, m2 = (gg * h1 - eg * h2) / det, (ee * h2 - eg * h1) / det
    return _unit(n[0] - m1 * ex - m2 * gx, n[1] - m1 * ey - m2 * gy, n[2] - m1 * ez - m2 * gz)


@kernel
def _plain_colour(material: Floats, along: float) -> Three:
    """Colour of a sleeve or thing ``along`` mm from its start: stripes, and a darker seam a centimetre from the hem."""
    hem = along - material[0]
    first = 4 if material[7] > 0 and hem % material[7] > 0.5 * material[7] else 1
    bright = 0.75 if 9.0 < hem < 10.6 else 1.0
    return bright * material[first], bright * material[first + 1], bright * material[first + 2]


@kernel
def _mirrored(n: Three, v: Three, facing: float, world_from_camera: Floats, reflection: Floats) -> Three:
    """What the surrounding (h, w, 3) shows in the direction mirrored about the normal."""
    x, y, z = 2 * facing * n[0] - v[0], 2 * facing * n[1] - v[1], 2 * facing * n[2] - v[2]
    m = world_from_camera
    wx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z
    wy = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z
    wz = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
    height, width = reflection.shape[0], reflection.shape[1]
    u = (np.arctan2(wx, -wz) / (2 * np.pi) + 0.5) * width - 0.5
    # The azimuth closes on itself, so columns wrap; poles do not, so rows are clamped. Rounding may leave wy above 1.
    row = min(max(np.arccos(min(max(wy, -1.0), 1.0)) / np.pi * height - 0.5, 0.0), height - 1.001)
    u0, v0 = int(np.floor(u)), int(row)
    fu, fv = u - u0, row - v0
    left, right = u0 % width, (u0 + 1) % width
    t00, t01, t10, t11 = (
        reflection[v0, left],
        reflection[v0, right],
        reflection[v0 + 1, left],
        reflection[v0 + 1, right],
    )
    k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
    return (
        t00[0] * k00 + t01[0] * k01 + t10[0] * k10 + t11[0] * k11,
        t00[1] * k00 + t01[1] * k01 + t10[1] * k10 + t11[1] * k11,
        t00[2] * k00 + t01[2] * k01 + t10[2] * k10 + t11[2] * k11,
    )


@kernel
def _highlight(n: Three, v: Three, light: Three, cosine: float, facing: float, alpha2: float, base: float) -> float:
    """GGX highlight of a distant light, times the cosine; the shadowing term is the usual 1 / (4 n.v n.l), softened."""
    h = _unit(v[0] + light[0], v[1] + light[1], v[2] + light[2])
    nh = max(n[0] * h[0] + n[1] * h[1] + n[2] * h[2], 0.0)
    vh = max(v[0] * h[0] + v[1] * h[1] + v[2] * h[2], 0.0)
    spread = nh * nh * (alpha2 - 1) + 1
    schlick = base + (1 - base) * (1 - vh) ** 5
    return schlick * alpha2 / (np.pi * spread * spread) * cosine / (4 * facing * cosine + 0.15)


@kernel
def _wrapped(cosine: float, wrap: float) -> float:
    return max(cosine + wrap, 0.0) / (1 + wrap)


@kernel
def _colour(
    corners: Ints,
    w: Three,
    position: Floats,
    normal: Floats,
    light: Floats,
    along: float,
    uv: Floats,
    atlas: Floats,
    uv_scale: float,
    shadow: Floats,
    to_map: Floats,
    key: Floats,
    reflection: Floats,
    world_from_camera: Floats,
    skin: Floats,
    material: Floats,
    is_thing: bool,
) -> Three:
    """Linear colour of one point of the surface; arguments as in :func:`shade`, for one triangle."""
    p, e = _mix(position, corners, w), _mix(light, corners, w)
    m = _mix(normal, corners, w)
    n = _unit(m[0], m[1], m[2])
    open_sky = light[corners[0], 3] * w[0] + light[corners[1], 3] * w[1] + light[corners[2], 3] * w[2]
    scatter = skin[2]
    # Cloth and things neither scatter light nor have a texture: their material's row says it all.
    if is_thing or along > material[0]:
        base, gloss, alpha2, scatter = _plain_colour(material, along), material[8], material[9], 0.0
    else:
        u = (uv[0, 0] * w[0] + uv[1, 0] * w[1] + uv[2, 0] * w[2]) * uv_scale - 0.5
        v = (uv[0, 1] * w[0] + uv[1, 1] * w[1] + uv[2, 1] * w[2]) * uv_scale - 0.5
        base, wet, du, dv = _texel(atlas, u, v)
        # Nails are smoother than skin; roughness to the fourth is GGX's alpha squared with alpha = roughness squared.
        gloss, alpha2 = 1.0 + 0.6 * wet, skin[0] ** 4 * (1 - 0.6 * wet)
        n = _bumped(n, position, corners, uv, uv_scale, du, dv)
    view = _unit(-p[0], -p[1], -p[2])
    # Interpolated and bumped normals may point away from the camera at the rim; a negative cosine would turn black.
    facing = max(n[0] * view[0] + n[1] * view[1] + n[2] * view[2], 0.02)
    # Reflections are dimmed by the hidden part of the sky, or the inside of a fist would shine.
    fresnel = (skin[1] + (1 - skin[1]) * (1 - facing) ** 5 * (1 - skin[0])) * gloss * open_sky
    glance = _mirrored(n, view, facing, world_from_camera, reflection)
    k0, k1, k2, shine = 0.0, 0.0, 0.0, 0.0
    toward = (key[0, 0], key[0, 1], key[0, 2])
    cosine = n[0] * toward[0] + n[1] * toward[1] + n[2] * toward[2]
    # Wrapped light reaches a little beyond the edge of the shade, so the cut is at minus the scattering, not at 0.
    if cosine > -scatter and key[1, 0] + key[1, 1] + key[1, 2] > 1e-4:
        lit = _lit(shadow, to_map, p[0], p[1], p[2], 2.0)
        # Red light travels furthest in skin: it wraps most, and leaks into cast shadows, where blue does not.
        k0 = _wrapped(cosine, scatter) * (lit + (1 - lit) * 0.3 * scatter)
        k1 = _wrapped(cosine, 0.55 * scatter) * (lit + (1 - lit) * 0.12 * scatter)
        k2 = _wrapped(cosine, 0.4 * scatter) * lit
        if cosine > 0:
            shine = lit * gloss * _highlight(n, view, toward, cosine, facing, alpha2, skin[1])
    # Light scattered inside crevices comes out red: occluded skin is not just darker.
    bleed = 1 + (1 - open_sky) * 0.25 * scatter
    return (
        base[0] * (e[0] * bleed + k0 * key[1, 0]) / np.pi + fresnel * glance[0] + shine * key[1, 0],
        base[1] * (e[1] + k1 * key[1, 1]) / np.pi + fresnel * glance[1] + shine * key[1, 1],
        base[2] * (e[2] + k2 * key[1, 2]) / np.pi + fresnel * glance[2] + shine * key[1, 2],
    )


@kernel
def _one_surface(inverse: Floats, owner: Ints, y: int, x: int, factor: int) -> int:
    """How a pixel's samples are covered: 0 not at all, 1 partly or by several surfaces, 2 fully by one surface."""
    low, high, covered = np.inf, 0.0, 0
    for sy in range(y * factor, y * factor + factor):
        for sx in range(x * factor, x * factor + factor):
            if owner[sy, sx] >= 0:
                covered += 1
                low, high = min(low, inverse[sy, sx]), max(high, inverse[sy, sx])
    if covered == 0:
        return 0
    # Inverse depths within 1.5 % are taken for one surface: at half a metre that is 7 mm, less than a finger.
    return 2 if covered == factor * factor and high < 1.015 * low else 1


@kernel
def shade(
    inverse: Floats,
    owner: Ints,
    xy: Floats,
    position: Floats,
    normal: Floats,
    light: Floats,
    arm: Floats,
    faces: Ints,
    uv: Floats,
    atlas: Floats,
    uv_scale: float,
    shadow: Floats,
    to_map: Floats,
    key: Floats,
    reflection: Floats,
    world_from_camera: Floats,
    skin: Floats,
    materials: Floats,
    hand_faces: int,
    skin_faces: int,
    factor: int,
    out: Floats,
) -> None:
    """Shade the visible surface and average it over each pixel's samples.

    Args:
        inverse: (H f, W f) inverse depth of :func:`simhand_cli.synth.render.raster.rasterise`, f = ``factor``.
        owner: (H f, W f) triangles shown.
        xy: (V, 2) vertices in sample pixels.
        position: (V, 3) camera frame, mm.
        normal: (V, 3) unit.
        light: (V, 4) of :func:`simhand_cli.synth.render.sky_light.sky_light`.
        arm: (V,) mm behind the wrist along the forearm, for the sleeve; along its axis on a thing.
        faces: (T, 3).
        uv: (T, 3, 2) atlas pixels of level 0.
        atlas: (h, w, 5) linear colour, height in mm, nail gloss.
        uv_scale: atlas level as a factor on ``uv``.
        shadow: (S, S) depth map of the key light.
        to_map: (3, 4) map from the camera frame into the depth map.
        key: (2, 3) key light: direction towards it in the camera frame, irradiance.
        reflection: (h, w, 3) blurred panorama, already turned.
        world_from_camera: (3, 3).
        skin: roughness, reflectance at normal incidence, scattering.
        materials: (2, 10) of the sleeve and of the held thing: start (mm; huge for no sleeve), colour (3), second
            colour (3), stripe period mm (0 plain), gloss, squared GGX roughness.
        hand_faces: triangles of the labelled hand, the first ones.
        skin_faces: triangles with skin; those after them are the thing's.
        factor: samples per pixel side.
        out: (H, W, 6) in/out, means of linear colour, coverage, inverse depth, and the labelled hand's coverage; start
            with zeros.
    """
    # Coverage and depth take every sample, colour fewer: shading is what costs, edges are what one sees.
    share = 1.0 / (factor * factor)
    for py in range(out.shape[0]):
        for px in range(out.shape[1]):
            kind = _one_surface(inverse, owner, py, px, factor)
            if kind == 0:
                continue
            # Inside a smooth stretch of surface the samples on the diagonal stand for all.
            gain = share * factor if kind == 2 else share
            for sy in range(factor):
                for sx in range(factor):
                    y, x = py * factor + sy, px * factor + sx
                    t = owner[y, x]
                    if t < 0:
                        continue
                    out[py, px, 3] += share
                    out[py, px, 4] += share * inverse[y, x]
                    if t < hand_faces:
                        out[py, px, 5] += share
                    if kind == 2 and sx != sy:
                        continue
                    corners = faces[t]
                    w = _weights(xy, position, corners, x, y)
                    along = arm[corners[0]] * w[0] + arm[corners[1]] * w[1] + arm[corners[2]] * w[2]
                    is_thing = t >= skin_faces
                    colour = _colour(
                        corners, w, position, normal, light, along, uv[t], atlas, uv_scale, shadow, to_map, key,
                        reflection, world_from_camera, skin, materials[1 if is_thing else 0], is_thing,
                    )  # fmt: skip
                    out[py, px, 0] += gain * colour[0]
                    out[py, px, 1] += gain * colour[1]
                    out[py, px, 2] += gain * colour[2]
