"""Light on the surface: shadowed sky light per vertex, and the skin and cloth shader per pixel (compiled)."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.jit import kernel
from simhand_cli.synth.raster import depth_map

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
        vertices: (V, 3) mm; normals: (V, 3) unit.
        blockers: (T, 3) triangles that cast shadows.
        toward: (D, 3) unit directions of the sky's parts; power: (D, 3) radiance x solid angle of each.
        centre: (3,) and radius, mm: sphere the depth maps cover; outside it nothing is shadowed.
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
    bias = 2.2 * radius / size
    for d in range(toward.shape[0]):
        lx, ly, lz = toward[d, 0], toward[d, 1], toward[d, 2]
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
                behind = mapped[v, 2] - bias * (1.4 - cosine) - map_depth[y, x]
                open_sky = np.float32(min(max(1.0 - behind / bias, 0.0), 1.0))
            light[v, 3] += wrapped * open_sky
            for c in range(3):
                light[v, c] += wrapped * open_sky * power[d, c]
    for v in range(count):
        light[v, 3] /= max(weight[v], 1e-6)
    return light


@kernel
def _lit(shadow: Floats, to_map: Floats, px: float, py: float, pz: float, bias: float) -> float:
    """Share of the key light that reaches a point: a 3 x 3 filtered lookup in its shadow map."""
    size = shadow.shape[0]
    u = to_map[0, 0] * px + to_map[0, 1] * py + to_map[0, 2] * pz + to_map[0, 3]
    v = to_map[1, 0] * px + to_map[1, 1] * py + to_map[1, 2] * pz + to_map[1, 3]
    w = to_map[2, 0] * px + to_map[2, 1] * py + to_map[2, 2] * pz + to_map[2, 3] - bias
    x, y = int(u + 0.5), int(v + 0.5)
    if x < 1 or y < 1 or x >= size - 1 or y >= size - 1:
        return 1.0
    seen = 0.0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            seen += min(max(1.0 - (w - shadow[y + dy, x + dx]) / (2 * bias), 0.0), 1.0)
    return seen / 9.0


@kernel
def shade(
    inverse: Floats,
    owner: NDArray[np.int32],
    xy: Floats,
    position: Floats,
    normal: Floats,
    light: Floats,
    arm: Floats,
    faces: NDArray[np.int32],
    uv: Floats,
    atlas: Floats,
    uv_scale: float,
    shadow: Floats,
    to_map: Floats,
    key_toward: Floats,
    key_power: Floats,
    reflection: Floats,
    world_from_camera: Floats,
    skin: Floats,
    cloth: Floats,
    factor: int,
    out: Floats,
) -> None:
    """Shade the visible surface and average it over each pixel's samples.

    Args:
        inverse, owner: (H f, W f) z-buffer of :func:`simhand_cli.synth.raster.rasterise`, f = ``factor``.
        xy: (V, 2) vertices in sample pixels; position, normal: (V, 3) camera frame; light: (V, 4) of :func:`sky_light`.
        arm: (V,) mm behind the wrist along the forearm, for the sleeve.
        faces: (T, 3); uv: (T, 3, 2) atlas pixels of level 0; atlas: (h, w, 4) linear albedo and height in mm.
        uv_scale: atlas level as a factor on ``uv``.
        shadow, to_map: key light's depth map (S, S) and the (3, 4) map from the camera frame into it.
        key_toward, key_power: (3,) key light in the camera frame, irradiance.
        reflection: (h, w, 3) blurred panorama, already turned; world_from_camera: (3, 3).
        skin: roughness, reflectance at normal incidence, scattering, bump, nail threshold unused.
        cloth: start of the sleeve (mm; huge for none), colour (3), second colour (3), stripe period mm (0 plain).
        factor: samples per pixel side.
        out: (H, W, 5) in/out, sums of linear colour, coverage and inverse depth; start with zeros.
    """
    height, width = out.shape[0], out.shape[1]
    share = np.float32(1.0 / (factor * factor))
    rough4 = skin[0] ** 4
    key_on = key_power[0] + key_power[1] + key_power[2] > 1e-4
    wrap = (1.0 * skin[2], 0.55 * skin[2], 0.4 * skin[2])
    env_h, env_w = reflection.shape[0], reflection.shape[1]
    for py in range(height):
        for px in range(width):
            low, high, covered = np.inf, 0.0, 0
            for sy in range(factor):
                for sx in range(factor):
                    value = inverse[py * factor + sy, px * factor + sx]
                    if owner[py * factor + sy, px * factor + sx] >= 0:
                        covered += 1
                        low, high = min(low, value), max(high, value)
            if covered == 0:
                continue
            # Inside a smooth stretch of surface the samples on the diagonal stand for all.
            smooth = covered == factor * factor and high < 1.015 * low
            for sy in range(factor):
                for sx in range(factor):
                    y, x = py * factor + sy, px * factor + sx
                    t = owner[y, x]
                    if t < 0:
                        continue
                    out[py, px, 3] += share
                    out[py, px, 4] += share * inverse[y, x]
                    if smooth and sx != sy:
                        continue
                    gain = share * factor if smooth else share
                    a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                    ax, ay = xy[a, 0], xy[a, 1]
                    area = (xy[b, 0] - ax) * (xy[c, 1] - ay) - (xy[b, 1] - ay) * (xy[c, 0] - ax)
                    wb = ((x - ax) * (xy[c, 1] - ay) - (y - ay) * (xy[c, 0] - ax)) / area
                    wc = ((xy[b, 0] - ax) * (y - ay) - (xy[b, 1] - ay) * (x - ax)) / area
                    qa, qb, qc = (1 - wb - wc) / position[a, 2], wb / position[b, 2], wc / position[c, 2]
                    total = qa + qb + qc
                    wa, wb, wc = qa / total, qb / total, qc / total
                    x3 = position[a, 0] * wa + position[b, 0] * wb + position[c, 0] * wc
                    y3 = position[a, 1] * wa + position[b, 1] * wb + position[c, 1] * wc
                    z3 = position[a, 2] * wa + position[b, 2] * wb + position[c, 2] * wc
                    nx = normal[a, 0] * wa + normal[b, 0] * wb + normal[c, 0] * wc
                    ny = normal[a, 1] * wa + normal[b, 1] * wb + normal[c, 1] * wc
                    nz = normal[a, 2] * wa + normal[b, 2] * wb + normal[c, 2] * wc
                    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                    nx, ny, nz = nx / length, ny / length, nz / length
                    along = arm[a] * wa + arm[b] * wb + arm[c] * wc
                    open_sky = light[a, 3] * wa + light[b, 3] * wb + light[c, 3] * wc
                    is_cloth = along > cloth[0]
                    bright = np.float32(1.0)
                    if is_cloth:
                        first = 1
                        if cloth[7] > 0 and (along - cloth[0]) % cloth[7] > 0.5 * cloth[7]:
                            first = 4
                        base0, base1, base2 = cloth[first], cloth[first + 1], cloth[first + 2]
                        hem = along - cloth[0]
                        if 9.0 < hem < 10.6:  # the seam
                            bright = np.float32(0.75)
                        gloss, rough = np.float32(0.2), np.float32(0.5)
                    else:
                        u = (uv[t, 0, 0] * wa + uv[t, 1, 0] * wb + uv[t, 2, 0] * wc) * uv_scale - 0.5
                        v = (uv[t, 0, 1] * wa + uv[t, 1, 1] * wb + uv[t, 2, 1] * wc) * uv_scale - 0.5
                        u0 = min(max(int(u), 0), atlas.shape[1] - 2)
                        v0 = min(max(int(v), 0), atlas.shape[0] - 2)
                        fu, fv = u - u0, v - v0
                        k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
                        t00, t01 = atlas[v0, u0], atlas[v0, u0 + 1]
                        t10, t11 = atlas[v0 + 1, u0], atlas[v0 + 1, u0 + 1]
                        base0 = t00[0] * k00 + t01[0] * k01 + t10[0] * k10 + t11[0] * k11
                        base1 = t00[1] * k00 + t01[1] * k01 + t10[1] * k10 + t11[1] * k11
                        base2 = t00[2] * k00 + t01[2] * k01 + t10[2] * k10 + t11[2] * k11
                        wet = t00[4] * k00 + t01[4] * k01 + t10[4] * k10 + t11[4] * k11
                        gloss, rough = 1.0 + 1.5 * wet, rough4 * (1 - 0.8 * wet)
                        du = (t01[3] - t00[3]) * (1 - fv) + (t11[3] - t10[3]) * fv
                        dv = (t10[3] - t00[3]) * (1 - fu) + (t11[3] - t01[3]) * fu
                        # Surface gradient of the height: g with g . dP/du = dh/du and g . dP/dv = dh/dv.
                        e1u, e1v = (uv[t, 1, 0] - uv[t, 0, 0]) * uv_scale, (uv[t, 1, 1] - uv[t, 0, 1]) * uv_scale
                        e2u, e2v = (uv[t, 2, 0] - uv[t, 0, 0]) * uv_scale, (uv[t, 2, 1] - uv[t, 0, 1]) * uv_scale
                        h1, h2 = du * e1u + dv * e1v, du * e2u + dv * e2v
                        ex, ey, ez = (
                            position[b, 0] - position[a, 0],
                            position[b, 1] - position[a, 1],
                            position[b, 2] - position[a, 2],
                        )
                        gx, gy, gz = (
                            position[c, 0] - position[a, 0],
                            position[c, 1] - position[a, 1],
                            position[c, 2] - position[a, 2],
                        )
                        ee, eg, gg = (
                            ex * ex + ey * ey + ez * ez,
                            ex * gx + ey * gy + ez * gz,
                            gx * gx + gy * gy + gz * gz,
                        )
                        det = ee * gg - eg * eg
                        if det > 1e-9:
                            m1 = skin[3] * (gg * h1 - eg * h2) / det
                            m2 = skin[3] * (ee * h2 - eg * h1) / det
                            nx, ny, nz = nx - m1 * ex - m2 * gx, ny - m1 * ey - m2 * gy, nz - m1 * ez - m2 * gz
                            length = np.sqrt(nx * nx + ny * ny + nz * nz)
                            nx, ny, nz = nx / length, ny / length, nz / length
                    away = np.sqrt(x3 * x3 + y3 * y3 + z3 * z3)
                    vx, vy, vz = -x3 / away, -y3 / away, -z3 / away
                    facing = max(nx * vx + ny * vy + nz * vz, 0.02)
                    # Glossy reflection of the blurred surrounding.
                    rx, ry, rz = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
                    m = world_from_camera
                    wx = m[0, 0] * rx + m[0, 1] * ry + m[0, 2] * rz
                    wy = m[1, 0] * rx + m[1, 1] * ry + m[1, 2] * rz
                    wz = m[2, 0] * rx + m[2, 1] * ry + m[2, 2] * rz
                    eu = int((np.arctan2(wx, -wz) / (2 * np.pi) + 0.5) * env_w) % env_w
                    ev = min(int(np.arccos(min(max(wy, -1.0), 1.0)) / np.pi * env_h), env_h - 1)
                    fresnel = (skin[1] + (1 - skin[1]) * (1 - facing) ** 5 * (1 - skin[0])) * gloss
                    mirrored = fresnel * open_sky
                    # Key light: wrapped diffuse, redder in the transition, and a GGX highlight.
                    kd0, kd1, kd2, highlight = 0.0, 0.0, 0.0, 0.0
                    if key_on:
                        cosine = nx * key_toward[0] + ny * key_toward[1] + nz * key_toward[2]
                        if cosine > -wrap[0]:
                            lit = _lit(shadow, to_map, x3, y3, z3, 2.0)
                            soft = lit + (1 - lit) * 0.12 * skin[2]
                            reds = lit + (1 - lit) * 0.3 * skin[2]
                            kd0 = max(cosine + wrap[0], 0.0) / (1 + wrap[0]) * reds
                            kd1 = max(cosine + wrap[1], 0.0) / (1 + wrap[1]) * soft
                            kd2 = max(cosine + wrap[2], 0.0) / (1 + wrap[2]) * lit
                            if cosine > 0:
                                hx, hy, hz = vx + key_toward[0], vy + key_toward[1], vz + key_toward[2]
                                length = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
                                nh = max((nx * hx + ny * hy + nz * hz) / length, 0.0)
                                vh = max((vx * hx + vy * hy + vz * hz) / length, 0.0)
                                spread = nh * nh * (rough - 1) + 1
                                ggx = rough / (np.pi * spread * spread)
                                schlick = skin[1] + (1 - skin[1]) * (1 - vh) ** 5
                                highlight = lit * gloss * schlick * ggx * cosine / (4 * facing * cosine + 0.15)
                    e0 = light[a, 0] * wa + light[b, 0] * wb + light[c, 0] * wc
                    e1 = light[a, 1] * wa + light[b, 1] * wb + light[c, 1] * wc
                    e2 = light[a, 2] * wa + light[b, 2] * wb + light[c, 2] * wc
                    pi = np.float32(np.pi)
                    # Light scattered inside crevices comes out red: occluded skin is not just darker.
                    bleed = np.float32(0.0) if is_cloth else (1 - open_sky) * 0.25 * skin[2]
                    out[py, px, 0] += gain * (
                        bright * base0 * ((e0 * (1 + bleed) + kd0 * key_power[0]) / pi)
                        + mirrored * reflection[ev, eu, 0] + highlight * key_power[0]
                    )  # fmt: skip
                    out[py, px, 1] += gain * (
                        bright * base1 * ((e1 + kd1 * key_power[1]) / pi)
                        + mirrored * reflection[ev, eu, 1] + highlight * key_power[1]
                    )  # fmt: skip
                    out[py, px, 2] += gain * (
                        bright * base2 * ((e2 + kd2 * key_power[2]) / pi)
                        + mirrored * reflection[ev, eu, 2] + highlight * key_power[2]
                    )  # fmt: skip
