"""Crop geometry: squares, affine maps, borders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhand_cli.crops.geometry import (
    apply_affine,
    compose_affine,
    inside_frame,
    invert_affine,
    square_around,
    square_crop,
    warp_crop,
)

numbers = st.floats(-500, 500)


@given(st.tuples(numbers, numbers), st.floats(1, 900), st.integers(2, 300), st.booleans())
def test_affine_inverse_and_composition(centre, side, size, mirrored) -> None:
    affine = square_crop(np.array(centre), side, size, mirrored)
    np.testing.assert_allclose(
        compose_affine(affine, invert_affine(affine)), [[1, 0, 0], [0, 1, 0]], atol=1e-9 * max(1, size)
    )
    corners = apply_affine(affine, np.array([[-0.5, -0.5], [size - 0.5, size - 0.5]]))
    half = np.array([-side / 2, side / 2])
    expected = np.stack([centre[0] + (half[::-1] if mirrored else half), centre[1] + half], axis=1)
    np.testing.assert_allclose(corners, expected, atol=1e-6)


def test_crop_shows_what_its_affine_says() -> None:
    rng = np.random.default_rng(0)
    for mirrored in (False, True):
        for side in (40.0, 90.0, 300.0):
            frame = np.zeros((240, 320, 3), np.uint8)
            centre = rng.uniform([80, 80], [240, 160])
            spot = np.round(centre + rng.uniform(-side / 4, side / 4, 2)).astype(int)
            radius = max(2, int(side / 30))
            frame[spot[1] - radius : spot[1] + radius + 1, spot[0] - radius : spot[0] + radius + 1] = 255
            affine = square_crop(centre, side, 96, mirrored)
            crop = warp_crop(frame, affine, 96)[..., 0].astype(float)
            grid = np.stack(np.meshgrid(np.arange(96), np.arange(96)), axis=-1).reshape(-1, 2)
            found = (grid * crop.reshape(-1, 1)).sum(axis=0) / crop.sum()
            np.testing.assert_allclose(found, apply_affine(invert_affine(affine), spot[None])[0], atol=0.15)


def test_border_is_marked() -> None:
    affine = square_crop(np.array([10.0, 50.0]), 40.0, 80)
    assert inside_frame(affine, 80, (200, 100)).tolist() == pytest.approx([20.5 - 0.5 - 1, -0.5, 79.5, 79.5], abs=1.01)
    crop = warp_crop(np.full((100, 200, 3), 255, np.uint8), affine, 80)
    x0, _, x1, _ = inside_frame(affine, 80, (200, 100))
    assert (crop[:, : int(np.floor(x0))] == 0).all()
    assert (crop[:, int(np.ceil(x0)) + 1 : int(x1)] == 255).all()


def test_square_around() -> None:
    centre, side = square_around(np.array([[0.0, 0.0], [10.0, 4.0]]), 2.0)
    assert centre.tolist() == [5.0, 2.0]
    assert side == 20.0
