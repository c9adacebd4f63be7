import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mini_freihand import write_mini_freihand

from simhand_cli.errors import InputProblem
from simhand_cli.finetune.crop_dataset import CropDataset, StepSampler, collate
from simhand_cli.finetune.data import choose_samples
from simhand_cli.finetune.fraction import take_fraction
from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.finetune.sample_crop import crop_sample
from simhand_cli.finetune.weak_2d import WeakCrops
from simhand_cli.hands.crop_geometry import apply_affine, invert_affine
from simhand_cli.workspace.paths import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain_loop"))
from tiny_workspace import CROP_PX, make_workspace


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory):
    roots = []
    for name, hands in (("large", 12), ("small", 4)):
        roots.append(tmp_path_factory.mktemp(name) / "FreiHAND_pub_v2")
        write_mini_freihand(roots[-1], hands=hands, test_hands=1)
    return roots


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(0.02, 1.0), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_stratified_takes_the_same_part_of_everybody(sizes, fraction, seed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    samples = np.sort(rng.choice(1000, len(groups), replace=False))
    taken = take_fraction(samples, groups, fraction, "stratified", seed)
    assert len(taken) == max(1, round(len(samples) * fraction))
    assert (np.diff(taken) > 0).all()
    assert set(taken) <= set(samples)
    per_group = {g: int((groups[np.isin(samples, taken)] == g).sum()) for g in np.unique(groups)}
    if len(taken) >= len(sizes):
        assert min(per_group.values()) >= 1
        for g, count in per_group.items():
            # Everybody gets one first; beyond that nobody is more than one picture and the others' firsts off.
            assert count <= np.ceil(fraction * (groups == g).sum()) + 1


def test_official_first_is_the_beginning_rounded_down():
    samples = np.arange(130_239)
    taken = take_fraction(samples, samples, 0.1, "official-first", seed=5)
    np.testing.assert_array_equal(taken, np.arange(13_023))  # "FreiHand*" of the paper
    assert len(take_fraction(samples[:3], samples[:3], 0.1, "official-first", 0)) == 1
    drawn = take_fraction(samples, samples, 0.1, "random-frame", seed=5)
    assert len(drawn) == 13_024
    assert drawn.max() > 100_000
    assert (take_fraction(samples, samples, 0.1, "random-frame", seed=6) != drawn).any()


def test_equal_mix_gives_every_set_the_same_number(two_sets):
    by_size = choose_samples(two_sets, val_fraction=0, label_fraction=1, seed=0)
    equal = choose_samples(two_sets, val_fraction=0, label_fraction=1, seed=0, mix="equal")
    assert by_size.sizes == by_size.quotas == [48, 16]
    assert equal.quotas == [32, 32]
    sampler = StepSampler(equal.sizes, 8, 3, seed=1, quotas=equal.quotas)
    assert sampler.total_steps == 3 * 8
    steps = list(sampler)
    seen = []
    for epoch in range(3):
        positions = np.array([p for step in steps[8 * epoch : 8 * epoch + 8] for _, p in step])
        large = positions[positions < 48]
        assert len(large) == len(set(large)) == 32
        np.testing.assert_array_equal(np.bincount(positions[positions >= 48] - 48), np.full(16, 2))
        seen.append(set(large))
    assert seen[0] != seen[1]
    assert len(set().union(*seen)) > 40
    ranks = [list(StepSampler(equal.sizes, 8, 3, 1, r, 2, equal.quotas)) for r in range(2)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == steps


def test_weak_crops_teach_2d_only(two_sets, tmp_path):
    make_workspace(tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    _write_keypoints(workspace)
    crops = WeakCrops(workspace)
    assert len(crops) == 29
    assert crops.problems()[0].count == 1
    sample = crops[3]
    assert sample.image_rgb.shape == (CROP_PX, CROP_PX, 3)
    assert np.isnan(sample.joints_mm).all()
    # the drawn joints are where the keypoints say, also after the training crop's warp
    crop = crop_sample(sample, 64)
    expected = apply_affine(invert_affine(crop.image_from_crop), sample.joints_px)
    np.testing.assert_allclose(crop.joints_px, expected)
    data = choose_samples(two_sets, val_fraction=0, label_fraction=1, seed=0).with_weak(crops, 0.5)
    assert data.quotas == [48, 16, 64]
    assert data.labelled == 64
    assert len(data.train) == 93
    assert data.record()["sets"][2]["name"] == "crops"

    dataset = CropDataset(data.sets, data.train, 64, AugmentOptions(), seed=0)
    batch = collate([dataset[0, 0], dataset[0, 70], dataset[0, 92]])
    assert batch.valid.all()
    assert np.isfinite(batch.joints_mm[0].numpy()).all()
    assert np.isnan(batch.joints_mm[1:].numpy()).all()

    import torch

    from simhand_cli.finetune.losses import detnet_losses
    from simhand_cli.finetune.options import LossOptions, TargetOptions
    from simhand_cli.finetune.targets import make_targets
    from simhand_cli.models.detnet import DetNetMaps

    targets = make_targets(batch.joints_px, batch.joints_mm, batch.valid, 64, 16, TargetOptions())
    assert all(torch.isfinite(tensor).all() for tensor in vars(targets).values())
    assert targets.heat_weight.min() == 1
    for weight in (targets.location_weight, targets.delta_weight):
        assert weight[0].max() == 1
        assert weight[1:].max() == 0
    maps = DetNetMaps(*(torch.rand(s, requires_grad=True) for s in ((3, 21, 16, 16), *[(3, 21, 3, 16, 16)] * 2)))
    detnet_losses(maps, targets, LossOptions()).total.backward()
    assert (maps.heat.grad[1:] != 0).any()
    for three_d in (maps.location.grad, maps.delta.grad):
        assert (three_d[0] != 0).any()
        assert (three_d[1:] == 0).all()


def test_weak_crops_need_keypoints(tmp_path):
    make_workspace(tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    _write_keypoints(workspace, usable=False)
    with pytest.raises(InputProblem, match=r"--weak-2d: no crop .* usable keypoints"):
        WeakCrops(workspace)


def _write_keypoints(workspace, usable=True):
    """Keypoints shards for the tiny workspace; one crop's are not usable."""
    import h5py

    from simhand_cli.workspace.shards import write_h5

    with h5py.File(workspace.mining_dir / "embeddings.h5") as file:
        keypoints = file["keypoints_px"][...].reshape(3, 10, 21, 2)
    for video, points in enumerate(keypoints):
        valid = np.full(10, usable)
        valid[7] &= video != 1
        arrays = {"keypoints_px": points, "valid": valid, "confidence": np.ones(10, np.float32)}
        write_h5(workspace.keypoints_shard(f"{video:016x}"), "simhand.keypoints", 1, arrays, {})
        _add_columns(workspace.crops_shard(f"{video:016x}"))


def _add_columns(shard):
    """What the tiny workspace leaves out of its crops shards."""
    import h5py

    with h5py.File(shard, "a") as file:
        file["handedness"] = np.ones(10, np.uint8)
        file["balance_key"] = np.zeros(10, np.uint64)
        file["timestamp_s"] = np.arange(10, dtype=np.float64)
        file["frame_index"] = np.arange(10, dtype=np.int64)
