import contextlib
import json
import os
import shutil
import signal

import numpy as np
import pytest
from mini_freihand import write_mini_freihand

from simhand_cli.commands.finetune import finetune
from simhand_cli.console import Console, Ticker, format_duration
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample_crop import crop_sample
from simhand_cli.models.hand_predictor import load_predictor
from simhand_cli.training.log.metrics_log import read_metrics

QUIET = Console(quiet=True)
STILL = {"rotation_deg": 0, "scale": 0, "shift": 0, "colour": 0, "blur_px": 0}


class Listener(Console):
    """A console that remembers what it was told."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "FreiHAND_pub_v2"
    write_mini_freihand(root, hands=4, test_hands=1)
    return root


def tiny(mini, workspace, **options):
    values = {
        "workspace": workspace,
        "data": [mini],
        "encoder": "none",
        "backbone": "test_resnet",
        "width": 16,
        "input_px": 64,
        "epochs": 3,
        "batch_size": 6,
        "precision": "fp32",
        "gpus": 0,
        "workers": 0,
        "val_fraction": 0.25,
        "checkpoint_every": 1,
    }
    return FinetuneConfig(**{**values, **options})


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("finished")
    summary = finetune(tiny(mini, workspace), QUIET)
    return workspace / "runs" / "finetune-scratch-test_resnet", summary


@pytest.mark.slow
def test_a_run_leaves_what_was_promised(finished, mini):
    run, summary = finished
    for name in ("config.yaml", "environment.json", "model.safetensors", "report.html", "samples.json"):
        assert (run / name).is_file()
    assert len((run / "report.html").read_text()) > 20_000
    metrics = read_metrics(run / "metrics.jsonl")
    assert [m["epoch"] for m in metrics] == [1, 2, 3]
    best = min(metrics, key=lambda m: m["val_root_bone_mpjpe_mm"])
    assert summary.data["best_epoch"] == best["epoch"]
    assert summary.facts["precision"] == json.loads((run / "result.json").read_text())["precision"]
    assert summary.data["val_root_bone_mpjpe_mm"] == best["val_root_bone_mpjpe_mm"]
    assert summary.outputs["model"] == run / "model.safetensors"
    assert summary.problems == 0
    # a finished run is not done again
    before = (run / "model.safetensors").stat().st_mtime_ns
    again = finetune(tiny(mini, run.parents[1]), console := Listener())
    assert again.data == summary.data
    assert f"{run} is finished already; --redo does it over, --name starts another" in console.said
    assert (run / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert (run / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageProblem, match=r"0\.001.*0\.01"):
        finetune(tiny(mini, run.parents[1], lr=0.01), QUIET)


def test_kept_model_has_the_logged_validation_error(finished, mini):
    run, summary = finished
    predictor = load_predictor(run)
    import json

    chosen = json.loads((run / "samples.json").read_text())["sets"][0]["val"]
    labelled = open_labelled(mini)
    errors = []
    for index in chosen:
        crop = crop_sample(labelled[index], 64)
        rel = predictor.predict(crop.image_rgb[None]).joints_rel[0]
        truth = crop.joints_mm - crop.joints_mm[0]
        scale = np.linalg.norm(truth[9]) / np.linalg.norm(rel[9])
        errors.append(np.linalg.norm(rel * scale - truth, axis=1))
    assert np.mean(errors) == pytest.approx(summary.data["val_root_bone_mpjpe_mm"], rel=1e-3)
    assert np.isclose(predictor.bone_length_mm, predictor.facts.bone_length_mm)


@pytest.mark.slow
def test_resume_from_an_earlier_epoch_is_bit_equal(finished, mini, tmp_path):
    run, _ = finished
    resumed = tmp_path / "runs" / "finetune-scratch-test_resnet"
    shutil.copytree(run, resumed)
    for name in ("result.json", "model.safetensors", "report.html"):
        (resumed / name).unlink()
    checkpoints = sorted((resumed / "checkpoints").iterdir())
    assert len(checkpoints) == 2
    shutil.rmtree(checkpoints[-1])
    finetune(tiny(mini, tmp_path), QUIET)
    assert (resumed / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    timeless = [{k: v for k, v in m.items() if k != "crops_per_s"} for m in read_metrics(resumed / "metrics.jsonl")]
    expected = [{k: v for k, v in m.items() if k != "crops_per_s"} for m in read_metrics(run / "metrics.jsonl")]
    assert timeless == expected


@pytest.mark.slow
def test_stopped_in_the_middle_of_an_epoch_and_resumed(finished, mini, tmp_path, monkeypatch):
    run, _ = finished

    class StopAfterThree(Ticker):
        steps = 0

        def advance(self, n=1, note=""):
            StopAfterThree.steps += 1
            if StopAfterThree.steps == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    from contextlib import contextmanager

    @contextmanager
    def progress(self, label, total, unit="it"):
        yield StopAfterThree()

    monkeypatch.setattr(Console, "progress", progress)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny(mini, tmp_path), QUIET)
    resumed = tmp_path / "runs" / "finetune-scratch-test_resnet"
    assert not (resumed / "model.safetensors").exists()
    finetune(tiny(mini, tmp_path), QUIET)
    assert (resumed / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    for told, expected in zip(*(read_metrics(r / "metrics.jsonl") for r in (resumed, run)), strict=True):
        assert {k: v for k, v in told.items() if k != "crops_per_s"} == {
            k: v for k, v in expected.items() if k != "crops_per_s"
        }


@pytest.mark.slow
def test_overfits_eight_samples(tmp_path):
    write_mini_freihand(tmp_path / "set", hands=2, test_hands=1, seed=3)
    options = {"epochs": 150, "lr": 4e-3, "warmup_epochs": 10, "val_fraction": 0, "augment": STILL, "batch_size": 8}
    config = tiny(tmp_path / "set", tmp_path / "ws", **options, checkpoint_every=None)
    finetune(config, QUIET)
    predictor = load_predictor(tmp_path / "ws" / "runs" / "finetune-scratch-test_resnet")
    labelled = open_labelled(tmp_path / "set")
    crops = [crop_sample(labelled[i], 64) for i in range(8)]
    found = predictor.predict(np.stack([crop.image_rgb for crop in crops]))
    for i, crop in enumerate(crops):
        truth = crop.joints_mm - crop.joints_mm[0]
        predicted = found.joints_rel[i] * np.linalg.norm(truth[9])
        assert np.linalg.norm(predicted - truth, axis=1).mean() < 8
        assert np.linalg.norm(found.joints_px[i] - crop.joints_px, axis=1).mean() < 1.5


def test_predictor_resizes_and_returns_pixels_of_the_given_image(finished, mini):
    predictor = load_predictor(finished[0] / "model.safetensors")
    sample = open_labelled(mini)[0]
    small, large = crop_sample(sample, 64), crop_sample(sample, 256)
    one = predictor.predict(small.image_rgb[None])
    two = predictor.predict(np.stack([large.image_rgb] * 3))
    assert two.joints_px.shape == (3, 21, 2)
    assert one.confidence.shape == (1, 21)
    np.testing.assert_allclose(one.joints_rel[:, 0], 0)
    np.testing.assert_allclose(two.joints_px[0], two.joints_px[2], atol=1e-3)
    # an untrained map has flat peaks: compare where the model is sure of the same cell
    moved = (one.joints_px[0] + 0.5) * 4 - 0.5
    assert np.median(np.linalg.norm(moved - two.joints_px[0], axis=1)) < 40
    assert predictor.predict(np.zeros((0, 64, 64, 3), np.uint8)).joints_rel.shape == (0, 21, 3)


def test_model_files_that_cannot_be_used(tmp_path, finished):
    with pytest.raises(EnvironmentProblem, match="is not there"):
        load_predictor(tmp_path / "no.safetensors")
    with pytest.raises(EnvironmentProblem, match="finished"):
        load_predictor(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputProblem, match="not a readable"):
        load_predictor(tmp_path / "x.safetensors")
    from safetensors.torch import load_file, save_file

    save_file(load_file(finished[0] / "model.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(InputProblem, match="not a model"):
        load_predictor(tmp_path / "bare.safetensors")


@pytest.mark.slow
def test_broken_image_is_counted_and_the_run_goes_on(mini, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(mini, root)
    (root / "training" / "rgb" / "00000005.jpg").write_bytes(b"damaged")
    (root / "training" / "rgb" / "00000009.jpg").unlink()
    summary = finetune(tiny(root, tmp_path / "ws", epochs=2, val_fraction=0), QUIET)
    assert summary.problems == 2
    text = " ".join(d.what for d in summary.dropped)
    assert "00000005.jpg" in text
    assert "00000009.jpg" in text


@pytest.mark.parametrize("mix", ["by-size", "equal"])
def test_without_a_readable_validation_sample_there_is_no_model(mini, tmp_path, mix):
    """An error that is not a number is never the smallest: random weights would be kept."""
    from simhand_cli.finetune.training_data import choose_samples

    root = shutil.copytree(mini, tmp_path / "set")
    for _, sample in choose_samples([root], val_fraction=0.25, label_fraction=1, seed=0).val:
        (root / "training" / "rgb" / f"{sample:08d}.jpg").write_bytes(b"damaged")
    with pytest.raises(
        InputProblem, match=r"none of the validation samples .* can be read, e\.g\. .*jpg.*--val-fraction 0"
    ):
        finetune(tiny(root, tmp_path / "ws", mix=mix), QUIET)
    assert not (tmp_path / "ws" / "runs" / "finetune-scratch-test_resnet" / "model.safetensors").exists()


@pytest.mark.slow
def test_samples_broken_before_a_stop_are_still_counted_after_it(mini, tmp_path, monkeypatch):
    root = tmp_path / "set"
    shutil.copytree(mini, root)
    for number in (1, 4, 6, 7, 9, 14):
        (root / "training" / "rgb" / f"{number:08d}.jpg").write_bytes(b"damaged")
    options = {"epochs": 1, "val_fraction": 0, "batch_size": 5}
    whole = finetune(tiny(root, tmp_path / "whole", **options), QUIET)

    class StopAtOnce(Ticker):
        def advance(self, n=1, note=""):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Console, "progress", lambda *_: contextlib.nullcontext(StopAtOnce()))
        with pytest.raises(KeyboardInterrupt, match="saved after step 2"):
            finetune(tiny(root, tmp_path / "parts", **options), QUIET)
    resumed = finetune(tiny(root, tmp_path / "parts", **options), QUIET)
    assert resumed.dropped == whole.dropped
    assert resumed.problems == whole.problems > 0


def test_it_is_quiet_without_a_console(mini, tmp_path, monkeypatch, capfd):
    done = {"best_epoch": 1, "epochs": 1, "val_root_bone_mpjpe_mm": None, "broken": []}
    monkeypatch.setattr("simhand_cli.finetune.run.launch", lambda *_, **__: done)
    finetune(tiny(mini, tmp_path))
    assert capfd.readouterr() == ("", "")


def test_dry_run_of_a_redo_says_so(finished, mini):
    workspace = finished[0].parents[1]
    for given in ({}, {"lr": 0.01}):
        summary = finetune(tiny(mini, workspace, dry_run=True, redo=True, **given), QUIET)
        assert summary.facts["run"] == f"{finished[0]} (redo)"


def test_a_dry_run_of_a_finished_run_has_no_time_left(finished, mini):
    summary = finetune(tiny(mini, finished[0].parents[1], dry_run=True), QUIET)
    assert summary.facts["run"] == f"{finished[0]} (finished)"
    assert summary.facts["time, roughly"].startswith(f"{format_duration(0)}, measured on")


def test_a_new_encoder_has_a_run_of_its_own(mini, tmp_path):
    from simhand_cli.models.encoder import build_encoder
    from simhand_cli.models.encoder_source import find_encoder
    from simhand_cli.models.weight_file import write_weights
    from simhand_cli.workspace.paths import Workspace

    weights = build_encoder("test_resnet").backbone.state_dict()
    for number, name in enumerate(("first", "second")):
        file = tmp_path / "runs" / f"pretrain-{name}" / "backbone.safetensors"
        write_weights(file, weights, {"arch": "test_resnet"})
        os.utime(file, (number, number))
        summary = finetune(tiny(mini, tmp_path, encoder="latest", dry_run=True), QUIET)
        assert summary.facts["run"] == f"{tmp_path / 'runs' / f'finetune-{name}'} (new)"
    shutil.copy(file, tmp_path / "from-elsewhere.safetensors")
    named = {
        "first": "first",
        str(file.parent): "second",
        str(tmp_path / "from-elsewhere.safetensors"): "from-elsewhere",
        "none": "scratch-test_resnet",
        "imagenet": "imagenet-test_resnet",
    }
    for choice, name in named.items():
        assert find_encoder(choice, Workspace(tmp_path), "test_resnet", file).run_name == name


def test_dry_run_and_missing_default_set(mini, tmp_path):
    summary = finetune(tiny(mini, tmp_path, dry_run=True), QUIET)
    assert summary.facts["training samples"] == 12
    assert "time, roughly" in summary.facts
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputProblem, match="simhand synth"):
        finetune(tiny(mini, tmp_path, data=[]), QUIET)


@pytest.mark.slow
def test_two_ranks_train_like_one(finished, mini, tmp_path):
    from simhand_cli.finetune.settings import settle
    from simhand_cli.finetune.training_data import choose_samples
    from simhand_cli.finetune.worker import FinetuneJob, train
    from simhand_cli.models.encoder_source import find_encoder
    from simhand_cli.training.processes.launch import launch
    from simhand_cli.training.processes.world import World
    from simhand_cli.workspace.paths import Workspace

    config = tiny(mini, tmp_path, precision="fp64")
    data = choose_samples(config.data, val_fraction=0.25, label_fraction=1.0, seed=0)
    source = find_encoder("none", Workspace(tmp_path), "test_resnet")
    found = []
    for ranks in (1, 2):
        path = tmp_path / f"ranks-{ranks}"
        launch(train, FinetuneJob(settle(config, source), path, {"ranks": ranks}, data, source, 0, True), World(ranks))
        found.append(read_metrics(path / "metrics.jsonl"))
        assert (path / "model.safetensors").is_file()
    for one, two in zip(*found, strict=True):
        for name in ("loss", "heat", "location", "val_root_bone_mpjpe_mm", "val_root_mpjpe_mm", "val_px"):
            assert one[name] == pytest.approx(two[name], rel=1e-6)


@pytest.mark.slow
def test_averaged_weights_step_schedule_and_l2_survive_a_stop(mini, tmp_path):
    options = {"ema": 0.9, "schedule": "step", "step_epochs": 2, "warmup_epochs": 0, "loss": {"l2": 1e-5}}
    options |= {"fraction_rule": "stratified", "label_fraction": 0.9, "mix": "equal", "epochs": 4}
    finetune(tiny(mini, tmp_path / "whole", **options), QUIET)
    whole = tmp_path / "whole" / "runs" / "finetune-scratch-test_resnet"
    assert [m["lr"] for m in read_metrics(whole / "metrics.jsonl")] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    halted = tmp_path / "halted" / "runs" / "finetune-scratch-test_resnet"
    shutil.copytree(whole, halted)
    for name in ("result.json", "model.safetensors", "report.html"):
        (halted / name).unlink()
    shutil.rmtree(sorted((halted / "checkpoints").iterdir())[-1])
    finetune(tiny(mini, tmp_path / "halted", **options), QUIET)
    assert (halted / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    # the kept model is the average, not the trained weights
    finetune(tiny(mini, tmp_path / "plain", **{**options, "ema": 0.0}), QUIET)
    plain = tmp_path / "plain" / "runs" / "finetune-scratch-test_resnet"
    assert (plain / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_patience_stops_when_nothing_gets_better(mini, tmp_path):
    options = {"epochs": 9, "patience": 2, "lr": 1e-12, "warmup_epochs": 0}
    summary = finetune(tiny(mini, tmp_path, **options), QUIET)
    run = tmp_path / "runs" / "finetune-scratch-test_resnet"
    metrics = read_metrics(run / "metrics.jsonl")
    best = min(metrics, key=lambda m: m["val_root_bone_mpjpe_mm"])["epoch"]
    assert len(metrics) == best + 2 < 9
    assert summary.facts["best epoch"] == f"{best} of {len(metrics)}"
    # killed between the last epoch and the model file, it does not begin another epoch
    for name in ("result.json", "model.safetensors"):
        (run / name).unlink()
    finetune(tiny(mini, tmp_path, **options), QUIET)
    assert len(read_metrics(run / "metrics.jsonl")) == best + 2


@pytest.mark.slow
def test_the_same_labels_divided_otherwise_are_another_run(mini, tmp_path, monkeypatch):
    from simhand_cli.labelled import set_aside as data

    finetune(tiny(mini, tmp_path, epochs=1), QUIET)
    monkeypatch.setattr(data, "_BLOCKS", 2)
    with pytest.raises(UsageProblem, match="other data"):
        finetune(tiny(mini, tmp_path, epochs=1), QUIET)


@pytest.mark.slow
def test_strict_refuses_before_the_work(mini, tmp_path):
    broken = tmp_path / "set"
    shutil.copytree(mini, broken)
    (broken / "training" / "rgb" / "00000003.jpg").unlink()
    with pytest.raises(InputProblem, match=r"--strict: 1 items cannot be used; 1 .*missing"):
        finetune(tiny(broken, tmp_path / "ws", strict=True), QUIET)
    assert not (tmp_path / "ws" / "runs").exists()
    assert finetune(tiny(broken, tmp_path / "ws", epochs=1), QUIET).problems == 1


@pytest.mark.slow
def test_every_set_has_its_validation_error_and_equal_means_them(tmp_path):
    roots = [tmp_path / name for name in ("large", "small")]
    for root, hands in zip(roots, (12, 4), strict=True):
        write_mini_freihand(root, hands=hands, test_hands=1, seed=hands)
    found = {}
    for mix in ("by-size", "equal"):
        config = tiny(roots[0], tmp_path / mix, data=roots, epochs=1, mix=mix)
        assert finetune(config, QUIET).problems == 0
        run = tmp_path / mix / "runs" / "finetune-scratch-test_resnet"
        found[mix] = read_metrics(run / "metrics.jsonl")[0]
    large, small = found["equal"]["val_root_bone_mpjpe_mm_by_set"]
    assert found["equal"]["val_root_bone_mpjpe_mm"] == pytest.approx((large + small) / 2)
    large, small = found["by-size"]["val_root_bone_mpjpe_mm_by_set"]
    assert found["by-size"]["val_root_bone_mpjpe_mm"] == pytest.approx((3 * large + small) / 4, rel=1e-6)
