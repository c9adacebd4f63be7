"""Sets of 2D labels in training and evaluation: beside 3D sets, refused alone, and for a model of 2D joints alone."""

import html
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from mini_coco_wholebody import write_mini
from mini_freihand import write_mini_freihand

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.commands.finetune import finetune
from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.options import LossOptions
from simhand_cli.finetune.training_data import choose_samples
from simhand_cli.models.hand_predictor import load_predictor
from simhand_cli.training.log.metrics_log import read_metrics

QUIET = Console(quiet=True)
ALONE = {"loss": {"location": 0, "delta": 0}}
NOTHING_3D = LossOptions(location=0, delta=0)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A set of 3D labels (16 samples) and one of 2D labels (18 to train on, 18 to measure on)."""
    root = tmp_path_factory.mktemp("sets")
    write_mini_freihand(root / "FreiHAND_pub_v2", hands=4, test_hands=1)
    for split, seed in (("train", 0), ("val", 1)):
        write_mini(root / "coco", split, seed=seed)
    return root / "FreiHAND_pub_v2", root / "coco"


def tiny(workspace, data, **options):
    values = {
        "encoder": "none", "backbone": "test_resnet", "width": 16, "input_px": 64, "epochs": 2, "batch_size": 8,
        "precision": "fp32", "gpus": 0, "workers": 0, "val_fraction": 0.25,
    }  # fmt: skip
    return FinetuneConfig(workspace=workspace, data=data, **{**values, **options})


@pytest.fixture(scope="module")
def beside(sets, tmp_path_factory):
    """A run on both sets, equally often."""
    workspace = tmp_path_factory.mktemp("beside")
    return workspace, finetune(tiny(workspace, list(sets), mix="equal"), QUIET)


@pytest.fixture(scope="module")
def alone(sets, tmp_path_factory):
    """A run on 2D labels alone."""
    workspace = tmp_path_factory.mktemp("alone")
    return workspace, finetune(tiny(workspace, [sets[1]], epochs=3, **ALONE), QUIET)


@pytest.mark.slow
def test_2d_labels_beside_3d_ones(sets, beside):
    workspace, summary = beside
    data = choose_samples(list(sets), val_fraction=0.25, label_fraction=1, seed=0, mix="equal")
    lonely = choose_samples([sets[0]], val_fraction=0.25, label_fraction=1, seed=0)
    assert data.bone_length_mm == lonely.bone_length_mm
    assert (len(data.train), data.labelled_2d) == (data.labelled, data.sizes[1])
    assert summary.facts["training samples"] == data.labelled
    assert summary.facts["of them with 2D labels only"] == data.sizes[1]
    assert data.quotas[0] == data.quotas[1]
    # The two hands of a picture are on one side.
    names = np.array(data.sets[1].sequences)
    trained, held_out = (names[rows[rows[:, 0] == 1, 1]] for rows in (data.train, data.val))
    assert len(held_out)
    assert not set(trained) & set(held_out)
    run = workspace / "runs" / "finetune-scratch-test_resnet"
    for line in read_metrics(run / "metrics.jsonl"):
        # The mean over the sets is that of the one with 3D labels; the other has an error in pixels only.
        first, second = line["val_root_bone_mpjpe_mm_by_set"]
        assert second is None
        assert line["val_root_bone_mpjpe_mm"] == pytest.approx(first)
        assert all(math.isfinite(line[name]) for name in ("loss", "heat", "location", "delta", "val_px"))
    assert "NaN" not in (run / "metrics.jsonl").read_text()
    assert summary.data["val_root_bone_mpjpe_mm"] > 0
    assert summary.data["val_px"] is None
    assert (run / "report.html").is_file()


@pytest.mark.slow
def test_the_validation_error_in_3d_is_that_of_the_3d_set_alone(sets, beside, tmp_path):
    """By-size pooling over both sets gives what the 3D samples alone give, since the others have no 3D error."""
    finetune(tiny(tmp_path / "ws", list(sets), epochs=1), QUIET)
    (line,) = read_metrics(tmp_path / "ws" / "runs" / "finetune-scratch-test_resnet" / "metrics.jsonl")
    assert line["val_root_bone_mpjpe_mm"] == pytest.approx(line["val_root_bone_mpjpe_mm_by_set"][0])


def test_2d_labels_alone_are_refused_in_one_line(sets, tmp_path):
    for paths in ([sets[1]], [sets[1], shutil.copytree(sets[1], tmp_path / "again")]):
        with pytest.raises(InputProblem, match=r"--data .*coco: its labels are 2D only.*--loss.location 0") as raised:
            finetune(tiny(tmp_path / "ws", paths), QUIET)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputProblem, match="2D only"):
        finetune(tiny(tmp_path / "ws", [sets[1]], loss={"location": 0}), QUIET)
    assert not (tmp_path / "ws").exists()


@pytest.mark.slow
def test_a_model_of_2d_joints_alone_keeps_the_epoch_with_the_smallest_2d_error(alone):
    workspace, summary = alone
    run = workspace / "runs" / "finetune-scratch-test_resnet"
    metrics = read_metrics(run / "metrics.jsonl")
    best = min(metrics, key=lambda line: line["val_px"])
    assert (summary.data["best_epoch"], summary.data["val_px"]) == (best["epoch"], best["val_px"])
    assert summary.facts["validation error of 2D joints, px of the crop"] == round(best["val_px"], 2)
    assert {line["val_root_bone_mpjpe_mm"] for line in metrics} == {None}
    assert summary.data["val_root_bone_mpjpe_mm"] is None
    assert (run / "report.html").is_file()
    predictor = load_predictor(run)
    assert predictor.facts.bone_length_mm is None
    found = predictor.predict(np.zeros((1, 64, 64, 3), np.uint8))
    assert np.isfinite(found.joints_px).all()
    assert np.isnan(found.joints_rel * predictor.bone_length_mm).all()

    from simhand_cli.demo.models import FinetunedPoser

    with pytest.raises(InputProblem, match="is a model of 2D joints alone and has no hand in 3D to show"):
        FinetunedPoser(run / "model.safetensors", "cpu")


@pytest.mark.parametrize("kind", ["beside", "alone"])
def test_evaluation_on_2d_labels_has_2d_figures_alone(sets, kind, request):
    workspace, _ = request.getfixturevalue(kind)
    config = EvaluateConfig(workspace=workspace, data=[sets[1]], split="val", bootstrap=20, device="cpu")
    summary = evaluate(config, QUIET)
    assert summary.problems == 0
    assert summary.facts["samples"] == "18 of coco_wholebody/val, 18 hands found"
    assert "AUC 0-30 px" in summary.facts["2D error"]
    assert not {"root", "Procrustes"} & set(summary.facts)
    (record,) = summary.data["metrics"]["sets"]
    figures = {(f["alignment"], f["unit"][:2], f["metric"]): f["value"] for f in record["figures"]}
    mm = [value for (_, unit, metric), value in figures.items() if unit == "mm" and not isinstance(value, dict)]
    assert set(mm) == {None}
    px = figures["none (2D)", "px", "mean_joint_error"]
    assert f"{px:.2f}" in summary.facts["px of the picture"]
    box = figures["none (2D)", "pa", "mean_joint_error"]
    assert f"{100 * box:.2f}" in summary.facts["% of the hand's extent"]
    assert json.dumps(summary.data, allow_nan=False)
    page = summary.outputs["report.html"].read_text()
    assert "labels or predictions are 2D only" in page
    assert "PCK on" not in page


def test_a_model_of_2d_joints_alone_has_no_figures_in_3d(sets, alone):
    workspace, _ = alone
    summary = evaluate(EvaluateConfig(workspace=workspace, data=[sets[0]], bootstrap=20, device="cpu"), QUIET)
    (record,) = summary.data["metrics"]["sets"]
    assert record["hands_found"] == record["samples"]
    for figure in record["figures"]:
        if figure["unit"] == "mm" and figure["metric"] in ("mpjpe", "pck_auc"):
            assert figure["value"] is None
        if figure["unit"].startswith("px") and figure["metric"] == "mean_joint_error":
            assert figure["value"] > 0


@pytest.mark.slow
def test_what_has_no_test_split_is_left_out_and_its_command_is_told(sets, beside):
    workspace, trained = beside
    assert trained.hint == "simhand evaluate measures it on test people; simhand demo shows it on a video"
    options = {"workspace": workspace, "bootstrap": 20, "device": "cpu"}
    summary = evaluate(EvaluateConfig(**options), QUIET)
    assert [one["label"] for one in summary.data["metrics"]["sets"]] == ["freihand/test"]
    left_out = summary.facts["not measured"]
    assert left_out.endswith(f"(simhand evaluate --data {sets[1]} --split val)")
    assert left_out in html.unescape(summary.outputs["report.html"].read_text())
    assert left_out in evaluate(EvaluateConfig(**options, dry_run=True), QUIET).facts["not measured"]
    summary = evaluate(EvaluateConfig(**options, split="val", name="val"), QUIET)
    assert [one["label"] for one in summary.data["metrics"]["sets"]] == ["coco_wholebody/val"]
    assert summary.facts["not measured"].endswith(f"(simhand evaluate --data {sets[0]} --split test)")
    with pytest.raises(InputProblem, match="use --split val"):
        evaluate(EvaluateConfig(**options, data=[sets[1]]), QUIET)


def test_the_next_step_of_a_model_of_2d_joints_can_be_taken(sets, alone):
    workspace, trained = alone
    command = f"simhand evaluate --data {sets[1]} --split val"
    assert trained.hint == f"{command} measures it"
    with pytest.raises(InputProblem) as raised:
        evaluate(EvaluateConfig(workspace=workspace), QUIET)
    assert str(raised.value).endswith(f"use --split val ({command})")
    told = EvaluateConfig(workspace=workspace, data=[sets[1]], split="val", name="next", dry_run=True)
    assert evaluate(told, QUIET).facts["samples of coco_wholebody/val"] == 18


@pytest.mark.slow
@pytest.mark.parametrize("loss", [{"location": 0}, {"location": 0, "delta": 0}])
def test_without_trained_location_maps_3d_labels_give_no_figures_in_3d(sets, tmp_path, loss):
    summary = finetune(tiny(tmp_path, [sets[0]], epochs=3, loss=loss), QUIET)
    run = tmp_path / "runs" / "finetune-scratch-test_resnet"
    metrics = read_metrics(run / "metrics.jsonl")
    best = min(metrics, key=lambda line: line["val_px"])
    assert (summary.data["best_epoch"], summary.data["val_px"]) == (best["epoch"], best["val_px"])
    assert {(line["val_root_bone_mpjpe_mm"], line["val_root_mpjpe_mm"]) for line in metrics} == {(None, None)}
    assert not [name for name in summary.facts if "MPJPE" in name]
    assert load_predictor(run).facts.bone_length_mm is None
    page = (run / "report.html").read_text()
    assert "its validation error in 2D, px of the crop" in page
    assert "MPJPE" not in page
    measured = evaluate(EvaluateConfig(workspace=tmp_path, data=[sets[0]], bootstrap=20, device="cpu"), QUIET)
    assert "px of the picture" in measured.facts
    assert not {"root", "Procrustes"} & set(measured.facts)


@pytest.mark.slow
def test_the_report_names_the_error_that_chose_the_epoch(sets, tmp_path, monkeypatch):
    """A model in 3D whose validation samples have 2D labels alone is judged in pixels, on its page, too."""
    from simhand_cli.finetune import run

    whole = choose_samples

    def only_2d_validated(*args, **options):
        chosen = whole(*args, **options)
        return replace(chosen, val=chosen.val[chosen.val[:, 0] == 1])

    monkeypatch.setattr(run, "choose_samples", only_2d_validated)
    summary = finetune(tiny(tmp_path, list(sets), epochs=1), QUIET)
    assert summary.data["val_px"] > 0
    page = (tmp_path / "runs" / "finetune-scratch-test_resnet" / "report.html").read_text()
    assert "its validation error in 2D, px of the crop" in page
    assert "its validation MPJPE" not in page
    assert "mean bone wrist - middle knuckle, mm" in page


def test_split_is_what_is_trained_on_and_part_of_the_run(sets, tmp_path):
    from simhand_cli.errors import UsageProblem

    options = {"val_fraction": 0, "epochs": 1, **ALONE}
    summary = finetune(tiny(tmp_path, [sets[1]], split="val", **options), QUIET)
    assert summary.facts["training samples"] == 18
    record = json.loads((tmp_path / "runs" / "finetune-scratch-test_resnet" / "samples.json").read_text())
    val = choose_samples([sets[1]], split="val", val_fraction=0, label_fraction=1, seed=0, loss=NOTHING_3D)
    assert record["sets"][0]["labels_sha256"] == val.digests[0]
    train = choose_samples([sets[1]], val_fraction=0, label_fraction=1, seed=0, loss=NOTHING_3D)
    assert train.digests != val.digests
    with pytest.raises(UsageProblem, match="results were made with split='val', now 'train'"):
        finetune(tiny(tmp_path, [sets[1]], **options), QUIET)
    with pytest.raises(InputProblem, match="splits 'train' and 'val', not 'demo'"):
        finetune(tiny(tmp_path, [sets[1]], split="demo", **options), QUIET)
