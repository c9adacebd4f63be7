import numpy as np
import pytest
import torch

from simhand_cli.views.geometry import view_affines
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import draw_parameters
from simhand_cli.views.transform import apply_view
from simhand_cli.views.warp import samples_per_pixel, warp, warp_opencv, warp_torch

KEEP_COLOURS = {"hue": (1, 1), "saturation": (1, 1), "value": (1, 1), "brightness": (0, 0)}


def joints(count: int, spread: float = 28.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return 112 + spread * torch.randn(count, 21, 2, generator=generator).clamp(-2, 2)


def smooth_crops(count: int, size: int = 224) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 16, 16, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def dot_crop(center: torch.Tensor, size: int = 224, sigma: float = 3.0) -> torch.Tensor:
    pixels = torch.arange(size, dtype=torch.float64)
    squared = (pixels[None, :] - center[0]) ** 2 + (pixels[:, None] - center[1]) ** 2
    return (255 * torch.exp(-squared / (2 * sigma**2))).round().to(torch.uint8).expand(1, 3, size, size)


def centroid(image: torch.Tensor) -> np.ndarray:
    weight = image.sum(dim=0).double()
    pixels = torch.arange(image.shape[-1], dtype=torch.float64)
    x, y = (weight.sum(dim=0) * pixels).sum(), (weight.sum(dim=1) * pixels).sum()
    return np.array([float(x / weight.sum()), float(y / weight.sum())])


@pytest.mark.parametrize("output_px", [64, 128])
@pytest.mark.parametrize("joint", [0, 7, 20])
def test_image_and_joints_move_together(joint, output_px):
    points = joints(1)
    crop = dot_crop(points[0, joint].double())
    options = ViewOptions(output_px=output_px, margin=(1.3, 1.5), **KEEP_COLOURS).settled()
    for key in range(4):
        view = apply_view(crop, points, draw_parameters(3, torch.tensor([key]), 0, options), options)
        expected = view.keypoints_px[0, joint].numpy()
        assert np.abs(centroid(view.images[0]) - expected).max() < 0.05


@pytest.mark.parametrize(("size", "output_px"), [(224, 128), (224, 64), (96, 128)])
def test_opencv_and_grid_sample_draw_the_same(size, output_px):
    crops = smooth_crops(5, size)
    points = joints(5, 28.0 * size / 224) + size / 2 - 112
    options = ViewOptions(margin=(0.9, 3.0)).settled()
    _, crop_from_view, _ = view_affines(points, draw_parameters(0, torch.arange(5), 0, options), output_px)
    n = samples_per_pixel(size, output_px)
    exact = warp_torch(crops, crop_from_view, output_px, n)
    difference = (warp_opencv(crops, crop_from_view, output_px, n) - exact).abs()
    assert exact.max() > 150
    assert difference.max() < 1.1  # rounding twice to whole numbers
    assert difference.mean() < 0.4


def test_a_straight_window_of_the_crops_own_size_copies_it():
    crops = smooth_crops(1, 64)
    affine = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    assert torch.equal(warp(crops, affine, 64), crops.float())
    assert (warp_torch(crops, affine, 64, 1) - crops.float()).abs().max() < 0.02


def test_a_quarter_size_view_averages():
    crops = torch.randint(0, 256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    affine = torch.tensor([[[2.0, 0, 0.5], [0, 2, 0.5]]], dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(crops.double(), 2)
    assert samples_per_pixel(96, 48) == 2
    assert (warp_torch(crops, affine, 48, 2) - expected).abs().max() < 0.02
    assert (warp(crops, affine, 48) - expected).abs().max() <= 0.51


def test_outside_the_crop_is_black():
    crops = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    affine = torch.tensor([[[1.0, 0, -10], [0, 1, 0]]], dtype=torch.float64)
    for drawn in (warp(crops, affine, 32), warp_torch(crops, affine, 32, 1)):
        assert drawn[..., :9].abs().max() < 0.01
        assert (drawn[..., 11:] - 200).abs().max() < 0.01


def test_a_view_does_not_depend_on_the_rest_of_the_batch():
    options = ViewOptions(
        blur_probability=0.5,
        noise_probability=0.5,
        cutout_probability=0.5,
        grey_probability=0.3,
        sobel_probability=0.3,
        output_px=48,
    ).settled()
    crops, points, keys = smooth_crops(20, 64), joints(20, 8.0) - 80, torch.arange(20)
    together = apply_view(crops, points, draw_parameters(1, keys, 0, options), options)
    for i in (0, 8, 19):
        params = draw_parameters(1, keys[i : i + 1], 0, options)
        alone = apply_view(crops[i : i + 1], points[i : i + 1], params, options)
        torch.testing.assert_close(alone.images[0], together.images[i], atol=2e-6, rtol=0)
        assert torch.equal(alone.keypoints_px[0], together.keypoints_px[i])


def test_memory_layout_does_not_matter_and_parameters_come_back_complete():
    options = ViewOptions().settled()
    crops, points = smooth_crops(3), joints(3)
    params = draw_parameters(1, torch.arange(3), 0, options)
    first = apply_view(crops, points, params, options)
    second = apply_view(crops.contiguous(memory_format=torch.channels_last), points, params, options)
    assert torch.equal(first.images, second.images)
    assert first.images.dtype == torch.float32
    assert first.images.shape == (3, 3, 128, 128)
    assert 0 <= float(first.images.min()) < float(first.images.max()) <= 1
    assert first.params.stretch is None
    scale = torch.linalg.det(first.view_from_crop[:, :, :2]).sqrt()
    torch.testing.assert_close(first.params.jitter_px, params.shift * (128 / scale)[:, None])
