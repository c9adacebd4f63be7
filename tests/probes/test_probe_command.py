"""``simhand probe``: its figures recomputed by hand, encoders side by side, nobody his own neighbour, reruns."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from mini_freihand import write_mini_freihand
from small_people import write_people

from simhand_cli.commands.probe import probe
from simhand_cli.config.resolve import resolve_config
from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.features.frozen_encoder import freeze
from simhand_cli.features.knn import nearest
from simhand_cli.features.sides import common_kind, open_side
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample_crop import crop_sample
from simhand_cli.models.encoder import build_encoder, save_backbone
from simhand_cli.models.encoder_source import find_encoder
from simhand_cli.probes import measure as run
from simhand_cli.probes.config import ProbeConfig
from simhand_cli.probes.prepare import prepare
from simhand_cli.workspace.paths import BACKBONE_FILE, Workspace

FILES = ("metrics.json", "report.html", "embedding.png", "retrieval.png")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two finished pre-training runs of a tiny encoder."""
    root = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed + 10)
        save_backbone(build_encoder("test_resnet"), root / "runs" / f"pretrain-{name}" / BACKBONE_FILE, 64)
    return root


def config(workspace, people_set, **options):
    values = {
        "workspace": workspace,
        "encoder": ["one", "two"],
        "data": people_set,
        "input_px": 64,
        "bootstrap": 20,
        "device": "cpu",
    }
    return ProbeConfig(**{**values, **options})


@pytest.fixture(scope="module")
def probed(workspace, people_set):
    return probe(config(workspace, people_set, name="both"))


def value(figures, metric, alignment="root_bone_scale"):
    return next(f["value"] for f in figures if (f["metric"], f["alignment"]) == (metric, alignment))


@pytest.mark.slow
def test_the_folder_holds_what_was_promised(probed, workspace):
    folder = workspace / "runs" / "probe-both"
    for name in FILES:
        assert probed.outputs[name] == folder / name
        assert (folder / name).is_file()
    page = (folder / "report.html").read_text()
    assert not re.search(r'(src|href)="https?://', page)
    for words in ("random retrieval", "oracle", "mean pose", "minus one", "Maps of the features"):
        assert words in page
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["schema"] == "simhand.probe"
    assert [encoder["name"] for encoder in metrics["encoders"]] == ["one", "two", "untrained-test_resnet"]
    assert probed.data["metrics"] == metrics
    assert "one" in probed.facts


def test_figures_equal_those_computed_by_hand(probed, workspace, people_set):
    encoder = freeze(find_encoder("two", Workspace(workspace)), "cpu", 0, Console(quiet=True))
    sides = []
    for split in ("test", "train"):
        labelled = open_labelled(people_set, split)
        crops = [crop_sample(labelled[i], 64) for i in range(len(labelled))]
        features = encoder(np.stack([crop.image_rgb for crop in crops])).pooled.astype(float)
        sides.append((features / np.linalg.norm(features, axis=1, keepdims=True), [c.joints_mm for c in crops]))
    (asked, truth), (known, poses) = sides
    errors = []
    for feature, own in zip(asked, truth, strict=True):
        near = np.argsort(-(known @ feature), kind="stable")[:5]
        bone = np.linalg.norm(own[9] - own[0])
        moved = [(poses[n] - poses[n][0]) * bone / np.linalg.norm(poses[n][9] - poses[n][0]) + own[0] for n in near]
        errors.append([np.linalg.norm(m - own, axis=1).mean() for m in moved])
    figures = probed.data["metrics"]["encoders"][1]["figures"]
    assert value(figures, "retrieval_1") == pytest.approx(np.mean([e[0] for e in errors]), abs=1e-4)
    assert value(figures, "retrieval_5") == pytest.approx(np.mean(errors), abs=1e-4)


def test_references_enclose_the_encoders_and_differences_are_paired(probed):
    metrics = probed.data["metrics"]
    oracle = metrics["references"]["oracle"]
    for alignment in ("root_bone_scale", "procrustes_scale"):
        for k in ("retrieval_1", "retrieval_5", "retrieval_10"):
            for encoder in metrics["encoders"]:
                assert value(oracle, k, alignment) <= value(encoder["figures"], k, alignment)
    assert {f["metric"] for f in metrics["references"]["mean pose"]} == {"linear"}
    first, second = metrics["encoders"][:2]
    for own, before, difference in zip(second["figures"], first["figures"], second["minus_first"], strict=True):
        assert difference["value"] == pytest.approx(own["value"] - before["value"], abs=1e-9)
        assert difference["interval"]["low"] <= difference["value"] <= difference["interval"]["high"]
    assert "minus_first" not in first


def watch(monkeypatch, name):
    """What a function of the probe's run is called with, call by call."""
    real, calls = getattr(run, name), []
    monkeypatch.setattr(run, name, lambda *values: (calls.append(values), real(*values))[1])
    return calls


@pytest.mark.parametrize(
    ("unnamed", "kind", "other"),
    [
        ("", "person", "another person"),
        ("abcd", "recording", "another recording"),
        ("a", "mixed", "another person or recording"),
    ],
)
def test_nobody_is_his_own_neighbour_in_one_split(workspace, tmp_path, monkeypatch, unnamed, kind, other):
    """Everybody holds one pose, so that the nearest hands would be one's own."""
    path = write_people(tmp_path / "set", {"train": list("abcd")}, own_pose=True, unnamed=unnamed)
    calls = watch(monkeypatch, "retrieval_sheet")
    name = f"within-{kind}"
    summary = probe(config(workspace, path, encoder=["one"], split="train", untrained=False, name=name))
    ((_, _, test, gallery, _, (rows,), oracle_rows),) = calls
    named = [
        sequence if subject == "unknown" else subject
        for subject, sequence in zip(test.subjects, test.sequences, strict=True)
    ]
    for found in (rows, oracle_rows):
        assert (found >= 0).all()
        for own, row in zip(named, found, strict=True):
            assert own not in {named[n] for n in row}
    free = nearest(test.features[0], gallery.features[0], np.arange(32), np.arange(32), 1)[:, 0]
    assert np.mean([named[q] == named[n] for q, n in enumerate(free)]) > 0.3  # it would happen, were it allowed
    metrics = summary.data["metrics"]
    assert metrics["never_neighbours_kind"] == kind
    assert len(metrics["encoders"]) == 1
    if kind == "person":
        assert value(metrics["references"]["oracle"], "retrieval_1") > 2
    page = (workspace / "runs" / f"probe-{name}" / "report.html").read_text()
    assert f"nearest hand of {other} for" in page


def test_the_linear_probe_is_not_fitted_on_who_is_tested(workspace, tmp_path, monkeypatch):
    path = write_people(tmp_path / "set", {"train": list("abcdefghij")}, each=4)
    fits, floors = watch(monkeypatch, "fit_and_predict"), watch(monkeypatch, "constant_answers")
    options = {"encoder": ["one"], "split": "train", "untrained": False, "limit": 5}
    summary = probe(config(workspace, path, name="split", **options))
    job = prepare(config(workspace, path, name="split", **options), Console(quiet=True))
    subjects = np.asarray(job.test.labelled.subjects)
    tested = set(subjects[job.test.indices])
    free = [n for n in range(40) if subjects[n] not in tested]
    assert 5 < len(free) < 40
    expected = [crop_sample(job.test.labelled[n], 64).joints_mm for n in free]
    for joints_mm in (fits[0][1], floors[0][0]):
        np.testing.assert_allclose(joints_mm, expected)
    assert summary.data["metrics"]["linear_probe"]["training_samples"] == len(free)


def test_where_nobody_is_left_to_fit_on_there_is_no_linear_probe(workspace, people_set):
    options = {"encoder": ["one"], "split": "train", "untrained": False, "name": "same"}
    reason = "0 of 32 gallery samples can be fitted on, and 5 are needed: 32 are of the people or recordings that are"
    assert reason in probe(config(workspace, people_set, dry_run=True, **options)).facts["linear probe"]
    summary = probe(config(workspace, people_set, **options))
    metrics = summary.data["metrics"]
    assert reason in metrics["linear_probe"]["not_done"]
    assert reason in summary.facts["linear probe"]
    for figures in (metrics["encoders"][0]["figures"], metrics["references"]["mean pose"]):
        assert value(figures, "linear") is None
    assert value(metrics["encoders"][0]["figures"], "retrieval_1") > 0
    assert reason in (workspace / "runs" / "probe-same" / "report.html").read_text()


def test_a_joint_without_any_label_leaves_retrieval_and_no_linear_probe(workspace, tmp_path):
    people = {"train": list("abcd"), "test": list("xy")}
    path = write_people(tmp_path / "set", people, unlabelled=(20,))
    options = {"encoder": ["one"], "untrained": False, "name": "joints"}
    reason = "32 lack a joint's label (most often little_tip)"
    assert reason in probe(config(workspace, path, dry_run=True, **options)).facts["linear probe"]
    metrics = probe(config(workspace, path, **options)).data["metrics"]
    assert reason in metrics["linear_probe"]["not_done"]
    assert value(metrics["encoders"][0]["figures"], "retrieval_1") > 0


def test_numbers_of_freihands_splits_are_not_the_same_recording(tmp_path):
    write_mini_freihand(tmp_path / "set", hands=6, test_hands=6)
    test, gallery = (open_side(tmp_path / "set", split, 100, 0) for split in ("test", "train"))
    assert set(test.labelled.sequences) == set(gallery.labelled.sequences)
    assert not set(test.who()) & set(gallery.who())
    assert common_kind(test, gallery) == "recording"
    numbers = np.asarray(gallery.labelled.sequences)[gallery.indices]
    first = [name for name, number in zip(gallery.who(), numbers, strict=True) if number == "00000003"]
    assert len(first) == 4  # one hand before four backgrounds
    assert set(first) == {"recording train 00000003"}


@pytest.mark.slow
def test_the_oracle_says_of_how_many_hands_it_is(workspace, people_set, probed, monkeypatch):
    assert "oracle" in probed.facts
    monkeypatch.setattr(run, "_ORACLE_PAIRS", 5 * 32 + 3)
    summary = probe(config(workspace, people_set, encoder=["one"], name="part"))
    metrics = summary.data["metrics"]
    assert metrics["oracle_samples"] == 5
    assert next(iter(metrics["references"]["oracle"]))["samples"] == 5
    assert "oracle, 5 of 16" in summary.facts
    assert "oracle, 5 of 16" in (workspace / "runs" / "probe-part" / "report.html").read_text()


@pytest.mark.slow
def test_done_again_it_is_read_back_or_the_same(probed, workspace, people_set):
    folder = workspace / "runs" / "probe-both"
    before = {name: (folder / name).read_bytes() for name in FILES}
    stamps = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    again = probe(config(workspace, people_set, name="both"))
    assert again.facts == probed.facts
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == stamps
    with pytest.raises(UsageProblem, match=r"val_fraction.*--redo"):
        probe(config(workspace, people_set, name="both", val_fraction=0.4))
    with pytest.raises(UsageProblem, match="other data or another model"):
        probe(config(workspace, people_set, name="both", encoder=["two", "one"]))
    probe(config(workspace, people_set, name="both", redo=True))
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_random_can_be_named_and_has_the_architecture_of_the_others(workspace, people_set):
    dry = probe(config(workspace, people_set, encoder=["random", "one"], dry_run=True, name="dry"))
    assert dry.facts["untrained-test_resnet"] == "test_resnet, random weights"
    assert list(dry.facts)[-2:] == ["untrained-test_resnet", "one"]
    assert dry.facts["test samples"] == 16
    assert not (workspace / "runs" / "probe-dry").exists()
    twice = probe(config(workspace, people_set, encoder=["one", "one"], dry_run=True))
    assert {"one", "one-2"} <= set(twice.facts)


@pytest.mark.slow
def test_unreadable_pictures_are_left_out_for_all_encoders(workspace, people_set, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(people_set, broken)
    (broken / "train-b-3.jpg").write_bytes(b"no picture")
    summary = probe(config(workspace, broken, untrained=False))
    assert summary.problems == 1
    assert summary.data["metrics"]["gallery_samples"] == 31
    assert "train-b-3.jpg" in summary.dropped[0].why


def test_what_cannot_be_probed_is_said_in_one_line(workspace, people_set, tmp_path):
    def fails(problem, words, data=people_set, **options):
        with pytest.raises(problem, match=words) as caught:
            probe(config(**{"workspace": workspace, "people_set": data, **options}))
        assert "\n" not in str(caught.value)

    fails(InputProblem, "no finished pre-training run", workspace=tmp_path, encoder=["latest"])
    fails(EnvironmentProblem, "--encoder nowhere", encoder=["one", "nowhere"])
    fails(InputProblem, "split 'val' is empty", split="val")
    fails(InputProblem, "no labelled set", None)
    fails(InputProblem, "5 or more", limit=4)
    unreadable = tmp_path / "unreadable"
    shutil.copytree(people_set, unreadable)
    for picture in unreadable.glob("test-*.jpg"):
        picture.write_bytes(b"no picture")
    fails(InputProblem, "only 0 of 16 samples of jsonl/test could be read", unreadable)
    one = write_people(tmp_path / "one", {"train": ["a"], "test": ["a"]}, each=13)
    fails(InputProblem, "nobody but person a, who is also tested", one)
    assert not (workspace / "runs" / "probe-one-and-1-one").exists()  # nothing is left of what was refused
    with pytest.raises(UsageProblem, match="encoder"):
        resolve_config(ProbeConfig, None, {"encoder": []}, [])
