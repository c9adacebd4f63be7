"""Views that are cut off at the border of the hand's frame: against the released steps, one after the other."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simhand_cli.views.geometry import move_points, undo_view, view_affines
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters
from simhand_cli.views.transform import View, apply_view
from simhand_cli.views.warp import black_outside, samples_per_pixel, warp_torch
from simhand_cli.views.window import draw_window, hand_frame

COLOURS = {"hue": (1, 1), "saturation": (1, 1), "value": (1, 1), "brightness": (0, 0)}
CUT = ViewOptions(border="cut", **COLOURS).settled()


def parameters(angle_deg: float, margin: float, shift: tuple[float, float]) -> ViewParameters:
    options = ViewOptions(rotation_deg=(angle_deg, angle_deg), margin=(margin, margin), **COLOURS).settled()
    drawn = draw_parameters(0, torch.arange(1), 0, options)
    return ViewParameters(**{**vars(drawn), "shift": torch.tensor([shift], dtype=torch.float64)})


def hand(seed: int, spread: float = 30.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 112 + spread * torch.randn(1, 21, 2, generator=generator, dtype=torch.float64)


def smooth_crop(size: int, seed: int = 1) -> torch.Tensor:
    coarse = 60 + 195 * torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return fine.clamp(0, 255).round().to(torch.uint8)


views = st.tuples(
    st.floats(-180, 180),
    st.floats(0.5, 3),
    st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    st.integers(0, 1000),
    st.sampled_from([32, 128, 225]),
)


@settings(max_examples=100)
@given(views)
def test_view_then_its_inverse_is_the_identity_and_the_joints_can_be_undone(view):
    angle, margin, shift, seed, size = view
    joints, drawn = hand(seed), parameters(angle, margin, shift)
    window = draw_window(joints, drawn, CUT.model_copy(update={"output_px": size}))
    seen = move_points(window.view_from_crop, joints)
    assert (move_points(window.crop_from_view, seen) - joints).abs().max() < 1e-5
    mean = (size - 1) / 2 - window.params.shift * size
    assert (seen.mean(dim=1) - mean).abs().max() < 1e-6 * size
    # What is left when all is undone is the hand in a straight, centred view of margin 1.
    straight = move_points(view_affines(joints, parameters(0, 1, (0, 0)), size)[0], joints)
    assert (undo_view(seen, window.params, size) - straight).abs().max() < 1e-6


@settings(max_examples=100)
@given(views)
def test_the_window_is_what_the_frame_leaves_of_it(view):
    angle, margin, shift, seed, size = view
    joints, drawn = hand(seed), parameters(angle, margin, shift)
    window = draw_window(joints, drawn, CUT.model_copy(update={"output_px": size}))
    x, y, side = window.frame[0].tolist()
    box = joints[0].amax(dim=0) - joints[0].amin(dim=0)
    assert side == pytest.approx(1.3 * float(box.max()))
    mean = joints[0].mean(dim=0)
    reach = margin * float((joints[0] - mean).norm(dim=1).max())
    for axis, center in ((0, x), (1, y)):
        start = max(float(mean[axis]) - reach + shift[axis] * side, center - side / 2)
        end = min(start + 2 * reach, center + side / 2)
        if end - start < 4:  # hardly anything left: the window is then kept from vanishing
            return
        # Lengths along each axis of the turned frame change by their own factor.
        row = window.view_from_crop[0, axis]
        assert float(row[:2].norm()) == pytest.approx(size / (end - start), rel=1e-9)
        assert float(window.params.stretch[0, axis]) == pytest.approx((end - start) / (2 * reach), rel=1e-9)
        jitter = (start - float(mean[axis]) + reach) * 224 / side
        assert float(window.params.jitter_px[0, axis]) == pytest.approx(jitter, abs=1e-9)
        assert float(window.params.shift[0, axis]) == pytest.approx(
            0.5 - (float(mean[axis]) - start) / (end - start), abs=1e-9
        )


def test_windows_within_the_frame_are_those_that_are_padded():
    joints, crop = hand(3), smooth_crop(224)
    frame_side = float(hand_frame(joints)[0, 2])
    _, _, side = view_affines(joints, parameters(0, 0.5, (0, 0)), 128)
    shift = (0.05, -0.03)
    padded = apply_view(crop, joints, parameters(0, 0.5, shift), ViewOptions(**COLOURS).settled())
    over_frame = tuple(s * float(side) / frame_side for s in shift)
    cut = apply_view(crop, joints, parameters(0, 0.5, over_frame), CUT)
    torch.testing.assert_close(cut.images, padded.images, rtol=0, atol=1e-6)
    torch.testing.assert_close(cut.keypoints_px, padded.keypoints_px)
    torch.testing.assert_close(cut.params.shift, torch.tensor([shift], dtype=torch.float64))
    torch.testing.assert_close(cut.params.jitter_px * frame_side / 224, padded.params.jitter_px)
    torch.testing.assert_close(cut.params.stretch, torch.ones(1, 2, dtype=torch.float64))


def whole_numbers() -> torch.Tensor:
    """Joints whose frame is 224 crop pixels wide, its edges between pixels, their mean too: the released integers."""
    rng = np.random.default_rng(4)
    box = 224 / 1.3
    low = np.array([180 - 0.5 - box / 2, 170 - 0.5 - box * 0.4])
    points = low + rng.uniform(0.2, 0.8, (21, 2)) * [box, 0.8 * box]
    points[:4] = low + box * np.array([[0, 0.3], [1, 0.4], [0.6, 0], [0.5, 0.8]])
    target = np.round(points.mean(axis=0)) - 0.5
    points[4:] += (target - points.mean(axis=0)) * 21 / 17
    return torch.from_numpy(points)[None]


def released(crop: np.ndarray, joints: np.ndarray, angle: float, reach: int, jitter: tuple[int, int]):
    """Frame, turn, slice, resize: fact sheet, section 2; also the joints' way and the jitter that is stored."""
    corner = (joints.min(axis=0) + joints.max(axis=0)) / 2 - 112 + 0.5
    left, top = np.round(corner).astype(int)
    frame, points = crop[top : top + 224, left : left + 224], joints - [left, top]
    center = points.mean(axis=0)
    matrix = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), angle, 1)
    frame = cv2.warpAffine(frame, matrix, (224, 224))
    points = points @ matrix[:, :2].T + matrix[:, 2]
    middle = np.round(center + 0.5).astype(int)  # between the pixels of these two numbers
    origin = np.maximum(middle - reach + np.array(jitter), 0)
    cut = frame[origin[1] : origin[1] + 2 * reach, origin[0] : origin[0] + 2 * reach]
    height, width = cut.shape[:2]
    view = cv2.resize(cut, (128, 128), interpolation=cv2.INTER_AREA)
    points = (points - origin + 0.5) * [128 / width, 128 / height] - 0.5
    return view, points, middle - reach - origin, (width, height)


@pytest.mark.parametrize(
    ("angle", "reach", "jitter"),
    [(0, 70, (3, 0)), (20, 100, (14, 7)), (-45, 105, (0, 12)), (44, 130, (9, 14)), (10, 60, (5, 5))],
)
def test_against_the_released_steps(angle, reach, jitter):
    joints, crop = whole_numbers(), smooth_crop(360)
    radius = float((joints[0] - joints[0].mean(dim=0)).norm(dim=1).max())
    params = parameters(angle, reach / radius, (jitter[0] / 224, jitter[1] / 224))
    image, points, stored, sides = released(crop[0].permute(1, 2, 0).numpy(), joints[0].numpy(), angle, reach, jitter)
    view = apply_view(crop, joints, params, CUT)
    np.testing.assert_allclose(view.keypoints_px[0], points, atol=1e-4)
    np.testing.assert_allclose(view.params.jitter_px[0], -stored, atol=1e-9)
    np.testing.assert_allclose(view.params.stretch[0], np.array(sides) / (2 * reach), atol=1e-9)
    assert (sides == (2 * reach, 2 * reach)) == (reach < 80)
    difference = np.abs(255 * view.images[0].permute(1, 2, 0).numpy() - image)
    assert difference.mean() < 1
    # At the turned frame's edges the two blend into black over a pixel, a little differently.
    assert np.quantile(difference, 0.98) < 4
    assert (image == 0).mean() == pytest.approx(float((view.images < 0.002).float().mean()), abs=0.01)


def drawn_both_ways(crop: torch.Tensor, joints: torch.Tensor, params: ViewParameters) -> tuple[View, torch.Tensor]:
    view = apply_view(crop, joints, params, CUT)
    window = draw_window(joints, params, CUT)
    exact = warp_torch(crop, window.crop_from_view, 128, samples_per_pixel(crop.shape[-1], 128))
    return view, black_outside(exact / 255, window.crop_from_view, window.frame)


def test_outside_the_frame_is_black_though_the_stored_crop_goes_on():
    joints = hand(5, 18.0)
    crop = torch.full((1, 3, 224, 224), 200, dtype=torch.uint8)
    params = parameters(40, 3.0, (0, 0))
    view, exact = drawn_both_ways(crop, joints, params)
    window = draw_window(joints, params, CUT)
    pixels = torch.stack(torch.meshgrid(*[torch.arange(128.0).double()] * 2, indexing="xy"), dim=-1).reshape(1, -1, 2)
    places = move_points(window.crop_from_view, pixels)[0] - window.frame[0, :2]
    beyond = (places.abs().amax(dim=1) - window.frame[0, 2] / 2).reshape(128, 128)
    for drawn in (view.images, exact):
        assert drawn[0][:, beyond > 1].max() == 0
        assert (drawn[0][:, beyond < -1] - 200 / 255).abs().max() < 0.01
    assert 0.1 < (beyond > 1).float().mean() < 0.5


def test_opencv_and_grid_sample_draw_the_same():
    joints, params = hand(6, 22.0), parameters(-30, 1.4, (0.06, 0.01))
    view, exact = drawn_both_ways(smooth_crop(224), joints, params)
    assert (255 * (view.images - exact)).abs().max() < 1.1


def test_a_view_does_not_depend_on_the_rest_of_the_batch():
    joints = torch.cat([hand(seed, 20.0) for seed in range(5)])
    crops = torch.cat([smooth_crop(224, seed) for seed in range(5)])
    together = apply_view(crops, joints, draw_parameters(1, torch.arange(5), 0, CUT), CUT)
    for i in range(5):
        drawn = draw_parameters(1, torch.tensor([i]), 0, CUT)
        alone = apply_view(crops[i : i + 1], joints[i : i + 1], drawn, CUT)
        assert torch.equal(alone.images[0], together.images[i])


def test_coinciding_joints_and_far_shifts_stay_finite():
    for joints, shift in ((torch.full((1, 21, 2), 50.0), (0.0, 0.0)), (hand(2), (5.0, -5.0))):
        window = draw_window(joints, parameters(10, 1.0, shift), CUT)
        assert torch.isfinite(window.view_from_crop).all()
        assert torch.isfinite(window.crop_from_view).all()
        assert (window.params.stretch > 0).all()
