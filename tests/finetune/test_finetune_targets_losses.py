import math

import numpy as np
import pytest
import torch

from simhand_cli.config.resolve import resolve_config
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.losses import detnet_losses, frobenius_map_loss, heat_loss, kernel_loss, mean_map_loss
from simhand_cli.finetune.options import LossOptions, TargetOptions
from simhand_cli.finetune.targets import heatmaps, make_targets
from simhand_cli.models.detnet import DetNetMaps, read_joints
from simhand_cli.skeleton import JOINT_NAMES, PARENTS


def joints(batch, seed=0):
    rng = np.random.default_rng(seed)
    px = torch.from_numpy(rng.uniform(10, 118, (batch, 21, 2)))
    mm = torch.from_numpy(rng.normal([0, 0, 500], 60, (batch, 21, 3)))
    return px, mm


def test_heatmap_peaks_where_the_joint_is():
    # Pixel 5.5 of 128 is the centre of cell 1 of 32: (5.5 + 0.5) / 4 - 0.5.
    px = torch.tensor([[[5.5, 41.5]]], dtype=torch.float64)
    heat, inside = heatmaps(px, 128, 32, TargetOptions())
    assert heat.shape == (1, 1, 32, 32)
    assert float(heat[0, 0, 10, 1]) == pytest.approx(1.0)
    assert float(heat[0, 0, 10, 2]) == pytest.approx(math.exp(-0.5))
    assert float(heat[0, 0, 12, 2]) == pytest.approx(math.exp(-0.5 * 5))
    assert float(inside) == 1


def test_heatmap_between_cells_and_official_truncation():
    px = torch.tensor([[[66.3, 30.9]]], dtype=torch.float64)
    exact, _ = heatmaps(px, 128, 32, TargetOptions(sigma=1.5))
    column, row = (66.3 + 0.5) / 4 - 0.5, (30.9 + 0.5) / 4 - 0.5
    for r, c in ((7, 16), (8, 16), (3, 20)):
        expected = math.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * 1.5**2))
        assert float(exact[0, 0, r, c]) == pytest.approx(expected)
    cut, _ = heatmaps(px, 128, 32, TargetOptions(rounding="truncate"))
    patch = torch.zeros(32, 32, dtype=torch.float64)
    for r in range(32):
        for c in range(32):
            if abs(r - 7) <= 3 and abs(c - 16) <= 3:
                patch[r, c] = math.exp(-((r - 7) ** 2 + (c - 16) ** 2) / 2)
    torch.testing.assert_close(cut[0, 0], patch)


@pytest.mark.parametrize(("x", "inside"), [(-11.0, 1.0), (-60.0, 0.0), (135.0, 1.0), (150.0, 0.0)])
def test_joints_outside_the_crop(x, inside):
    px = torch.full((1, 21, 2), 64.0, dtype=torch.float64)
    px[0, 3, 0] = x
    mm = joints(1)[1]
    valid = torch.ones(1, 21, dtype=torch.bool)
    official = make_targets(px, mm, valid, 128, 32, TargetOptions(rounding="truncate"))
    assert float(official.heat_weight[0, 3]) == inside
    ours = make_targets(px, mm, valid, 128, 32, TargetOptions())
    assert float(ours.heat_weight[0, 3]) == 1.0
    assert float(ours.heat[0, 3].max()) < 0.1 or inside == 1.0


@pytest.mark.parametrize(
    ("given", "name", "index"),
    [("wrist", "wrist", 0), ("middle_mcp", "middle_mcp", 9), (0, "wrist", 0), (9, "middle_mcp", 9), ("0", "wrist", 0)],
)
def test_the_root_is_named_and_numbers_of_earlier_configs_still_load(given, name, index, tmp_path):
    saved = tmp_path / "config.yaml"
    saved.write_text(f"targets:\n  root_joint: {given!r}\n")
    config = resolve_config(FinetuneConfig, saved, {}, [])
    assert (config.targets.root_joint, config.targets.root_index) == (name, index)
    assert config.identity()["targets"]["root_joint"] == name


def test_another_root_is_refused():
    with pytest.raises(ValueError, match="'wrist' or 'middle_mcp'"):
        TargetOptions(root_joint=5)


@pytest.mark.parametrize("root", [0, 9])
def test_location_and_delta_by_hand(root):
    px, mm = joints(3, seed=root)
    valid = torch.ones(3, 21, dtype=torch.bool)
    got = make_targets(px, mm, valid, 128, 32, TargetOptions(root_joint=JOINT_NAMES[root]))
    for b in range(3):
        j = mm[b].numpy()
        bone = np.linalg.norm(j[9] - j[0])
        for joint in range(21):
            np.testing.assert_allclose(got.location[b, joint], (j[joint] - j[root]) / bone, rtol=1e-12)
            step = j[joint] - j[PARENTS[joint]]
            expected = step / np.linalg.norm(step) if joint else np.zeros(3)
            np.testing.assert_allclose(got.delta[b, joint], expected, rtol=1e-12)
    assert float(got.location_weight.min()) == float(got.delta_weight.min()) == 1.0


def test_validity_masks():
    px, mm = joints(4)
    px[0, 7], mm[0, 7] = math.nan, math.nan
    mm[1, 0], mm[2, 9] = math.nan, math.nan
    valid = torch.isfinite(mm).all(dim=-1)
    got = make_targets(px, mm, valid, 128, 32, TargetOptions())
    for tensor in vars(got).values():
        assert torch.isfinite(tensor).all()
    assert float(got.heat_weight[0].sum()) == 20
    assert float(got.heat[0, 7].sum()) == 0
    # no wrist, or no reference bone: no location anywhere; directions only lose the missing joint's own bones
    assert float(got.location_weight[1].sum()) == float(got.location_weight[2].sum()) == 0
    assert float(got.location_weight[3].sum()) == 21
    assert [j for j in range(21) if got.delta_weight[0, j] == 0] == [7, 8]
    assert [j for j in range(21) if got.delta_weight[2, j] == 0] == [9, 10]


def maps_and_targets(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    px, mm = joints(batch, seed)
    valid = torch.rand(batch, 21, generator=generator) > 0.2
    targets = make_targets(px, mm, valid, 128, 32, TargetOptions())
    shape = (batch, 21, 3, 32, 32)
    maps = DetNetMaps(
        heat=torch.rand(batch, 21, 32, 32, generator=generator, dtype=torch.float64).requires_grad_(),
        delta=torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(),
        location=torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(),
    )
    return maps, targets


def test_losses_against_loops():
    maps, targets = maps_and_targets(3)
    heat = 0.0
    top = bottom = 0.0
    squares, labelled = 0.0, 0
    for b in range(3):
        labelled += int(targets.location_weight[b].sum() > 0)
        for j in range(21):
            h, w = targets.heat[b, j].numpy(), float(targets.location_weight[b, j])
            seen = maps.heat[b, j].detach().numpy()
            heat += 0.5 * float(targets.heat_weight[b, j]) * ((seen - h) ** 2).mean() / 3
            error = maps.location[b, j].detach().numpy() - targets.location[b, j].numpy()[:, None, None]
            top += w * (h * (np.sqrt((error**2).sum(axis=0) + 1e-6) - 1e-3)).sum()
            bottom += w * h.sum()
            squares += w * ((error * h) ** 2).sum()
    maps = DetNetMaps(*(m.detach() for m in maps))
    assert float(heat_loss(maps.heat, targets.heat, targets.heat_weight)) == pytest.approx(heat, rel=1e-12)
    arguments = (maps.location, targets.location, targets.location_weight, targets.heat)
    assert float(mean_map_loss(*arguments)) == pytest.approx(top / bottom, rel=1e-12)
    assert float(frobenius_map_loss(*arguments)) == pytest.approx(math.sqrt(squares) / labelled, rel=1e-9)


@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_only_the_default_form_is_independent_of_the_batch_size(form):
    maps, targets = maps_and_targets(2, seed=1)
    repeated_maps = DetNetMaps(*(m.detach().repeat(4, *[1] * (m.ndim - 1)) for m in maps))
    repeated = type(targets)(**{k: v.repeat(4, *[1] * (v.ndim - 1)) for k, v in vars(targets).items()})
    options = LossOptions(form=form)
    maps = DetNetMaps(*(m.detach() for m in maps))
    one, many = detnet_losses(maps, targets, options), detnet_losses(repeated_maps, repeated, options)
    assert float(many.heat) == pytest.approx(float(one.heat), rel=1e-12)
    factor = 1.0 if form == "mean" else 0.5  # the released code's norm goes with 1 / sqrt(batch)
    assert float(many.location) == pytest.approx(factor * float(one.location), rel=1e-9)
    assert float(many.delta) == pytest.approx(factor * float(one.delta), rel=1e-9)


@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_a_batch_without_3d_labels_trains_the_heatmaps_only(form):
    maps, targets = maps_and_targets(2, seed=2)
    targets.location_weight.zero_()
    targets.delta_weight.zero_()
    losses = detnet_losses(maps, targets, LossOptions(form=form))
    assert losses.location.item() == losses.delta.item() == 0.0
    losses.total.backward()
    assert torch.isfinite(maps.heat.grad).all()
    assert float(maps.heat.grad.abs().sum()) > 0
    assert float(maps.location.grad.abs().sum()) == float(maps.delta.grad.abs().sum()) == 0.0


@pytest.mark.parametrize("form", ["mean", "frobenius"])
def test_perfect_maps_have_zero_loss_and_finite_gradients(form):
    _, targets = maps_and_targets(2, seed=3)
    tiled = [t[..., None, None].repeat(1, 1, 1, 32, 32).requires_grad_() for t in (targets.delta, targets.location)]
    maps = DetNetMaps(targets.heat.clone().requires_grad_(), *tiled)
    losses = detnet_losses(maps, targets, LossOptions(form=form))
    assert losses.total.item() == pytest.approx(0.0, abs=1e-5)
    losses.total.backward()
    assert all(torch.isfinite(m.grad).all() for m in maps)


def test_readout_returns_what_the_targets_say():
    px, mm = joints(4, seed=4)
    px = px.clamp(16, 111)
    targets = make_targets(px, mm, torch.ones(4, 21, dtype=torch.bool), 128, 32, TargetOptions())
    tile = torch.ones(1, 1, 1, 32, 32)
    maps = DetNetMaps(targets.heat, targets.delta[..., None, None] * tile, targets.location[..., None, None] * tile)
    averaged, peak = read_joints(maps, 128), read_joints(maps, 128, average=False)
    # between cells: within a tenth of a pixel; the peak's cell only to half a cell, 2 px a side
    assert (averaged.joints_px - px).abs().max() < 0.12
    assert 1.0 < (peak.joints_px - px).abs().max() <= 2.01
    for found in (averaged, peak):
        torch.testing.assert_close(found.location, targets.location.float(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.delta, targets.delta.float(), atol=1e-5, rtol=1e-5)
        assert found.confidence.min() > 0.7


def test_readout_of_the_peak_is_row_major():
    heat = torch.zeros(1, 21, 32, 32)
    heat[:, :, 5, 20] = 0.9
    location = torch.zeros(1, 21, 3, 32, 32)
    location[:, :, 2, 5, 20] = 7.0
    for average in (True, False):
        found = read_joints(DetNetMaps(heat, location, location), 128, average)
        torch.testing.assert_close(found.joints_px[0, 0], torch.tensor([81.5, 21.5]))
        assert float(found.location[0, 0, 2]) == pytest.approx(7.0)
        assert float(found.confidence[0, 0]) == pytest.approx(0.9)


def test_kernel_loss_is_half_the_sum_of_squares_without_biases_and_norms():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 2), torch.nn.BatchNorm2d(1), torch.nn.Linear(2, 1)).double()
    net[0].weight.data = torch.tensor([[[[1.0, 2.0], [3.0, 0.5]]]], dtype=torch.float64)
    net[2].weight.data = torch.tensor([[4.0, -1.0]], dtype=torch.float64)
    loss = kernel_loss(net)
    assert loss.item() == 0.5 * (1 + 4 + 9 + 0.25 + 16 + 1)
    loss.backward()
    torch.testing.assert_close(net[0].weight.grad, net[0].weight.data)  # which is weight decay
    assert net[0].bias.grad is None
