import cv2
import loop_reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simhand_cli.pretrain.loss.feature_inverse import hand_spread, invert_view_in_features
from simhand_cli.views.geometry import move_points
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters
from simhand_cli.views.window import draw_window

SIZE = 128
OPTIONS = ViewOptions(translation=(-0.3, 0.3), margin=(0.6, 2.5), rotation_deg=(-180, 180)).settled()


def hands(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 112 + 30 * torch.randn(count, 21, 2, generator=generator, dtype=torch.float64)


def seen(joints: torch.Tensor, seed: int) -> tuple[torch.Tensor, ViewParameters, torch.Tensor]:
    """Joints in their views, the views' parameters and the affine maps."""
    params = draw_parameters(seed, torch.arange(len(joints)), 0, OPTIONS)
    window = draw_window(joints, params, OPTIONS)
    return move_points(window.view_from_crop, joints), window.params, window.view_from_crop


def as_features(points_px: torch.Tensor) -> torch.Tensor:
    """Points of a view as a projection that knows where they are: measured from the view's centre."""
    return (points_px - (SIZE - 1) / 2).flatten(1)


@pytest.mark.parametrize("unit", ["hand", "range", "pixels"])
def test_against_the_loop_reference(unit):
    joints, params, _ = seen(hands(5), seed=1)
    z = torch.randn(5, 128, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = invert_view_in_features(
        z,
        params,
        undo_rotation=True,
        undo_translation=True,
        shift_unit=unit,
        spread=hand_spread(joints, SIZE),
        output_px=SIZE,
    )
    for i in range(5):
        expected = loop_reference.undo_in_features(
            z[i].numpy(),
            float(params.angle_deg[i]),
            params.shift[i].numpy(),
            unit,
            joints[i].numpy(),
            params.jitter_px[i].numpy(),
            SIZE,
        )
        np.testing.assert_allclose(found[i], expected, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_features_that_are_the_joints_forget_the_view(seed):
    """Rotation, translation and scale of the view leave nothing in features that move as the hand does."""
    original = hands(3, seed)
    joints, params, _ = seen(original, seed)
    undone = invert_view_in_features(
        as_features(joints),
        params,
        undo_rotation=True,
        undo_translation=True,
        spread=hand_spread(joints, SIZE),
    )
    centred = (original - original.mean(dim=1, keepdim=True)).flatten(1)
    expected = centred / centred.norm(dim=1, keepdim=True)
    assert (undone - expected).abs().max() < 1e-9


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_rotation_alone_is_undone_for_any_64_points_moved_by_opencv(seed):
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(64, 2))
    angle = float(generator.uniform(-180, 180))
    center = points.mean(axis=0)
    matrix = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), angle, 1.0)
    # OpenCV keeps the centre in float32; put it exactly, or the reference itself is off by 1e-7.
    matrix[:, 2] = center - matrix[:, :2] @ center
    turned = points @ matrix[:, :2].T + matrix[:, 2]
    params = draw_parameters(0, torch.arange(1), 0, ViewOptions(rotation_deg=(angle, angle)).settled())
    undone = invert_view_in_features(
        torch.from_numpy(turned.reshape(1, -1)), params, undo_rotation=True, undo_translation=False
    )
    expected = points.ravel() / np.linalg.norm(points)
    np.testing.assert_allclose(undone[0], expected, atol=1e-12)


def test_range_unit_is_exact_where_the_points_fill_the_window():
    points = torch.rand(1, 64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    points[0, :2] = torch.tensor([[-0.5, -0.5], [0.5, 0.5]])
    params = draw_parameters(0, torch.arange(1), 0, OPTIONS)
    shifted = (points - params.shift[:, None]).flatten(1)
    undone = invert_view_in_features(shifted, params, undo_rotation=False, undo_translation=True, shift_unit="range")
    expected = points.flatten(1) / points.flatten(1).norm()
    assert (undone - expected).abs().max() < 1e-12


def test_nothing_to_undo_only_normalises():
    z = torch.randn(4, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = draw_parameters(0, torch.arange(4), 0, OPTIONS)
    undone = invert_view_in_features(z, params, undo_rotation=False, undo_translation=False)
    torch.testing.assert_close(undone, z / z.norm(dim=1, keepdim=True))


def test_means_and_ranges_take_no_gradient():
    joints, params, _ = seen(hands(2), seed=4)
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    unit = torch.nn.functional.normalize(z, dim=1)
    spread = hand_spread(joints, SIZE)
    invert = invert_view_in_features(z, params, undo_rotation=True, undo_translation=True, spread=spread)
    weight = torch.randn(2, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((invert * weight).sum(), z, retain_graph=True)

    # With mean and spread held constant the undoing is one fixed affine map of the unit vector.
    points = unit.detach().reshape(2, 8, 2)
    scale = ((points - points.mean(dim=1, keepdim=True)).square().sum(-1).mean(1)).sqrt() / spread
    shift = params.shift * scale[:, None]
    center = (points + shift[:, None]).mean(dim=1, keepdim=True)
    angle = torch.deg2rad(params.angle_deg)
    rows = torch.stack([torch.cos(angle), torch.sin(angle), -torch.sin(angle), torch.cos(angle)], dim=1)
    fixed = (unit.reshape(2, 8, 2) + shift[:, None] - center) @ rows.reshape(2, 2, 2) + center
    expected_value = torch.nn.functional.normalize(fixed.flatten(1), dim=1)
    torch.testing.assert_close(invert, expected_value)
    (expected,) = torch.autograd.grad((expected_value * weight).sum(), z)
    torch.testing.assert_close(gradient, expected)


def test_what_is_missing_is_said():
    params = draw_parameters(0, torch.arange(1), 0, OPTIONS)
    z = torch.ones(1, 128)
    with pytest.raises(ValueError, match="spread"):
        invert_view_in_features(z, params, undo_rotation=True, undo_translation=True)
    with pytest.raises(ValueError, match="apply_view"):
        invert_view_in_features(z, params, undo_rotation=True, undo_translation=True, shift_unit="pixels")
