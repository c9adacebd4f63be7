"""``simhand evaluate``: model and data are found, files appear, reruns skip, changes are refused."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from mini_freihand import random_hand_mm

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.evaluation.predict.predictions import read_predictions
from simhand_cli.models.model_choice import named_model
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """13 random pictures of left hands in the layout of hand_graph_cnn's test images, one with a label of metres."""
    folder = tmp_path_factory.mktemp("data") / "set"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    joints = np.stack([random_hand_mm(rng) for _ in range(13)]) * [-0.1, 0.1, 0.1]
    joints[12] /= 100
    for i in range(13):
        cv2.imwrite(str(folder / "images" / f"{i:05d}.jpg"), rng.integers(0, 255, (256, 256, 3)).astype(np.uint8))
    np.savez(
        folder / "labels.npz",
        frame=np.arange(13),
        joints_cam_cm=joints,
        cam_fx_fy_u0_v0=np.tile([600.0, 600.0, 320.0, 240.0], (13, 1)),
        bbox_xywh=np.tile([160.0, 80.0, 320.0, 320.0], (13, 1)),
    )
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace whose newest fine-tuning run is an untrained model; another one lies in ``other.safetensors``."""
    import torch

    from simhand_cli.models.detnet import DetNet
    from simhand_cli.models.encoder import build_encoder
    from simhand_cli.models.hand_model import ModelFacts, save_model

    root = tmp_path_factory.mktemp("work") / "ws"
    for seed, model in enumerate((root / "runs" / "finetune-tiny" / "model.safetensors", root / "other.safetensors")):
        torch.manual_seed(seed)
        save_model(model, DetNet(build_encoder("resnet10t"), 16, 64), ModelFacts("resnet10t", 16, 64, 0, 95.0))
    return root


def config(workspace, small_set, **options):
    return EvaluateConfig(workspace=workspace, data=[small_set], bootstrap=20, samples_shown=2, device="cpu", **options)


@pytest.mark.slow
def test_newest_model_is_measured_and_a_second_run_skips(workspace, small_set):
    summary = evaluate(config(workspace, small_set))
    folder = workspace / "runs" / "evaluate-tiny-set"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["schema"] == "simhand.metrics"
    assert metrics["model"]["kind"] == "fine-tuned"
    assert metrics["model"]["bone_length_mm"] == 95.0
    assert metrics["sets"][0]["samples"] == 12
    assert [(d.count, "span" in d.why) for d in summary.dropped] == [(1, True)]
    assert summary.problems == 1
    assert set(summary.outputs) == {"metrics.json", "predictions.h5", "sheet.png", "report.html"}
    assert all(path.stat().st_size > 1000 for path in summary.outputs.values())
    for row in ("absolute", "root", "root + bone scale", "Procrustes", "Procrustes + scale"):
        assert row in summary.facts
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in summary.outputs.values()}
    again = evaluate(config(workspace, small_set, batch_size=5))
    assert again.as_json() == summary.as_json()
    assert {path: path.stat().st_mtime_ns for path in before} == {path: b[0] for path, b in before.items()}
    with pytest.raises(UsageProblem, match="--redo"):
        evaluate(config(workspace, small_set, limit=5))
    assert evaluate(config(workspace, small_set, redo=True, dry_run=True, limit=5)).facts["state"] == "redo"
    # Done over, another batch size gives the same numbers up to rounding of the forward pass.
    redone = evaluate(config(workspace, small_set, redo=True))
    assert redone.facts == summary.facts
    assert {path: path.read_bytes() for path in before} == {path: b[1] for path, b in before.items()}


@pytest.mark.slow
def test_report_says_what_its_numbers_mean(workspace, small_set):
    folder = evaluate(config(workspace, small_set, name="report")).outputs["report.html"].parent
    page = (folder / "report.html").read_text()
    for words in ("What these numbers mean", "Procrustes", "95 % interval", "20-50 mm", "12 samples, seed 0"):
        assert words in page
    assert not re.search(r'(src|href)="https?://', page)


@pytest.mark.slow
def test_two_sets_of_one_kind_and_a_limit(workspace, small_set, tmp_path):
    """Facts, metrics, keys and the comparison tell them apart, though kind, split and ids are the same."""
    other = tmp_path / "other"
    shutil.copytree(small_set, other)
    labels = dict(np.load(other / "labels.npz"))
    np.savez(other / "labels.npz", **labels | {"joints_cam_cm": labels["joints_cam_cm"] * 1.05})
    names = [f"hand_graph_cnn/test ({folder.name})" for folder in (small_set, other)]

    def both(**options):
        return EvaluateConfig(
            workspace=workspace, data=[small_set, other], limit=4, bootstrap=20, samples_shown=1, device="cpu",
            bootstrap_over="sample", **options,
        )  # fmt: skip

    assert {f"samples of {name}" for name in names} <= evaluate(both(name="two", dry_run=True)).facts.keys()
    summary = evaluate(both(name="two"))
    assert [one["label"] for one in summary.data["metrics"]["sets"]] == names
    assert summary.data["metrics"]["sets"][1]["samples"] == 4
    means = []
    for name, one in zip(names, summary.data["metrics"]["sets"], strict=True):
        means += [f["value"] for f in one["figures"] if (f["metric"], f["alignment"]) == ("mpjpe", "root")]
        assert f"{means[-1]:.2f}" in summary.facts[f"{name} root"]
    assert means[0] != means[1]
    stored = read_predictions(summary.outputs["predictions.h5"])
    assert [key.rsplit("/", 1)[0] for key in stored.keys] == [names[0]] * 4 + [names[1]] * 4
    assert len(set(stored.keys)) == 8
    evaluate(both(name="again", model=str(workspace / "other.safetensors")))
    against = evaluate(both(name="two", against="again"))
    assert [f"{name} this - again, root, mm" in against.facts for name in names] == [True, True]
    document = json.loads(against.outputs["comparison"].read_text())
    assert [(one["label"], one["samples_both_evaluated"]) for one in document["sets"]] == [(n, 4) for n in names]
    assert document["sets"][0]["figures"][0]["interval"]["drawn"] == "sample"
    report = against.outputs["report.html"].read_text()
    assert all(f"{name}, compared with again</h2>" in report for name in names)


@pytest.mark.slow
def test_what_is_compared_with_must_be_finished_also_in_a_dry_run(workspace, small_set, tmp_path):
    for name in ("nowhere", str(tmp_path / "nowhere")):
        with pytest.raises(InputProblem, match="no finished evaluation"):
            evaluate(config(workspace, small_set, name="dry", dry_run=True, against=name))
    half = evaluate(config(workspace, small_set, limit=4, name="half")).outputs["predictions.h5"].parent
    (half / "result.json").unlink()
    with pytest.raises(InputProblem, match="no finished evaluation") as refused:
        evaluate(config(workspace, small_set, name="dry", dry_run=True, against="half"))
    assert "evaluate-half" not in str(refused.value)


@pytest.mark.slow
def test_evaluations_of_one_name_in_two_workspaces_stay_apart(workspace, small_set, tmp_path):
    evaluate(config(workspace, small_set, limit=4, name="twin"))
    elsewhere = tmp_path / "ws" / "runs" / "evaluate-twin"
    shutil.copytree(workspace / "runs" / "evaluate-twin", elsewhere)
    model = {"model": str(workspace / "other.safetensors")}
    here = evaluate(config(workspace, small_set, limit=4, name="apart", against="twin", **model))
    there = evaluate(config(workspace, small_set, limit=4, name="apart", against=str(elsewhere), **model))
    assert here.outputs["comparison"].name == "against-twin.json"
    assert re.fullmatch(r"against-twin-[0-9a-f]{8}\.json", there.outputs["comparison"].name)
    assert here.outputs["comparison"].is_file()
    assert json.loads(there.outputs["comparison"].read_text())["other"]["folder"] == str(elsewhere.resolve())
    by_path = evaluate(
        config(workspace, small_set, limit=4, name="apart", against=str(workspace / "runs" / "evaluate-twin"), **model)
    )
    assert by_path.outputs["comparison"] == here.outputs["comparison"]
    assert by_path.outputs["report.html"].read_text().count("Compared with twin") == 4  # two headings, two links


@pytest.mark.slow
def test_another_set_has_a_folder_of_its_own_and_changed_labels_are_refused_in_words(workspace, small_set, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(small_set, other)
    labels = dict(np.load(other / "labels.npz"))
    np.savez(other / "labels.npz", **labels | {"joints_cam_cm": labels["joints_cam_cm"] + 0.1})
    first = evaluate(config(workspace, small_set, limit=4, name="names"))
    with pytest.raises(UsageProblem) as refused:
        evaluate(config(workspace, other, limit=4, name="names"))
    message = "earlier evaluate-names results were made with other data or another model; "
    assert str(refused.value) == message + "--redo replaces it, --name keeps both"
    second = evaluate(config(workspace, other, limit=4))
    assert second.outputs["metrics.json"] == workspace / "runs" / "evaluate-tiny-other" / "metrics.json"
    assert first.outputs["metrics.json"].exists()


@pytest.mark.slow
def test_a_run_is_compared_with_another(workspace, small_set):
    evaluate(config(workspace, small_set, name="before"))
    summary = evaluate(config(workspace, small_set, name="after", against="before"))
    assert "Compared with before" in summary.outputs["report.html"].read_text()
    assert summary.facts["this - before, root, mm"] == "+0.00 (+0.00 to +0.00), better on 0% of 12 samples"
    assert json.loads(summary.outputs["comparison"].read_text())["sets"][0]["samples_both_found"] == 12
    with pytest.raises(InputProblem, match=r"--against nothing: .*there are .*evaluate-before"):
        evaluate(config(workspace, small_set, name="after", against="nothing"))


@pytest.mark.slow
def test_a_finished_evaluation_gets_its_comparison_into_the_report(workspace, small_set, monkeypatch):
    evaluate(config(workspace, small_set, name="same"))
    evaluate(config(workspace, small_set, name="other", model=str(workspace / "other.safetensors")))
    alone = evaluate(config(workspace, small_set, name="compared"))
    report, metrics = alone.outputs["report.html"], alone.outputs["metrics.json"]
    before, evaluated = report.read_text(), metrics.stat().st_mtime_ns
    assert "Compared with" not in before

    def killed(*_words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("simhand_cli.evaluation.compare.comparison_report.put_section", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(config(workspace, small_set, name="compared", against="other"))
    assert report.read_text() == before
    evaluate(config(workspace, small_set, name="compared", against="other"))
    once = report.read_text()
    evaluate(config(workspace, small_set, name="compared", against="evaluate-other"))
    assert report.read_text() == once
    assert once.count("<h2") == before.count("<h2") + 1
    assert once.count("data:image/") == before.count("data:image/") + 3  # two plots and the sheet
    assert once.index("Compared with other</h2>") < once.index("What these numbers mean</h2>")
    assert metrics.stat().st_mtime_ns == evaluated
    evaluate(config(workspace, small_set, name="compared", against="same"))
    both = report.read_text()
    captions = re.findall(r"PCK of both, [a-zA-Z+ ]+: share of joints", once)
    assert {one: captions.count(one) for one in captions}.keys() == {
        "PCK of both, root: share of joints", "PCK of both, Procrustes + scale: share of joints",
    }  # fmt: skip
    assert both.count("<h2") == before.count("<h2") + 2
    assert both.count("data:image/") == once.count("data:image/") + 2  # nothing is gained or lost: no sheet


def test_dry_run_writes_nothing(workspace, small_set):
    summary = evaluate(config(workspace, small_set, name="dry", dry_run=True))
    assert summary.facts["samples of hand_graph_cnn/test"] == 12
    assert summary.facts["state"] == "new"
    assert summary.problems == 1
    assert not (workspace / "runs" / "evaluate-dry").exists()


def test_a_folder_that_is_no_run_does_not_hide_the_run_of_its_name(tmp_path, workspace, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    model = named_model("tiny", Workspace(workspace))
    assert model == workspace / "runs" / "finetune-tiny" / "model.safetensors"


def test_what_is_missing_is_named(tmp_path, workspace, small_set):
    with pytest.raises(InputProblem, match="simhand finetune"):
        evaluate(config(tmp_path, small_set))
    with pytest.raises(
        InputProblem, match=r"no such fine-tuning run or model file; finished runs in .*: finetune-tiny$"
    ):
        evaluate(config(workspace, small_set, model="nowhere"))
    with pytest.raises(InputProblem, match="no labelled set"):
        evaluate(EvaluateConfig(workspace=workspace))
    with pytest.raises(InputProblem, match="split 'test' only"):
        evaluate(config(workspace, small_set, split="train"))
    with pytest.raises(InputProblem, match="split 'test' only"):
        evaluate(config(workspace, small_set, model="mean-shape"))


def test_a_model_is_given_by_the_name_of_its_run(workspace, small_set, tmp_path):
    for name in ("tiny", "finetune-tiny"):
        facts = evaluate(config(workspace, small_set, name="dry", dry_run=True, model=name)).facts
        assert facts["model"] == str(workspace / "runs" / "finetune-tiny" / "model.safetensors")
    half = tmp_path / "ws" / "runs" / "finetune-half"
    half.mkdir(parents=True)
    (half / "identity.json").write_text("{}")
    for name in ("half", "finetune-half", str(half)):
        with pytest.raises(InputProblem, match="the run is not finished"):
            evaluate(config(tmp_path / "ws", small_set, model=name))


def test_an_evaluation_is_not_compared_with_itself(workspace, small_set):
    folder = workspace / "runs" / "evaluate-self"
    for named in ("self", "evaluate-self", str(folder), f"{folder}/../evaluate-self"):
        with pytest.raises(UsageProblem, match="is this evaluation itself"):
            evaluate(config(workspace, small_set, name="self", against=named))
    assert not folder.exists()


def test_a_set_given_twice_is_refused(workspace, small_set):
    twice = config(workspace, small_set).model_copy(update={"data": [small_set, small_set / ".." / small_set.name]})
    with pytest.raises(UsageProblem, match=r"--data .* is given twice"):
        evaluate(twice)


@pytest.mark.slow
def test_mediapipe_on_real_images(tmp_path, real_data):
    one = EvaluateConfig(
        workspace=tmp_path,
        data=[real_data / "labelled3d" / "hand_graph_cnn_real"],
        model="mediapipe",
        limit=24,
        bootstrap=50,
    )
    figures = evaluate(one).data["metrics"]["sets"][0]
    assert figures["hands_found"] >= 22
    means = {f["alignment"]: f["value"] for f in figures["figures"] if f["metric"] == "mpjpe"}
    # The ceiling says that MediaPipe's landmarks, the crop and the labels speak of the same joints.
    assert 5 < means["procrustes_scale"] < 14
    assert means["procrustes_scale"] <= means["procrustes"] < means["root"] < 35
    pixels = [f["value"] for f in figures["figures"] if f["metric"] == "mean_joint_error" and "px" in f["unit"]]
    assert pixels[0] < 12
