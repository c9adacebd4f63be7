"""The hand model: subdivision, joints, bone lengths, mirroring, poses without interpenetration."""

import numpy as np
import pytest

from simhand_cli.skeleton import BONES
from simhand_cli.synth.hand import articulation, grasps
from simhand_cli.synth.hand.hand_model import hand_model
from simhand_cli.synth.hand.mesh import posed_surface
from simhand_cli.synth.hand.motion import random_motion
from simhand_cli.synth.hand.person import make_person, shape_weights
from simhand_cli.synth.hand.subdivision import catmull_clark


def bone_lengths(joints: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(joints[b] - joints[a]) for a, b in BONES])


def any_hand(seed: int):
    return hand_model().shape(shape_weights(np.random.default_rng(seed))[0])


def test_subdivision_of_a_cube_by_hand() -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    stencil, fine = catmull_clark(quads, 8)
    points = stencil @ corners
    assert points.shape == (8 + 12 + 6, 3)
    assert fine.shape == (24, 4)
    # Valence 3: (Q + 2 R) / 3, with Q the mean of three face centres (1/3, 1/3, 1/3) and R of edge middles (2/3, ...).
    np.testing.assert_allclose(np.abs(points[:8]), 5 / 9, atol=1e-12)
    # An edge point averages the edge's middle (1, 1, 0) with the mean of two face centres (0.5, 0.5, 0).
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), [[0, 0.75, 0.75]] * 12, atol=1e-12)
    np.testing.assert_allclose(np.asarray(stencil.sum(axis=1)).ravel(), 1.0)


def test_rest_pose_leaves_the_hand_as_it_is() -> None:
    model, hand = hand_model(), any_hand(1)
    vertices, joints = model.skin(hand, articulation.bone_rotations(hand, np.zeros(grasps.NUM_ANGLES)))
    np.testing.assert_allclose(vertices, hand.vertices_mm, atol=1e-9)
    np.testing.assert_allclose(joints, hand.joints_mm, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_people_have_human_hands(seed: int) -> None:
    hand = any_hand(seed)
    palm = np.linalg.norm(hand.joints_mm[9] - hand.joints_mm[0])
    assert 60 < palm < 120
    assert 130 < palm + bone_lengths(hand.joints_mm)[9:12].sum() < 250


@pytest.mark.parametrize("seed", range(6))
def test_fingertips_lie_on_the_surface_and_other_joints_well_inside(seed: int) -> None:
    model, hand = hand_model(), any_hand(seed)
    fine = model.refine(hand.vertices_mm)
    nearest = np.array([np.linalg.norm(fine - joint, axis=1).min() for joint in hand.joints_mm])
    tips = [4, 8, 12, 16, 20]
    assert nearest[tips].max() < 2.5
    assert np.delete(nearest, tips).min() > 3.0


def test_bone_lengths_stay_the_same_in_a_sequence() -> None:
    hand = any_hand(3)
    motion = random_motion(np.random.default_rng(0), hand, (np.zeros(24), "rest"), 40, 10.0, False)
    at_rest = bone_lengths(hand.joints_mm)
    for frame, pose in enumerate(motion.poses):
        joints = motion.carry(frame, articulation.posed_joints(hand, pose))
        # Cupping bends the palm, which moves knuckles against the wrist; everything else is rigid.
        rigid = [k for k, (parent, _) in enumerate(BONES) if parent != 0]
        np.testing.assert_allclose(bone_lengths(joints)[rigid], at_rest[rigid], rtol=1e-9)
        np.testing.assert_allclose(bone_lengths(joints), at_rest, rtol=0.05)


def test_motion_is_smooth() -> None:
    hand = any_hand(4)
    motion = random_motion(np.random.default_rng(1), hand, (np.zeros(24), "rest"), 90, 30.0, False)
    joints = np.stack([motion.carry(f, articulation.posed_joints(hand, p)) for f, p in enumerate(motion.poses)])
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=2)
    assert speed.max() < 40  # mm between frames at 30 frames a second: fast, but no jump
    assert np.abs(np.diff(speed, axis=0)).max() < 12


@pytest.mark.parametrize("name", grasps.GRASP_NAMES)
def test_grasps_are_in_range_and_possible(name: str) -> None:
    pose = grasps.GRASPS[name]
    np.testing.assert_array_equal(grasps.clamp(pose), pose)
    assert articulation.possible(hand_model().shape({}), pose)


def test_sampled_poses_are_in_range_and_possible() -> None:
    rng, hand = np.random.default_rng(5), any_hand(5)
    found = {}
    for _ in range(150):
        pose, name = articulation.sample_pose(rng, hand)
        found[name] = found.get(name, 0) + 1
        np.testing.assert_allclose(grasps.clamp(pose), pose)
        assert articulation.possible(hand, pose)
    assert len(found) >= 15


def test_the_capsule_test_sees_crossing_fingers() -> None:
    hand = hand_model().shape({})
    crossed = grasps.GRASPS["flat"].copy()
    crossed[1], crossed[5] = -30.0, 30.0  # index towards little, middle towards thumb
    assert not articulation.possible(hand, crossed)


def test_segment_distance_against_dense_sampling() -> None:
    rng = np.random.default_rng(0)
    p0, p1, q0, q1 = rng.normal(size=(4, 30, 3))
    distance, _, _ = articulation.segment_distance(p0, p1, q0, q1)
    t = np.linspace(0, 1, 201)[:, None]
    for k in range(30):
        a, b = p0[k] + t * (p1[k] - p0[k]), q0[k] + t * (q1[k] - q0[k])
        dense = np.linalg.norm(a[:, None] - b[None], axis=2).min()
        assert distance[k] <= dense + 1e-9
        assert distance[k] > dense - 0.02


def test_a_left_hand_is_the_mirrored_right_one() -> None:
    who = make_person(0, 1)
    pose = grasps.GRASPS["ok"]
    right, left = posed_surface(who, pose, False, 60.0), posed_surface(who, pose, True, 60.0)
    mirror = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(left.joints_mm, right.joints_mm * mirror)
    np.testing.assert_array_equal(left.fine_mm, right.fine_mm * mirror)


def test_tones_come_in_equal_shares() -> None:
    tones = [make_person(3, k).tone for k in range(8)]
    assert sorted(int(tone * 8) for tone in tones) == list(range(8))
