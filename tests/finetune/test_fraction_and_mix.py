import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mini_freihand import write_mini_freihand
from tiny_workspace import CROP_PX, make_workspace

from simhand_cli.commands.finetune import finetune
from simhand_cli.crops.geometry import apply_affine, invert_affine
from simhand_cli.errors import InputProblem
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.crop_dataset import CropDataset, StepSampler, collate
from simhand_cli.finetune.label_fraction import take_fraction
from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.finetune.training_data import choose_samples
from simhand_cli.finetune.weak_2d import WeakCrops
from simhand_cli.labelled.sample_crop import crop_sample
from simhand_cli.labelled.set_aside import validation_groups
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory):
    roots = []
    for name, hands in (("large", 12), ("small", 4)):
        roots.append(tmp_path_factory.mktemp(name) / "FreiHAND_pub_v2")
        write_mini_freihand(roots[-1], hands=hands, test_hands=1)
    return roots


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(0.02, 1.0), st.integers(0, 1000))
@settings(max_examples=60)
def test_stratified_takes_the_same_part_of_everybody(sizes, fraction, seed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    samples = np.sort(rng.choice(1000, len(groups), replace=False))
    taken = take_fraction(samples, groups, 1000, fraction, "stratified", seed)
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
    samples = np.arange(130_240)
    taken = take_fraction(samples, samples, 130_240, 0.1, "official-first", seed=5)
    np.testing.assert_array_equal(taken, np.arange(13_024))  # "FreiHand*" of the paper, whose list is one shorter
    # what is set aside for validation does not move the border
    rest = samples[samples % 10 != 3]
    taken = take_fraction(rest, rest, 130_240, 0.1, "official-first", seed=5)
    np.testing.assert_array_equal(taken, [i for i in range(13_024) if i % 10 != 3])
    drawn = take_fraction(samples, samples, 130_240, 0.1, "random-frame", seed=5)
    assert len(drawn) == 13_024
    assert drawn.max() > 100_000
    assert (take_fraction(samples, samples, 130_240, 0.1, "random-frame", seed=6) != drawn).any()


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
        positions = np.array([p for step in steps[8 * epoch : 8 * epoch + 8] for _, p, _ in step])
        keys = [key for step in steps[8 * epoch : 8 * epoch + 8] for key in step]
        assert len(set(keys)) == 64  # a sample that comes twice is varied twice
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
    batch = collate([dataset[0, 0, 0], dataset[0, 70, 0], dataset[0, 92, 0]])
    assert (dataset[0, 70, 0].image_rgb != dataset[0, 70, 1].image_rgb).any()
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


@pytest.mark.slow
def test_a_run_with_weak_crops_and_without_validation(two_sets, tmp_path):
    make_workspace(tmp_path / "ws")
    _write_keypoints(Workspace(tmp_path / "ws"))
    tiny = {"encoder": "none", "backbone": "test_resnet", "width": 16, "input_px": 64, "gpus": 0, "workers": 0}
    config = FinetuneConfig(
        workspace=tmp_path / "ws", data=two_sets[1:], epochs=1, batch_size=8, val_fraction=0, weak_2d=True, **tiny
    )
    summary = finetune(config)
    assert summary.facts["training samples"] == 16
    assert summary.facts["unlabelled crops"] == 29
    assert summary.outputs["report"].is_file()


def test_neighbours_are_neighbours_in_the_set_not_in_the_alphabet():
    class Counted:
        subjects = ("unknown",) * 400
        sequences = tuple(f"img{i}" for i in range(400))

    blocks, kind = validation_groups(Counted(), np.arange(400))
    assert "neighbouring" in kind
    np.testing.assert_array_equal(blocks, np.arange(400) // 20)


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
