import numpy as np
import pytest
from mini_freihand import draw_hand, random_hand_mm

from simhand_cli.labelled.sample import HandSample


@pytest.fixture
def left():
    rng = np.random.default_rng(0)
    joints = random_hand_mm(rng)
    intrinsics = np.array([[480.0, 3.0, 100.0], [0, 470.0, 120.0], [0, 0, 1]])
    projected = joints @ intrinsics.T
    joints_px = projected[:, :2] / projected[:, 2:]
    return HandSample(
        image_rgb=draw_hand(joints_px, 10)[:, :200],
        intrinsics=intrinsics,
        joints_mm=joints,
        joints_px=joints_px,
        joint_valid=np.ones(21, bool),
        hand="left",
        subject="a",
        sequence="b",
        camera="c",
        sample_id="d",
        vertices_mm=joints[:5],
        mano=np.zeros(61),
        mask=np.arange(224 * 200).reshape(224, 200) % 7 == 0,
    )


def test_mirrored_sample_still_projects_onto_its_image(left):
    right = left.as_right()
    assert right.hand == "right"
    assert right.mano is None
    projected = right.joints_mm @ right.intrinsics.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], right.joints_px, atol=1e-9)
    np.testing.assert_array_equal(right.vertices_mm, right.joints_mm[:5])
    for joint in (0, 9, 12):
        x, y = np.round(left.joints_px[joint]).astype(int)
        np.testing.assert_array_equal(right.image_rgb[y, 199 - x], left.image_rgb[y, x])
        assert right.joints_px[joint, 0] == pytest.approx(199 - left.joints_px[joint, 0])
        assert right.mask[y, 199 - x] == left.mask[y, x]
    assert right.as_right() is right
    # twice mirrored is the original
    np.testing.assert_allclose(left.joints_mm[:, 0], -right.joints_mm[:, 0])
