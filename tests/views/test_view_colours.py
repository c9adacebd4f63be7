import colorsys
import math

import cv2
import numpy as np
import pytest
import torch

from simhand_cli.views import corruptions
from simhand_cli.views.colour import jitter_colours, jitter_opencv, jitter_torch
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters


def colour_grid() -> torch.Tensor:
    """(1, 3, 25, 40): random colours, and greys, primaries, black and white."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 25, 40, generator=generator)
    image[..., 0, :] = torch.linspace(0, 1, 40)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    image[0, :, 1, :8] = corners.T
    return image


def reference(rgb: tuple[float, float, float], factors: list[float], swapped: bool) -> tuple[float, float, float]:
    red, green, blue = rgb[::-1] if swapped else rgb
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    value = min(1.0, max(0.0, value * factors[2] + factors[3]))
    changed = colorsys.hsv_to_rgb(hue * factors[0], min(1.0, saturation * factors[1]), value)
    return changed[::-1] if swapped else changed


@pytest.mark.parametrize("jitter", [jitter_opencv, jitter_torch])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("factors", [[1, 1, 1, 0], [0.4, 0.7, 0.9, 0.05], [0.01, 1, 0.5, 0.08], [1.7, 2.0, 1.5, -0.1]])
def test_jitter_against_colorsys(factors, swapped, jitter):
    image = colour_grid()
    changed = jitter(image, torch.tensor([factors]), swapped)[0].flatten(1).T.numpy()
    pixels = image[0].flatten(1).T.tolist()
    expected = np.array([reference(tuple(rgb), factors, swapped) for rgb in pixels])
    np.testing.assert_allclose(changed, expected, atol=2e-5)


def test_each_sample_has_its_own_factors():
    images = torch.rand(19, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    factors = torch.rand(19, 4, generator=torch.Generator().manual_seed(2))
    together = jitter_colours(images, factors, False)
    for i in range(19):
        alone = jitter_colours(images[i : i + 1], factors[i : i + 1], False)
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=0)


def test_swapped_order_turns_skin_green_and_true_order_keeps_it_warm():
    skin = torch.tensor([224.0, 172, 138]).reshape(1, 3, 1, 1) / 255
    half = torch.tensor([[0.5, 1.0, 1.0, 0.0]])
    np.testing.assert_allclose(jitter_colours(skin, half, True).flatten() * 255, [138, 224, 155], atol=3)
    np.testing.assert_allclose(jitter_colours(skin, half, False).flatten() * 255, [224, 155, 138], atol=3)


def params(count: int = 2, **changes: torch.Tensor) -> ViewParameters:
    drawn = draw_parameters(0, torch.arange(count), 0, ViewOptions().settled())
    return ViewParameters(**{**vars(drawn), **changes})


def pictures(count: int = 2, size: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


SECOND = torch.tensor([False, True])


def test_grey_is_luma_of_the_chosen():
    images = pictures()
    changed = corruptions.grey(images, params(grey=SECOND))
    assert torch.equal(changed[0], images[0])
    expected = cv2.cvtColor(images[1].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    for channel in changed[1]:
        np.testing.assert_allclose(channel, expected, atol=1e-5)


def test_edges_against_opencv():
    images = pictures() * 0.1
    changed = corruptions.edges(images, params(edges=SECOND))
    assert torch.equal(changed[0], images[0])
    luma = cv2.cvtColor(images[1].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    slopes = [cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, ksize=3, borderType=cv2.BORDER_REPLICATE) for dx in (0, 1)]
    np.testing.assert_allclose(changed[1, 0], np.clip(np.abs(slopes).sum(axis=0), 0, 1), atol=1e-5)


def test_blur_against_opencv():
    images = pictures()
    sigma = torch.tensor([0.0, 1.3], dtype=torch.float64)
    changed = corruptions.blur(images, params(blur_sigma_px=sigma))
    assert torch.equal(changed[0], images[0])
    expected = cv2.GaussianBlur(images[1].permute(1, 2, 0).numpy(), (5, 5), 1.3, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(changed[1].permute(1, 2, 0), expected, atol=1e-5)


def test_cutout_blackens_a_square_on_its_joint():
    images = torch.ones(2, 3, 40, 40)
    joints = torch.full((2, 21, 2), 5.0)
    joints[1, 4] = torch.tensor([20.5, 10.5])
    fraction = torch.tensor([0.0, 0.1], dtype=torch.float64)
    changed = corruptions.cut_out(images, params(cutout_fraction=fraction, cutout_joint=torch.tensor([4, 4])), joints)
    assert torch.equal(changed[0], images[0])
    expected = torch.ones(40, 40)
    expected[9:13, 19:23] = 0
    assert torch.equal(changed[1, 0], expected)


def test_noise_has_its_strength_and_its_own_seed():
    images = torch.full((3, 3, 64, 64), 0.5)
    keys = torch.tensor([1, 2, 1])
    changed = corruptions.add_noise(images, params(3, noisy=torch.tensor([True, True, True]), noise_key=keys))
    noise = changed - images
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    assert math.isclose(float(noise[0].std()), 25 / 255, rel_tol=0.03)
    assert abs(float(noise[0].mean())) < 0.003
    quiet = corruptions.add_noise(images, params(3, noisy=torch.tensor([True, False, False]), noise_key=keys))
    assert torch.equal(quiet[1:], images[1:])
