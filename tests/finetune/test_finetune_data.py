import numpy as np
import pytest
from mini_freihand import write_mini_freihand

from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.finetune.crop_dataset import CropDataset, StepSampler, training_loader, validation_loader
from simhand_cli.finetune.options import AugmentOptions
from simhand_cli.finetune.training_data import choose_samples
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.set_aside import choose_validation
from simhand_cli.models.encoder import build_encoder, save_backbone
from simhand_cli.models.encoder_source import find_encoder
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "FreiHAND_pub_v2"
    write_mini_freihand(root, hands=12, test_hands=1)
    return root


def test_whole_people_are_set_aside():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 9, 500)
    for seed in range(5):
        chosen = choose_validation(groups, 0.2, seed)
        for person in range(9):
            assert len(set(chosen[groups == person])) == 1
        assert 0.1 < chosen.mean() < 0.3
    assert not (choose_validation(groups, 0.2, 0) == choose_validation(groups, 0.2, 1)).all()
    # never everybody, never nobody, unless nobody is wanted
    two = np.array([0] * 95 + [1] * 5)
    assert 0 < choose_validation(two, 0.9, 0).sum() < 100
    assert 0 < choose_validation(two, 0.001, 3).sum() < 100
    assert choose_validation(two, 0.0, 0).sum() == 0
    assert choose_validation(np.zeros(4, int), 0.5, 0).sum() == 0


def test_the_same_hand_before_another_background_is_never_on_both_sides(mini):
    data = choose_samples([mini], val_fraction=0.25, label_fraction=1.0, seed=1)
    train, val = data.train[:, 1] % 12, data.val[:, 1] % 12
    assert not set(train) & set(val)
    assert len(data.train) + len(data.val) == 48
    assert "blocks" in data.validation[0]
    joints = data.sets[0].joints()[0][data.train[:, 1]]
    expected = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=1).mean()
    assert data.bone_length_mm == pytest.approx(expected, rel=1e-6)
    assert data.record()["sets"][0]["val"] == data.val[:, 1].tolist()


def test_label_fraction_is_a_seeded_draw(mini):
    whole = choose_samples([mini], val_fraction=0.25, label_fraction=1.0, seed=1)
    part = choose_samples([mini], val_fraction=0.25, label_fraction=0.5, seed=1)
    again = choose_samples([mini], val_fraction=0.25, label_fraction=0.5, seed=1)
    other = choose_samples([mini], val_fraction=0.25, label_fraction=0.5, seed=2)
    assert len(part.train) == len(whole.train) // 2
    assert set(part.train[:, 1]) <= set(whole.train[:, 1])
    np.testing.assert_array_equal(part.train, again.train)
    np.testing.assert_array_equal(part.val, whole.val)
    assert other.train[:, 1].tolist() != part.train[:, 1].tolist()
    assert part.digests == whole.digests


def test_sampler_covers_epochs_and_ranks_share_steps():
    one = StepSampler([50], 8, 3, seed=4)
    assert (one.steps_per_epoch, one.total_steps) == (6, 18)
    steps = list(one)
    for epoch in range(3):
        keys = [key for step in steps[epoch * 6 : epoch * 6 + 6] for key in step]
        assert {e for e, _, _ in keys} == {epoch}
        assert len({p for _, p, _ in keys}) == 48
    assert steps[0] != steps[6]
    ranks = [list(StepSampler([50], 8, 3, seed=4, rank=r, world_size=2)) for r in range(2)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == steps
    resumed = StepSampler([50], 8, 3, seed=4)
    resumed.first_step = 7
    assert list(resumed) == steps[7:]
    small = StepSampler([3], 128, 2, seed=0)
    assert [len(step) for step in small] == [3, 3]
    many = [list(StepSampler([3], 128, 1, seed=0, rank=r, world_size=4)) for r in range(4)]
    assert [len(step) for rank in many for step in rank] == [1, 1, 1, 1]


def test_batches_do_not_depend_on_the_workers(mini):
    labelled = open_labelled(mini)
    rows = np.column_stack([np.zeros(48, int), np.arange(48)])

    def batches(workers):
        dataset = CropDataset([labelled], rows, 64, AugmentOptions(), seed=9)
        return list(training_loader(dataset, StepSampler([48], 16, 2, seed=9), workers, "cpu"))

    alone, helped = batches(0), batches(2)
    assert len(alone) == len(helped) == 6
    for a, b in zip(alone, helped, strict=True):
        assert a.images.equal(b.images)
        assert a.joints_mm.equal(b.joints_mm)
        assert a.images.shape == (16, 64, 64, 3)
    # a new epoch brings new variations of the same sample
    first = CropDataset([labelled], rows, 64, AugmentOptions(), seed=9)
    assert not np.array_equal(first[0, 5, 0].image_rgb, first[1, 5, 0].image_rgb)
    np.testing.assert_array_equal(first[1, 5, 0].image_rgb, first[1, 5, 0].image_rgb)


def test_broken_images_are_left_out_and_named(tmp_path):
    root = tmp_path / "set"
    write_mini_freihand(root, hands=3, test_hands=1)
    (root / "training" / "rgb" / "00000004.jpg").write_bytes(b"damaged")
    rows = np.column_stack([np.zeros(12, int), np.arange(12)])
    dataset = CropDataset([open_labelled(root)], rows, 64, None, seed=0)
    batches = list(validation_loader(dataset, 5, 0, "cpu"))
    assert [len(batch) for batch in batches] == [4, 5, 2]
    assert "00000004.jpg" in batches[0].broken[0]
    halves = [list(validation_loader(dataset, 5, 0, "cpu", rank=r, world_size=2)) for r in range(2)]
    assert sum(len(batch) for half in halves for batch in half) == 11


def test_encoder_sources(tmp_path):
    workspace = Workspace(tmp_path / "ws")
    assert find_encoder("none", workspace).backbone == "resnet50"
    assert find_encoder("none", workspace, "resnet18").weights is None
    with pytest.raises(InputProblem, match="simhand pretrain"):
        find_encoder("latest", workspace)
    with pytest.raises(EnvironmentProblem, match="--encoder-weights FILE"):
        find_encoder("imagenet", workspace)
    with pytest.raises(EnvironmentProblem, match="no such file"):
        find_encoder("imagenet", workspace, weights=tmp_path / "x.pth")
    for missing in (str(tmp_path / "nothing.pth"), "no-run"):
        with pytest.raises(EnvironmentProblem, match="--encoder"):
            find_encoder(missing, workspace)
    with pytest.raises(EnvironmentProblem, match=r"did you mean random\?; .* none \(or random\)"):
        find_encoder("rndom", workspace)
    run = workspace.run_dir("pretrain", "first")
    run.mkdir(parents=True)
    encoder = build_encoder("test_resnet")
    save_backbone(encoder, run / "backbone.safetensors", 64)
    for choice in ("latest", "first", "pretrain-first", str(run), str(run / "backbone.safetensors")):
        source = find_encoder(choice, workspace)
        assert source.backbone == "test_resnet"
        built, report = source.build()
        assert report.missing == []
        for name, value in encoder.state_dict().items():
            assert built.state_dict()[name].equal(value)
    with pytest.raises(UsageProblem, match="test_resnet"):
        find_encoder("none", workspace, "test_resnat").build()
