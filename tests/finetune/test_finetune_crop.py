import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mini_freihand import draw_hand, random_hand_mm

from simhand_cli.finetune.augmentation import colour_matrix, draw_placement, vary_colours
from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.labelled.sample import HandSample
from simhand_cli.labelled.sample_crop import EVAL_CROP_SCALE, Placement, crop_sample


def hand_sample(seed=0, hand="right", image=None):
    joints = random_hand_mm(np.random.default_rng(seed))
    intrinsics = np.array([[480.0, 2.0, 108.0], [0, 493.0, 115.0], [0, 0, 1]])
    projected = joints @ intrinsics.T
    joints_px = projected[:, :2] / projected[:, 2:]
    return HandSample(
        image_rgb=draw_hand(joints_px, 20) if image is None else image,
        intrinsics=intrinsics,
        joints_mm=joints,
        joints_px=joints_px,
        joint_valid=np.ones(21, bool),
        hand=hand,
        subject="s",
        sequence="q",
        camera="c",
        sample_id="0",
    )


@settings(max_examples=40)
@given(
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.6, 1.6),
    dx=st.floats(-0.3, 0.3),
    dy=st.floats(-0.3, 0.3),
    hand=st.sampled_from(["right", "left"]),
)
def test_turned_3d_projects_onto_the_augmented_2d(angle, scale, dx, dy, hand):
    sample = hand_sample(3, hand)
    crop = crop_sample(sample, 64, Placement(angle, scale, (dx, dy)))
    projected = crop.joints_mm @ crop.intrinsics.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], crop.joints_px, atol=1e-8)
    # rigid: no length changes, depth is untouched
    gaps = np.linalg.norm(crop.joints_mm[:, None] - crop.joints_mm, axis=-1)
    truth = np.linalg.norm(sample.joints_mm[:, None] - sample.joints_mm, axis=-1)
    np.testing.assert_allclose(gaps, truth, atol=1e-9)
    np.testing.assert_allclose(crop.joints_mm[:, 2], sample.joints_mm[:, 2])


def test_a_quarter_turn_by_hand():
    """Turning x towards y: what was to the right of the wrist is below it, in the picture and in 3D."""
    upright = crop_sample(hand_sample(1), 128)
    turned = crop_sample(hand_sample(1), 128, Placement(np.pi / 2))
    a, b = upright.joints_px - 63.5, turned.joints_px - 63.5
    np.testing.assert_allclose(b, np.stack([-a[:, 1], a[:, 0]], axis=1), atol=1e-9)
    j = upright.joints_mm
    np.testing.assert_allclose(turned.joints_mm, np.stack([-j[:, 1], j[:, 0], j[:, 2]], axis=1), atol=1e-9)
    # the picture too: a pixel-exact quarter turn (interior only, bilinear at the border)
    expected = np.rot90(upright.image_rgb, -1)
    assert np.abs(turned.image_rgb.astype(int) - expected)[2:-2, 2:-2].mean() < 1.0


def test_image_and_joints_move_together():
    """A bright spot painted at each joint is found at the crop's joint, for any placement."""
    rng = np.random.default_rng(5)
    for seed in range(6):
        plain = hand_sample(seed)
        joint = int(rng.integers(21))
        rows, columns = np.mgrid[0:224, 0:224]
        x, y = plain.joints_px[joint]
        spot = (250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)).astype(np.uint8)
        sample = hand_sample(seed, "left" if seed % 2 else "right", np.repeat(spot[..., None], 3, axis=2))
        placement = draw_placement(rng, AugmentOptions(rotation_deg=180, scale=0.3, shift=0.05))
        crop = crop_sample(sample, 128, placement)
        weight = np.where(crop.image_rgb[..., 0] > 20, crop.image_rgb[..., 0], 0).astype(float)
        rows, columns = np.mgrid[0:128, 0:128]
        seen = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        np.testing.assert_allclose(seen, crop.joints_px[joint], atol=0.25)


def test_evaluation_crop_is_centred_with_the_documented_margin():
    crop = crop_sample(hand_sample(2), 128)
    low, high = crop.joints_px.min(axis=0), crop.joints_px.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 63.5, atol=1e-9)
    assert (high - low).max() * EVAL_CROP_SCALE == pytest.approx(128)


def test_unlabelled_joints_do_not_move_the_crop():
    sample = hand_sample(2)
    joints_px, valid = sample.joints_px.copy(), sample.joint_valid.copy()
    joints_px[7], valid[7] = np.nan, False
    from dataclasses import replace

    crop = crop_sample(replace(sample, joints_px=joints_px, joint_valid=valid), 128)
    assert np.isfinite(crop.joints_px[valid]).all()
    assert crop.image_rgb.max() > 100


def test_placement_stays_in_its_ranges_and_follows_the_generator():
    options = AugmentOptions(rotation_deg=30, scale=0.25, shift=0.1)
    drawn = [draw_placement(np.random.default_rng([1, 2, i]), options) for i in range(300)]
    again = [draw_placement(np.random.default_rng([1, 2, i]), options) for i in range(300)]
    assert drawn == again
    angles = np.rad2deg([p.rotation_rad for p in drawn])
    scales = np.array([p.scale for p in drawn])
    assert np.abs(angles).max() <= 30
    assert np.abs(angles).max() > 28
    assert scales.min() >= 1 / 1.25
    assert scales.max() <= 1.25
    assert abs(np.log(scales).mean()) < 0.03
    assert np.abs([p.shift for p in drawn]).max() <= 0.1


def test_colour_matrix_against_slow_steps():
    rng = np.random.default_rng(0)
    rgb = rng.uniform(0, 255, (50, 3))
    b, c, s, grey = 1.2, 0.7, 1.3, 90.0
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    step = luma[:, None] + s * (rgb - luma[:, None])
    step = b * (grey + c * (step - grey))
    matrix = colour_matrix(b, c, s, 0.0, grey)
    np.testing.assert_allclose(rgb @ matrix[:, :3].T + matrix[:, 3], step, atol=1e-3)
    # a full turn of hue is no change, grey has no hue, a third of a turn moves red towards green or blue
    np.testing.assert_allclose(colour_matrix(1, 1, 1, 1.0, 0)[:, :3], np.eye(3), atol=1e-3)
    np.testing.assert_allclose(colour_matrix(1, 1, 1, 0.3, 0)[:, :3] @ np.ones(3), np.ones(3), atol=1e-3)
    red = colour_matrix(1, 1, 1, 1 / 3, 0)[:, :3] @ np.array([1.0, 0, 0])
    assert red[0] < max(red[1], red[2])


def test_colours_vary_reproducibly_and_can_be_switched_off():
    image = hand_sample(1).image_rgb
    off = vary_colours(image, np.random.default_rng(0), AugmentOptions(colour=0, blur_px=0))
    np.testing.assert_array_equal(off, image)
    one = vary_colours(image, np.random.default_rng(4), AugmentOptions())
    two = vary_colours(image, np.random.default_rng(4), AugmentOptions())
    np.testing.assert_array_equal(one, two)
    assert np.abs(one.astype(int) - image).mean() > 2
    assert one.dtype == np.uint8
    assert cv2.Laplacian(image, cv2.CV_64F).std() > 0
