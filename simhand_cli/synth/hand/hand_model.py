"""The synthetic hand: shape space, skeleton, skinning and smooth surface (data: assets/PROVENANCE.md).

Hand frame of the right hand at rest: wrist at the origin, y towards the middle knuckle, z out of the palm, x towards
the thumb; millimetres. A left hand is the mirror image x -> -x of a right one.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.assets import asset_path
from simhand_cli.synth.hand.subdivision import catmull_clark, split_corners, triangles

Array = NDArray[np.float64]
ATLAS_WIDTH: Final = 512
ATLAS_HEIGHT: Final = 768

#: Bones: forearm, wrist, 4 metacarpals, then 3 phalanges each of thumb..little. Parent bone of each.
BONE_PARENTS: Final = (-1, 0, 1, 1, 1, 1, 1, 6, 7, 2, 9, 10, 3, 12, 13, 4, 15, 16, 5, 18, 19)
#: The point (0-20 joints, 21 inner palm towards little, 22 towards index) about which each bone turns.
BONE_HEADS: Final = (0, 0, 22, 22, 21, 21, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
#: In-plane tilt of each finger's flexion axis, index to little: without it the spread fingers would cross when bent.
FLEXION_TILT_DEG: Final = (6.0, 0.0, -5.0, -10.0)
#: The bone that carries each of the 21 joints: the bone it is the head of, or for tips the last phalanx.
JOINT_BONES: Final = (1, 6, 7, 8, 8, 9, 10, 11, 11, 12, 13, 14, 14, 15, 16, 17, 17, 18, 19, 20, 20)


@dataclass(frozen=True)
class ShapedHand:
    """A right hand of one person at rest.

    Attributes:
        vertices_mm: (V, 3) control vertices, hand frame. points_mm: (24, 3) skeleton points.
        thumb_nail: (3,) unit normal of the thumb's nail.
    """

    vertices_mm: Array
    points_mm: Array
    thumb_nail: Array

    @property
    def joints_mm(self) -> Array:
        """The 21 joints (21, 3) at rest."""
        return self.points_mm[:21]

    @cached_property
    def turning_axes(self) -> Array:
        """Unit axes (27, 3) of the turns in a pose, in the order of ``articulation.bone_rotations``."""
        palm, across = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
        joints, axes = self.joints_mm, [across, -palm]
        for finger, tilt in enumerate(FLEXION_TILT_DEG):
            flexion = np.cross(joints[6 + 4 * finger] - joints[5 + 4 * finger], palm)
            c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
            flexion = np.array([c * flexion[0] - s * flexion[1], s * flexion[0] + c * flexion[1], 0.0])
            # All joints of a finger bend about one axis, as hinges do: a finger stays in its plane.
            axes += [across, -palm, flexion, flexion, flexion]
        # The thumb lies turned against the palm; its nail says where its own back is.
        bend = np.cross(joints[3] - joints[2], -self.thumb_nail)
        axes += [np.array([0.0, -1.0, 0.0]), palm, joints[2] - joints[1], bend, bend]
        stacked = np.stack(axes)
        unit: Array = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
        return unit


class HandModel:
    """Topology, targets and skin weights; use :func:`hand_model`, which loads it once per process.

    Attributes:
        quads: (F, 4) control mesh. fine_triangles: (T, 3) of the refined mesh. fine_uv: (T, 3, 2) atlas pixels.
        nail_mask: (512, 512) uint8, upper part of the atlas.
        nail_normals: (5, 3) unit, out of each nail at rest.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as data:
            # Targets are stored as whole steps, which keeps the file small.
            step = float(data["delta_step_mm"])
            self.base_mm: Array = data["vertices_mm"].astype(np.float64)
            self.base_points_mm: Array = data["points_mm"].astype(np.float64)
            self.target_names: list[str] = [str(n) for n in data["target_names"]]
            self._deltas = data["target_deltas"].astype(np.float32) * step
            self._point_deltas = data["point_deltas"].astype(np.float64) * step
            self.quads: NDArray[np.int64] = data["quads"].astype(np.int64)
            self.nail_normals: Array = data["nail_normals"].astype(np.float64)
            self._nail_png = data["nail_mask"]
            corner_uv = data["corner_uv"].astype(np.float64) / 65535
            bones, values = data["weight_bones"].astype(np.int64), data["weight_values"].astype(np.float64)
        count = len(self.base_mm)
        self.weights: Array = np.zeros((count, len(BONE_PARENTS)))
        # Stored weights are rounded; if they did not add up to 1, skin would shrink towards the origin.
        np.put_along_axis(self.weights, bones, values / values.sum(axis=1, keepdims=True), axis=1)
        self._stencil, fine = catmull_clark(self.quads, count)
        self.fine_triangles = triangles(fine)
        self.coarse_triangles = triangles(self.quads)
        # Texture places belong to corners, not vertices: seams of the atlas run between faces that share a vertex.
        uv = split_corners(corner_uv) * np.array([ATLAS_WIDTH, ATLAS_HEIGHT], np.float32)
        self.fine_uv = np.stack([uv[:, [0, 1, 2]], uv[:, [0, 2, 3]]], axis=1).reshape(-1, 3, 2)
        self._names = {name: index for index, name in enumerate(self.target_names)}

    @cached_property
    def nail_mask(self) -> NDArray[np.uint8]:
        """The nails in the upper (512, 512) part of the atlas, 0-255."""
        import cv2

        return np.asarray(cv2.imdecode(self._nail_png, cv2.IMREAD_GRAYSCALE), np.uint8)

    def shape(self, weights: dict[str, float]) -> ShapedHand:
        """The hand of a person, from weights of shape targets by name."""
        vertices, points = self.base_mm.copy(), self.base_points_mm.copy()
        for name, weight in weights.items():
            if weight:
                index = self._names[name]
                vertices += weight * self._deltas[index]
                points += weight * self._point_deltas[index]
        return ShapedHand(vertices, points, self.nail_normals[0])

    def skin(self, hand: ShapedHand, rotations: Array) -> tuple[Array, Array]:
        """Pose a hand by linear blend skinning.

        Args:
            hand: the shaped hand at rest.
            rotations: (21, 3, 3) rotation of each bone about its head, in the rest frame, relative to its parent.

        Returns:
            Control vertices (V, 3) and joints (21, 3), mm, hand frame of the resting wrist.
        """
        turns, shifts = bone_transforms(hand.points_mm, rotations)
        affine = np.concatenate([turns, shifts[:, :, None]], axis=2).reshape(len(turns), 12)
        # Blending matrices before applying them is one product for all vertices, instead of one for each bone.
        blended = (self.weights @ affine).reshape(-1, 3, 4)
        vertices = np.einsum("vij,vj->vi", blended[:, :, :3], hand.vertices_mm) + blended[:, :, 3]
        carriers = np.array(JOINT_BONES)
        joints = np.einsum("jab,jb->ja", turns[carriers], hand.joints_mm) + shifts[carriers]
        return vertices, joints

    def refine(self, vertices: Array) -> Array:
        """Smooth surface vertices (N, C) of control vertices (V, C), one Catmull-Clark level."""
        fine: Array = self._stencil @ vertices
        return fine


def bone_transforms(points_mm: Array, rotations: Array) -> tuple[Array, Array]:
    """World rotation (21, 3, 3) and shift (21, 3) of every bone: x_posed = R x_rest + t."""
    turns, shifts = np.empty((len(BONE_PARENTS), 3, 3)), np.empty((len(BONE_PARENTS), 3))
    for bone, (parent, head) in enumerate(zip(BONE_PARENTS, BONE_HEADS, strict=True)):
        pivot = points_mm[head]
        local_shift = pivot - rotations[bone] @ pivot
        if parent < 0:
            turns[bone], shifts[bone] = rotations[bone], local_shift
        else:
            turns[bone] = turns[parent] @ rotations[bone]
            shifts[bone] = turns[parent] @ local_shift + shifts[parent]
    return turns, shifts


@lru_cache(maxsize=1)
def hand_model() -> HandModel:
    """The packaged hand, loaded once per process."""
    return HandModel(asset_path("hand_right.npz"))
