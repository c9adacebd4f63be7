"""The renderer: exact projection, visibility, determinism."""

from typing import get_args

import numpy as np
import pytest
from still_shot import labelled_shot

from simhand_cli.synth.hand.grasps import GRASPS
from simhand_cli.synth.hand.hand_model import hand_model
from simhand_cli.synth.hand.mesh import forearm_axis, posed_surface
from simhand_cli.synth.hand.person import person
from simhand_cli.synth.render.raster import depth_map, rasterise
from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.scene.camera import Camera, View, aim, axis_turn, project, random_rotation
from simhand_cli.synth.shots import video_shots


def cube(centre: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    corners = centre + half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    return corners, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def draw(vertices: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    inverse, owner = np.zeros((size, size), np.float32), np.full((size, size), -1, np.int32)
    pixels = project(intrinsics, vertices).astype(np.float32)
    both = np.concatenate([faces, faces[:, ::-1]])
    rasterise(pixels, vertices[:, 2].astype(np.float32), np.ascontiguousarray(both), 1.0, inverse, owner)
    return inverse, owner


@pytest.mark.parametrize("view", get_args(View))
def test_labels_reproject_exactly(view: str) -> None:
    for number in range(4):
        shot = labelled_shot(2, number, number, Variety(view=view), 64).shot
        projected = shot.joints_mm @ shot.intrinsics.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], shot.joints_px, atol=1e-9)
        assert shot.joints_px.min() > 0
        assert shot.joints_px.max() < 63


def test_markers_at_the_joints_fall_on_the_projected_joints() -> None:
    shot = labelled_shot(2, 5, 1).shot
    for joint, pixel in zip(shot.joints_mm, shot.joints_px, strict=True):
        _, owner = draw(*cube(joint, 2.5), shot.intrinsics, 256)
        rows, columns = np.nonzero(owner >= 0)
        assert np.abs([columns.mean() - pixel[0], rows.mean() - pixel[1]]).max() < 0.5


@pytest.mark.slow
def test_the_surface_covers_the_joints_and_lies_in_front_of_them() -> None:
    covered = total = 0
    for number in range(6):
        shot = labelled_shot(4, number, number, image_px=192).shot
        for (x, y), depth in zip(np.round(shot.joints_px).astype(int), shot.joints_mm[:, 2], strict=True):
            total += 1
            if shot.hand_coverage[y, x] > 0.99:
                covered += 1
                around = shot.depth_mm[y - 1 : y + 2, x - 1 : x + 2]  # a tip may be the last point before the edge
                assert around[around > 0].min() < depth + 1.5
    assert covered > 0.85 * total


def test_depth_of_a_slanted_plane_is_exact() -> None:
    intrinsics = np.array([[100.0, 0, 31.5], [0, 100.0, 31.5], [0, 0, 1]])
    corners = np.array([[-300.0, -300, 300], [300, -300, 500], [300, 300, 500], [-300, 300, 300]])
    inverse, owner = draw(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), intrinsics, 64)
    _, columns = np.indices((64, 64))
    assert (owner >= 0).all()
    # The plane is z = 400 + x / 3; along the ray x = z (u - cx) / f.
    expected = 400 / (1 - (columns - 31.5) / 300)
    np.testing.assert_allclose(1 / inverse, expected, rtol=1e-4)


def test_the_nearer_surface_wins_whatever_the_order() -> None:
    intrinsics = np.array([[50.0, 0, 15.5], [0, 50.0, 15.5], [0, 0, 1]])
    near, faces = cube(np.array([0.0, 0, 200]), 20)
    far, _ = cube(np.array([0.0, 0, 400]), 100)
    first = draw(np.concatenate([near, far]), np.concatenate([faces, faces + 8]), intrinsics, 32)[0]
    second = draw(np.concatenate([far, near]), np.concatenate([faces, faces + 8]), intrinsics, 32)[0]
    np.testing.assert_array_equal(first, second)
    assert abs(1 / first[16, 16] - 180) < 1e-2
    assert abs(1 / first[16, 2] - 300) < 1


def test_depth_map_keeps_the_nearest() -> None:
    vertices, faces = cube(np.array([8.0, 8.0, 10.0]), 4.0)
    out = np.full((16, 16), np.inf, np.float32)
    depth_map(vertices.astype(np.float32), faces, out)
    assert np.isinf(out[1, 1])
    np.testing.assert_allclose(out[6:11, 6:11], 6.0)


def test_rotations_are_rotations() -> None:
    rng = np.random.default_rng(0)
    for turn in [random_rotation(rng) for _ in range(20)] + [axis_turn(k, 33.0) for k in range(3)]:
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) > 0


@pytest.mark.parametrize("view", get_args(View))
def test_the_hand_fills_what_was_asked_for(view: str) -> None:
    rng, who = np.random.default_rng(3), person(0, 2)
    surface = posed_surface(who, GRASPS["open"], False)
    for _ in range(10):
        camera = aim(rng, view, False, surface.joints_mm, forearm_axis(who, False), (320, 240), (0.5, 0.6))
        assert isinstance(camera, Camera)
        pixels = camera.project(camera.place(surface.joints_mm))
        assert 0.44 * 240 < np.ptp(pixels, axis=0).max() < 0.66 * 240


def test_the_own_hand_reaches_up_and_away() -> None:
    rng, who = np.random.default_rng(3), person(0, 2)
    surface = posed_surface(who, GRASPS["flat"], False)
    below, nearer = [], []
    for _ in range(30):
        camera = aim(rng, "ego", False, surface.joints_mm, forearm_axis(who, False), (128, 128))
        joints = camera.place(surface.joints_mm)
        below.append(camera.project(joints)[0, 1] > camera.project(joints)[12, 1])
        nearer.append(joints[0, 2] < joints[12, 2])
    assert np.mean(below) > 0.85
    assert np.mean(nearer) > 0.5


def test_frames_of_a_video_share_person_place_and_light() -> None:
    shots = list(video_shots(0, 0, Variety(backdrop="panorama"), (96, 64), 6, 3.0))
    assert len(shots) == 6
    corners = np.stack([np.delete(s.image_rgb, slice(4, 60), axis=0)[:, :10].mean(axis=(0, 1)) for s in shots])
    empty = [s.hand_coverage[:, :10].max() == 0 for s in shots]
    if all(empty):
        assert np.ptp(corners, axis=0).max() < 6
    np.testing.assert_array_equal(shots[0].intrinsics, shots[-1].intrinsics)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    first, again = labelled_shot(9, 3, 1, image_px=48).shot, labelled_shot(9, 3, 1, image_px=48).shot
    other = labelled_shot(10, 3, 1, image_px=48).shot
    np.testing.assert_array_equal(first.image_rgb, again.image_rgb)
    assert (first.image_rgb != other.image_rgb).mean() > 0.5


def test_left_and_right_pictures_show_mirrored_hands() -> None:
    """In front of the palm with the fingers up, a right hand's thumb is on the right, a left one's on the left."""
    who = person(0, 0)
    camera = Camera(
        np.array([[200.0, 0, 63.5], [0, 200.0, 63.5], [0, 0, 1]]), (128, 128), np.diag([1.0, -1, -1]),
        np.diag([1.0, -1, -1]), np.array([0.0, 60, 400]),
    )  # fmt: skip
    for left in (False, True):
        joints = camera.project(camera.place(posed_surface(who, GRASPS["open"], left).joints_mm))
        assert (joints[4, 0] < joints[0, 0]) == left
        assert joints[12, 1] < joints[0, 1]


def test_the_model_is_loaded_once() -> None:
    assert hand_model() is hand_model()
