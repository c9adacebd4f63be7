import pytest
import torch
from pydantic import ValidationError

from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters

EVERYTHING = ViewOptions(
    blur_probability=0.5,
    noise_probability=0.5,
    cutout_probability=0.5,
    grey_probability=0.5,
    sobel_probability=0.5,
).settled()


def tensors(params: ViewParameters) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(params).items() if value is not None}


def test_a_sample_gets_the_same_parameters_in_any_batch():
    keys = torch.tensor([4, 17, 3, 99])
    together = draw_parameters(5, keys, 1, EVERYTHING)
    for i, key in enumerate(keys):
        alone = draw_parameters(5, key[None], 1, EVERYTHING)
        for name, value in tensors(alone).items():
            assert torch.equal(value[0], tensors(together)[name][i]), name


def test_views_and_seeds_differ():
    keys = torch.arange(50)
    base = draw_parameters(5, keys, 0, EVERYTHING)
    for other in (draw_parameters(5, keys, 1, EVERYTHING), draw_parameters(6, keys, 0, EVERYTHING)):
        assert not torch.isclose(base.angle_deg, other.angle_deg).any()
        assert not torch.equal(base.noise_key, other.noise_key)


def test_ranges_are_filled_and_kept():
    options = ViewOptions(rotation_deg=(-10, 30), margin=(1, 2), translation=(-0.2, 0.1), hue=(0.3, 0.4)).settled()
    params = draw_parameters(0, torch.arange(4000), 0, options)
    for value, (low, high) in (
        (params.angle_deg, (-10, 30)),
        (params.margin, (1, 2)),
        (params.shift[:, 0], (-0.2, 0.1)),
        (params.shift[:, 1], (-0.2, 0.1)),
        (params.hue, (0.3, 0.4)),
        (params.value, (0.5, 1.0)),
    ):
        width = high - low
        assert value.min() >= low
        assert value.max() <= high
        assert value.min() < low + 0.01 * width
        assert value.max() > high - 0.01 * width


def test_defaults_rotate_and_shift_both_ways_and_corrupt_nothing():
    params = draw_parameters(0, torch.arange(500), 0, ViewOptions().settled())
    assert params.angle_deg.min() < -40
    assert params.angle_deg.max() > 40
    assert params.shift.min() < -0.06
    assert params.shift.max() > 0.06
    for off in (params.blur_sigma_px, params.cutout_fraction, params.noisy, params.grey, params.edges):
        assert not off.any()


def test_probabilities():
    params = draw_parameters(0, torch.arange(4000), 0, EVERYTHING.model_copy(update={"grey_probability": 0.2}))
    assert abs(params.grey.float().mean() - 0.2) < 0.02
    assert abs((params.blur_sigma_px > 0).float().mean() - 0.5) < 0.03
    assert int(params.cutout_joint.min()) == 0
    assert int(params.cutout_joint.max()) == 20


def test_joined_and_map():
    first, second = (draw_parameters(0, torch.arange(3), view, EVERYTHING) for view in (0, 1))
    joined = ViewParameters.joined(first, second)
    assert torch.equal(joined.shift[3:], second.shift)
    assert joined.jitter_px is None
    assert torch.equal(joined.map(lambda t: t[:3]).hue, first.hue)


@pytest.mark.parametrize("bad", [{"rotation_deg": (3, -3)}, {"margin": (0, 1)}, {"output_px": 3}, {"rotation": 3}])
def test_bad_options_are_refused(bad):
    with pytest.raises(ValidationError):
        ViewOptions(**bad).settled()


def test_filled_keeps_what_was_set():
    options = ViewOptions(rotation_deg=(0, 0)).settled()
    assert options.rotation_deg == (0, 0)
    assert options.margin == (0.9, 1.5)
    assert options.settled() == options
