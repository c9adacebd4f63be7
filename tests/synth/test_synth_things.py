"""What may be beside the labelled hand: held things and the other hand; and what they do to labels."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from still_shot import labelled_shot

from simhand_cli.synth.hand.articulation import capsules, posed_joints, sample_pose
from simhand_cli.synth.hand.hand_model import hand_model
from simhand_cli.synth.hand.mesh import hand_mesh, posed_surface, with_thing
from simhand_cli.synth.hand.person import person
from simhand_cli.synth.render.raster import vertex_normals
from simhand_cli.synth.scene.arrange import Variety, arrange, set_up
from simhand_cli.synth.scene.camera import arm_leaves_free
from simhand_cli.synth.scene.second_hand import hidden_joints
from simhand_cli.synth.scene.things import HOLDING, Thing, hold
from simhand_cli.synth.shots import draw_frame, labelled_sequence


def brute_gap(points: np.ndarray, joints: np.ndarray) -> float:
    """Smallest distance of points to the hand's capsules, by walking along every bone in small steps."""
    start, end, radii = capsules(joints)
    share = np.linspace(0, 1, 60)[:, None, None]
    centres = (start + share * (end - start)).reshape(-1, 3)
    thick = (radii[:, 0] + share[..., 0] * (radii[:, 1] - radii[:, 0])).ravel()
    return float((np.linalg.norm(points[:, None] - centres, axis=2) - thick).min())


def some_things(count: int) -> list[tuple[Thing, np.ndarray]]:
    rng, hand = np.random.default_rng(4), hand_model().shape({})
    found = []
    while len(found) < count:
        joints = posed_joints(hand, sample_pose(rng, hand, HOLDING)[0])
        thing = hold(rng, joints)
        if thing is not None:
            found.append((thing, joints))
    return found


def test_things_touch_the_hands_flesh_and_do_not_pass_through_it() -> None:
    for thing, joints in some_things(25):
        gap = brute_gap(thing.vertices_mm, joints)
        assert gap > -1.0
        centre = thing.vertices_mm.mean(axis=0)
        assert brute_gap(centre[None], joints) < 60
        if thing.kind == "ball" and thing.radius_mm < 40:
            assert gap < 2.5  # a ball of twenty meridians is a little inside its sphere


def test_things_lie_between_palm_and_fingers() -> None:
    for thing, joints in some_things(25):
        centre = thing.vertices_mm.mean(axis=0)
        assert np.linalg.norm(centre - joints[[1, 5, 9, 13, 17]].mean(axis=0)) < 130
        out_of_palm = np.cross(joints[5] - joints[0], joints[17] - joints[0])  # of a right hand
        assert (centre - joints[[0, 5, 17]].mean(axis=0)) @ out_of_palm > 0


@pytest.mark.parametrize("kind", ["cylinder", "box", "ball"])
def test_the_solids_are_closed_and_face_outwards(kind: str) -> None:
    thing = next(t for t, _ in some_things(60) if t.kind == kind)
    for solid in (thing, thing.mirrored()):
        corners = solid.vertices_mm[solid.faces] - solid.vertices_mm.mean(axis=0)
        volume = np.einsum("ti,ti->t", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert volume > 0
        normals = vertex_normals(solid.vertices_mm.astype(np.float32), solid.faces)
        outward = (normals * (solid.vertices_mm - solid.vertices_mm.mean(axis=0))).sum(axis=1)
        assert (outward > 0).mean() > 0.99


def test_a_thing_hides_the_hand_but_changes_none_of_its_labels() -> None:
    """The same hand drawn with and without its thing: the mask only shrinks, depth only comes nearer."""
    hidden = 0
    for number in range(8):
        rng = np.random.default_rng([3, number])
        variety = Variety(things=1.0)
        arrangement, (camera,) = set_up(
            rng, arrange(rng, person(0, 1), variety, 1, 15.0), variety, (96, 96), (0.4, 0.6), 1
        )
        if arrangement.thing is None:
            continue
        surface = arrangement.surface(0)
        (held,) = draw_frame(arrangement, 0, surface, [camera])
        (bare,) = draw_frame(replace(arrangement, thing=None), 0, surface, [camera])
        np.testing.assert_allclose(bare.hand_coverage, bare.coverage, atol=1e-6)
        assert (held.hand_coverage <= bare.hand_coverage + 1e-6).all()
        both = (held.depth_mm > 0) & (bare.depth_mm > 0) & (bare.coverage > 0.99) & (held.coverage > 0.99)
        assert (held.depth_mm[both] <= bare.depth_mm[both] + 0.5).all()
        hidden += int((bare.hand_coverage - held.hand_coverage > 0.5).sum())
    assert hidden > 300


@pytest.mark.slow
def test_no_joint_is_in_front_of_what_is_seen() -> None:
    """Where a joint falls on any drawn surface, that surface is not behind the joint: things and hands included."""
    variety = Variety(things=0.5, second_hand=0.5)
    checked = 0
    for number in range(16):
        shot = labelled_shot(6, number, number, variety, 192).shot
        for (x, y), depth in zip(np.round(shot.joints_px).astype(int), shot.joints_mm[:, 2], strict=True):
            around = shot.depth_mm[y - 1 : y + 2, x - 1 : x + 2]
            if (around > 0).all():
                checked += 1
                assert around.min() < depth + 1.5
    assert checked > 200


@pytest.mark.slow
def test_the_share_of_second_hands_and_things_is_kept() -> None:
    variety = Variety(things=0.5, second_hand=0.5)
    shots = [labelled_shot(8, k, 2, variety, 16) for k in range(80)]
    seconds = np.mean([np.isfinite(s.shot.second_joints_mm).all() for s in shots])
    things = np.mean([s.thing != "none" for s in shots])
    assert 0.3 < seconds < 0.65
    assert 0.35 < things < 0.65


def walked(joints: np.ndarray, arm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points along all bones and the forearm of a hand, and the flesh around them."""
    start, end, radii = capsules(joints)
    start, end = np.concatenate([start, arm[:1]]), np.concatenate([end, arm[-1:]])
    radii = np.concatenate([radii, [[32.0, 32.0]]])
    steps = np.linspace(0, 1, 50)[:, None, None]
    points = (start + steps * (end - start)).reshape(-1, 3)
    return points, (radii[:, 0] + steps[..., 0] * (radii[:, 1] - radii[:, 0])).ravel()


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 24])
def test_the_second_hand_is_the_other_one_apart_and_does_not_hide_the_first(frames: int) -> None:
    """In every frame of a sequence: no flesh in flesh or thing, at most a few joints hidden, no cut arm in view."""
    rng, variety, found = np.random.default_rng(1), Variety(second_hand=1.0, things=0.3), 0
    slack = 0.5 if frames == 1 else 6.0  # between the frames that are looked at (every 0.2 s) fingers move on
    for _ in range(12):
        arrangement = arrange(rng, person(0, 3), variety, frames, 15.0)
        arrangement, (camera,) = set_up(rng, arrangement, variety, (128, 128), (0.4, 0.6), 1)
        if arrangement.second is None:
            continue
        found += 1
        assert arrangement.second.surface.left != arrangement.left
        for frame in range(frames):
            carry = partial(arrangement.motion.carry, frame)
            first, other = arrangement.surface(frame).joints_mm, arrangement.second_joints_mm(frame)
            points, thick = walked(first, carry(arrangement.arm_mm))
            others, other_thick = walked(other, carry(arrangement.second.arm_mm))
            gap = np.linalg.norm(others[:, None] - points, axis=2) - other_thick[:, None] - thick
            assert gap.min() > -slack
            if arrangement.thing is not None:
                solid = carry(arrangement.thing.vertices_mm)
                assert (np.linalg.norm(others[:, None] - solid, axis=2) - other_thick[:, None]).min() > -slack
            assert hidden_joints(camera, first, other) <= 5 + (frames > 1)
            if frame % 3 == 0:
                assert arm_leaves_free(camera, first, carry(arrangement.second.arm_mm))
    assert found >= (8 if frames == 1 else 4)


def test_hidden_joints_counts_what_is_behind() -> None:
    """Another hand straight before the camera's view of this one hides about all of it; behind it, nothing."""
    rng, variety = np.random.default_rng(1), Variety()
    arrangement = arrange(rng, person(0, 3), variety, 1, 15.0)
    _, (camera,) = set_up(rng, arrangement, variety, (128, 128), (0.4, 0.6), 1)
    joints = arrangement.surface(0).joints_mm
    toward_camera = camera.turn.T @ np.array([0.0, 0.0, -1.0])
    assert hidden_joints(camera, joints, joints + 60 * toward_camera) > 12
    assert hidden_joints(camera, joints, joints - 250 * toward_camera) == 0


def test_left_is_the_mirrored_right() -> None:
    who = person(0, 1)
    pose = sample_pose(np.random.default_rng(0), who.hand)[0]
    right, left = (hand_mesh(who, posed_surface(who, pose, side, 60.0)) for side in (False, True))
    np.testing.assert_allclose(left.vertices_mm * [-1, 1, 1], right.vertices_mm, atol=1e-12)
    normals = [vertex_normals(m.vertices_mm.astype(np.float32), m.faces) for m in (right, left)]
    np.testing.assert_allclose(normals[1] * [-1, 1, 1], normals[0], atol=1e-4)


def test_meshes_are_joined_in_order() -> None:
    who = person(0, 1)
    hand = hand_mesh(who, posed_surface(who, np.zeros(24), False))
    points = np.zeros((4, 3))
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    both = with_thing(hand, points, faces, np.zeros(4, np.float32))
    assert both.hand_faces == both.skin_faces == len(hand.faces)
    assert both.faces[-1].min() == len(hand.vertices_mm)
    assert len(both.faces) == len(hand.faces) + 2 == len(both.uv)


def test_a_held_thing_stays_in_the_hand_during_a_sequence() -> None:
    shots = list(labelled_sequence(5, 1, 0, Variety(things=1.0), 32, frames=4))
    assert shots[0].thing != "none"
    joints = np.stack([s.shot.joints_mm for s in shots])
    distances = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=3)
    np.testing.assert_allclose(distances, distances[:1].repeat(4, axis=0), atol=1e-6)  # the fingers keep their grip
    assert np.abs(joints[0] - joints[-1]).max() > 0.5  # and the hand moves
