"""What a picture is drawn from: a posed hand, and with it whatever else is solid, as one mesh."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.articulation import bone_rotations
from simhand_cli.synth.hand.hand_model import hand_model
from simhand_cli.synth.hand.person import NO_SLEEVE, Person
from simhand_cli.synth.render.raster import vertex_normals

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
#: How far cloth stands off the skin.
SLEEVE_MM: Final = 4.5
MIRROR: Final = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Surface:
    """A posed hand in its own frame: refined vertices (N, 3), control vertices (V, 3), joints (21, 3); mm.

    ``faces`` (T, 3) are the model's: counter-clockwise seen from outside for a right hand, clockwise for a left one.
    """

    fine_mm: Array
    control_mm: Array
    joints_mm: Array
    faces: NDArray[np.int32]
    left: bool


@dataclass(frozen=True)
class Mesh:
    """Everything solid before the camera, in the rig frame (the frame of the resting hand): the labelled hand first.

    Attributes:
        vertices_mm: (N, 3). faces: (T, 3), counter-clockwise seen from outside. uv: (T, 3, 2) pixels of the skin atlas.
        along_mm: (N,) behind the wrist on skin, along a thing's axis on a thing.
        blockers: (B, 3) coarser triangles that cast the shadows.
        hand_faces: triangles of the labelled hand; skin_faces: those and the second hand's. The rest is a held thing.
    """

    vertices_mm: Array
    faces: NDArray[np.int32]
    uv: Floats
    along_mm: Floats
    blockers: NDArray[np.int32]
    hand_faces: int
    skin_faces: int


def posed_surface(person: Person, pose: Array, left: bool, sleeve_start_mm: float = NO_SLEEVE) -> Surface:
    """Skin, refine and dress the hand of a person in a pose (24,) degrees; a left hand is mirrored in x."""
    model = hand_model()
    control, joints = model.skin(person.hand, bone_rotations(person.hand, pose))
    fine = model.refine(control)
    if sleeve_start_mm < NO_SLEEVE:
        normals = vertex_normals(fine.astype(np.float32), model.fine_triangles)
        inside = person.arm_mm - sleeve_start_mm
        # The hem rises within 3 mm, folds only 40 mm further up: a hem is tight where a sleeve is loose.
        ease = np.clip(inside / 3.0 + 1.0, 0, 1)
        folds = 1 + 0.35 * np.sin(inside / 7.0) * np.clip(inside / 40, 0, 1)
        fine = fine + normals * (SLEEVE_MM * ease * folds)[:, None]
    if left:
        return Surface(fine * MIRROR, control * MIRROR, joints * MIRROR, model.fine_triangles, True)
    return Surface(fine, control, joints, model.fine_triangles, False)


def forearm_axis(person: Person, left: bool) -> Array:
    """Points (12, 3) along the arm from behind the wrist to its end, hand frame, mm."""
    elbow = person.hand.points_mm[23]
    axis = elbow / np.linalg.norm(elbow)
    # The mesh goes on beyond the elbow point, so that a cut end is rarely inside a picture.
    end = float(np.linalg.norm(elbow)) + 330.0
    points: Array = np.linspace(50.0, end, 12)[:, None] * axis
    return points * (MIRROR if left else 1.0)


def hand_mesh(person: Person, surface: Surface) -> Mesh:
    """The mesh of one hand; a left one's triangles are turned over, so that they face outwards again."""
    model = hand_model()
    faces, uv, blockers = surface.faces, model.fine_uv, model.coarse_triangles
    if surface.left:
        faces, uv = np.ascontiguousarray(faces[:, ::-1]), np.ascontiguousarray(uv[:, ::-1])
        blockers = np.ascontiguousarray(blockers[:, ::-1])
    return Mesh(surface.fine_mm, faces, uv, person.arm_mm, blockers, len(faces), len(faces))


def with_second_hand(first: Mesh, second: Mesh) -> Mesh:
    """A labelled hand and another one of the same person, which has the same skin."""
    return _joined(first, second, first.hand_faces, first.skin_faces + second.skin_faces)


def with_thing(hands: Mesh, vertices_mm: Array, faces: NDArray[np.int32], along_mm: Floats) -> Mesh:
    """Hands and a thing (V, 3), (T, 3), (V,), which casts shadows as it is."""
    # Never looked at: the shader colours things from their material.
    uv = np.zeros((len(faces), 3, 2), np.float32)
    thing = Mesh(vertices_mm, faces, uv, along_mm, faces, 0, 0)
    return _joined(hands, thing, hands.hand_faces, hands.skin_faces)


def _joined(a: Mesh, b: Mesh, hand_faces: int, skin_faces: int) -> Mesh:
    count = np.int32(len(a.vertices_mm))
    return Mesh(
        # The order counts: the shader tells hand, second hand and thing apart by the number of the triangle.
        np.concatenate([a.vertices_mm, b.vertices_mm]),
        np.concatenate([a.faces, b.faces + count]),
        np.concatenate([a.uv, b.uv]),
        np.concatenate([a.along_mm, b.along_mm]),
        np.concatenate([a.blockers, b.blockers + count]),
        hand_faces,
        skin_faces,
    )
