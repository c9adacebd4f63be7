"""The k-NN probe of a run: right figures, at the right steps, and nothing of the run changes."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from small_people import write_people
from tiny_workspace import TINY, make_workspace, terminated_after_logging

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.commands.probe import probe
from simhand_cli.console import Console
from simhand_cli.crops.geometry import warp_crop
from simhand_cli.crops.reader import CropReader
from simhand_cli.errors import InputProblem
from simhand_cli.features.frozen_encoder import FrozenEncoder
from simhand_cli.labelled.sample_crop import image_from_crop
from simhand_cli.pretrain import online_probe as pose_probe
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.pairs.pair_table import load_pair_table
from simhand_cli.pretrain.plan import make_plan
from simhand_cli.pretrain.settings import settle
from simhand_cli.probes.config import ProbeConfig
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.workspace.paths import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "ws")


def run(workspace, name, console=None, **given):
    config = PretrainConfig(workspace=workspace, **{**TINY, "name": name, **given})
    return pretrain(config, console or Console(quiet=True))


def run_dir(workspace, name):
    return workspace / "runs" / f"pretrain-{name}"


def logged(workspace, name):
    """(Lines of steps, lines of probes), without the speed."""
    lines = [
        {k: v for k, v in line.items() if k != "views_per_s"}
        for line in read_metrics(run_dir(workspace, name) / "metrics.jsonl")
    ]
    return [line for line in lines if "loss" in line], [line for line in lines if "loss" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_is_the_same_with_and_without(workspace, ema):
    run(workspace, "without", ema=ema)
    run(workspace, "with", ema=ema, probe_every=1)
    without, found = (load_checkpoint(latest_complete(run_dir(workspace, name)))[0] for name in ("without", "with"))
    assert without.keys() == found.keys()
    assert any(name.startswith("random.") for name in found)
    assert all(torch.equal(without[name], found[name]) for name in found)
    steps, probes = logged(workspace, "with")
    assert (steps, []) == logged(workspace, "without")
    assert [line["step"] for line in probes] == [0, 3, 6]
    assert [line["epoch"] for line in probes] == [0.0, 1.0, 2.0]


def figures_by_loops(workspace, weights):
    """The probe's figures of a weight file, one crop at a time."""
    model = timm.create_model("test_resnet", num_classes=0)
    model.load_state_dict(load_file(weights))
    model.eval()
    table = load_pair_table(Workspace(workspace), "mined")
    reader = CropReader(workspace / "crops", table.video_ids, table.crop_size_px)
    features, poses, videos = [], [], []
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for row in table.anchor:
        joints = table.keypoints_px[row].astype(float)
        stored = reader.read(table.video_index[[row]], table.crop_index[[row]])[0]
        picture = (warp_crop(stored, image_from_crop(joints, 32), 32) / 255 - mean) / std
        with torch.no_grad():
            feature = model(torch.from_numpy(picture.transpose(2, 0, 1)[None]).float())[0].double().numpy()
        features.append(feature / np.sqrt((feature**2).sum()))
        centred = joints - joints.mean(axis=0)
        poses.append(centred / np.sqrt((centred**2).sum() / 21))
        videos.append(table.video_index[row])
    near, chance, best = [], [], []
    for i in range(len(poses)):
        others = [k for k in range(len(poses)) if videos[k] != videos[i]]
        apart = [np.mean([np.hypot(*(poses[i][j] - poses[k][j])) for j in range(21)]) for k in others]
        near.append(apart[int(np.argmax([features[i] @ features[k] for k in others]))])
        chance.append(np.mean(apart))
        best.append(min(apart))
    return [float(np.mean(values)) for values in (near, chance, best)]


@pytest.mark.slow
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_figures_of_the_written_encoder_against_loops(workspace, ema):
    summary = run(workspace, "a", probe_every=2, ema=ema, lr=0.01)
    names = ("probe_distance", "probe_distance_chance", "probe_distance_best")
    last = logged(workspace, "a")[1][-1]
    expected = figures_by_loops(workspace, run_dir(workspace, "a") / "backbone.safetensors")
    assert [last[name] for name in names] == pytest.approx(expected, rel=1e-9)
    assert expected[2] < expected[0] != expected[1]
    result = summary.data["result"]
    assert [result[name] for name in names] == pytest.approx(expected, rel=1e-9)
    assert summary.facts["nearest pose among crops"].endswith(
        f"(chance {expected[1]:.3g}, best possible {expected[2]:.3g})"
    )


@pytest.mark.slow
def test_stopped_and_resumed_probes_as_often(workspace):
    run(workspace, "whole", probe_every=1, workers=0)
    with terminated_after_logging(2), pytest.raises(KeyboardInterrupt, match="saved after step 3"):
        run(workspace, "cut", probe_every=1)
    assert [line["step"] for line in logged(workspace, "cut")[1]] == [0]  # who stops a run does not wait for a probe
    run(workspace, "cut", probe_every=1)
    assert logged(workspace, "cut") == logged(workspace, "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("at_batch", "step"), [(2, 0), (9, 3)])
def test_a_signal_ends_a_probe_between_its_batches_and_a_resume_repeats_it(workspace, monkeypatch, at_batch, step):
    said = "saved" if step else "nothing new to save"
    run(workspace, "whole", probe_every=1)
    asked, encode = [], FrozenEncoder.__call__

    def encode_then_stop(self, images):
        asked.append(len(images))
        if len(asked) == at_batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return encode(self, images)

    monkeypatch.setattr(pose_probe, "_BATCH", 4)  # 28 crops: 7 batches a probe
    monkeypatch.setattr(FrozenEncoder, "__call__", encode_then_stop)
    with pytest.raises(KeyboardInterrupt, match=f"{said} after step {step}$"):
        run(workspace, "cut", probe_every=1)
    assert len(asked) == at_batch
    assert [line["step"] for line in logged(workspace, "cut")[1]] == ([0] if step else [])
    monkeypatch.undo()
    run(workspace, "cut", probe_every=1)
    assert logged(workspace, "cut") == logged(workspace, "whole")


@pytest.mark.slow
def test_a_due_checkpoint_does_not_wait_for_the_probe(workspace, monkeypatch):
    saved, measure = [], pose_probe.PoseProbe.measure

    def look_then_measure(self, *given):
        found = latest_complete(run_dir(workspace, "a"))
        saved.append(found and load_checkpoint(found)[1]["step"])
        return measure(self, *given)

    monkeypatch.setattr(pose_probe.PoseProbe, "measure", look_then_measure)
    run(workspace, "a", probe_every=1, checkpoint_every=3)
    assert saved == [None, 3, 6]


@pytest.mark.slow
def test_labelled_hands_are_measured_as_by_simhand_probe(workspace, tmp_path):
    people = write_people(tmp_path / "people", {"train": list("abcd"), "test": list("xy")})
    run(workspace, "a", probe_data=people, max_steps=2, views={"output_px": 64})
    assert [line["step"] for line in logged(workspace, "a")[1]] == [0, 2]  # named, so measured at both ends
    last = logged(workspace, "a")[1][-1]
    given = {"encoder": [str(run_dir(workspace, "a"))], "data": people, "input_px": 64, "bootstrap": 10, "plotted": 12}
    limits = {"limit": 500, "gallery_limit": 1500, "untrained": False, "device": "cpu"}
    metrics = probe(ProbeConfig(workspace=workspace, **given, **limits), Console(quiet=True)).data["metrics"]

    def figure(records):
        return next(r["value"] for r in records if (r["metric"], r["alignment"]) == ("retrieval_1", "root_bone_scale"))

    assert last["probe_mm"] == pytest.approx(figure(metrics["encoders"][0]["figures"]), rel=1e-9)
    assert last["probe_mm_best"] == pytest.approx(figure(metrics["references"]["oracle"]), rel=1e-9)
    assert last["probe_mm_best"] < last["probe_mm"] < 3 * last["probe_mm_chance"]
    assert "labelled hands" in (run_dir(workspace, "a") / "report.html").read_text()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_set_that_cannot_be_probed_is_refused_before_training(workspace, tmp_path, dry_run):
    with pytest.raises(InputProblem, match=r"^--probe-data .*nowhere: no such folder$"):
        run(workspace, "a", probe_data=tmp_path / "nowhere", dry_run=dry_run)
    assert logged(workspace, "a") == ([], [])


def test_crops_of_one_video_have_no_neighbours(tmp_path, capsys):
    workspace = make_workspace(tmp_path / "one", videos=1, crops_per_video=20)
    run(workspace, "a", Console(), method="peclr", probe_every=1, max_steps=1)
    assert "no k-NN probe of the crops: they are of one video" in capsys.readouterr().err
    assert logged(workspace, "a")[1] == []


@pytest.mark.parametrize(
    ("pairs", "epochs", "probes"), [(2000, 100, 6), (100_000, 100, 101), (100, 100, 6), (500, 20, 0), (30_000, 10, 6)]
)
def test_probes_take_a_hundredth_of_the_time_by_default(pairs, epochs, probes):
    plan = make_plan(settle(PretrainConfig(epochs=epochs, batch_size=50, precision="fp32")), pairs, 1)
    at = [step for step in range(plan.total_steps + 1) if plan.probes_after(step)]
    assert len(at) == probes
    pictures = min(2000, pairs)
    assert len(at) * pictures / 3 <= 0.01 * 2 * pairs * epochs or probes == 101
    assert not at or (at[0], at[-1]) == (0, plan.total_steps)
    given = {"epochs": epochs, "batch_size": 50, "precision": "fp32", "probe_data": Path("x")}
    with_labels = make_plan(settle(PretrainConfig(**given)), pairs, 1)
    assert with_labels.probe_every >= max(plan.probe_every, 1)
    assert make_plan(settle(PretrainConfig(epochs=epochs, probe_every=0)), pairs, 1).probe_every == 0


@pytest.mark.parametrize(
    ("processes", "precision", "slower", "probes"),
    [
        (1, "fp32", 1, 101),
        (8, "fp32", 1, 35),
        (8, "auto", 2, 18),
        (8, "bf16", 2, 18),
        (1, "bf16", 2, 101),
        (64, "bf16", 2, 2),
        (128, "bf16", 2, 0),
    ],
)
def test_a_hundredth_of_every_process_since_all_wait_for_the_one_that_probes(processes, precision, slower, probes):
    pairs, epochs = 100_000, 100
    plan = make_plan(settle(PretrainConfig(epochs=epochs, batch_size=1024, precision=precision)), pairs, processes)
    at = [step for step in range(plan.total_steps + 1) if plan.probes_after(step)]
    assert len(at) == probes
    trained_s = 2 * plan.batch_size * plan.total_steps / processes  # a view takes a second in the run's precision
    assert sum(2000 / 3 * slower for _ in at) <= 0.01 * trained_s or probes == 101
