import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simhand_cli.crops.geometry import apply_affine, invert_affine
from simhand_cli.views.geometry import hand_circle, move_points, undo_view, view_affines
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters


def parameters(angle_deg: float, margin: float, shift: tuple[float, float]) -> ViewParameters:
    options = ViewOptions(rotation_deg=(angle_deg, angle_deg), margin=(margin, margin)).settled()
    drawn = draw_parameters(0, torch.arange(1), 0, options)
    return ViewParameters(**{**vars(drawn), "shift": torch.tensor([shift], dtype=torch.float64)})


def hand(seed: int = 0, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 112 + 30 * torch.randn(count, 21, 2, generator=generator, dtype=torch.float64)


views = st.tuples(
    st.floats(-180, 180),
    st.floats(0.5, 3),
    st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    st.integers(0, 1000),
    st.sampled_from([32, 128, 225]),
)


@settings(max_examples=100)
@given(views)
def test_view_then_its_inverse_is_the_identity(view):
    angle, margin, shift, seed, size = view
    joints = hand(seed)
    params = parameters(angle, margin, shift)
    view_from_crop, crop_from_view, side = view_affines(joints, params, size)
    points = torch.tensor([[[0.0, 0.0], [223, 0], [5, 111.5], [-40, 300]]], dtype=torch.float64)
    moved = move_points(view_from_crop, points)
    assert (move_points(crop_from_view, moved) - points).abs().max() < 1e-5
    # And the same maps as the package's own affine functions know them.
    np.testing.assert_allclose(crop_from_view, invert_affine(view_from_crop.numpy()), atol=1e-8)
    np.testing.assert_allclose(moved, apply_affine(view_from_crop.numpy(), points.numpy()), atol=1e-9)
    # Lengths shrink by output / side.
    scale = float(torch.linalg.det(view_from_crop[0, :, :2])) ** 0.5
    assert abs(scale - size / float(side)) < 1e-9


def test_rotation_is_opencvs():
    joints, size = hand(3), 128
    params = parameters(33.0, 1.2, (0.0, 0.0))
    view_from_crop, _, side = view_affines(joints, params, size)
    center = joints[0].mean(dim=0).numpy()
    expected = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), 33.0, size / float(side))
    expected[:, 2] += (size - 1) / 2 - center
    np.testing.assert_allclose(view_from_crop[0], expected, atol=1e-4)


def test_window_holds_the_hand_at_margin_one():
    joints, size = hand(4), 100
    view_from_crop, _, side = view_affines(joints, parameters(20, 1.0, (0, 0)), size)
    moved = move_points(view_from_crop, joints)[0]
    distance = (moved - 49.5).norm(dim=1)
    assert abs(float(distance.max()) - 50) < 1e-9
    center, radius = hand_circle(joints)
    assert abs(float(side) - 2 * float(radius)) < 1e-12
    np.testing.assert_allclose(center[0], joints[0].mean(dim=0))


def test_shift_moves_the_window_so_the_hand_moves_the_other_way():
    joints, size = hand(5), 100
    view_from_crop, _, _ = view_affines(joints, parameters(70, 1.3, (0.1, -0.2)), size)
    np.testing.assert_allclose(move_points(view_from_crop, joints)[0].mean(dim=0), [49.5 - 10, 49.5 + 20], atol=1e-9)


def test_coinciding_joints_stay_finite():
    joints = torch.full((1, 21, 2), 50.0)
    affine, inverse, side = view_affines(joints, parameters(10, 1.0, (0, 0)), 128)
    assert torch.isfinite(affine).all()
    assert torch.isfinite(inverse).all()
    assert float(side) > 0


@settings(max_examples=50)
@given(views)
def test_undo_view_forgets_the_view(view):
    angle, margin, shift, seed, size = view
    joints = hand(seed)
    plain = parameters(0, 1, (0, 0))
    expected = move_points(view_affines(joints, plain, size)[0], joints)
    params = parameters(angle, margin, shift)
    seen = move_points(view_affines(joints, params, size)[0], joints)
    assert (undo_view(seen, params, size) - expected).abs().max() < 1e-9


def test_points_keep_their_dtype():
    joints = hand(6).to(torch.float32)
    affine, _, _ = view_affines(joints, parameters(10, 1, (0, 0)), 64)
    assert move_points(affine, joints).dtype == torch.float32
    assert affine.dtype == torch.float64
