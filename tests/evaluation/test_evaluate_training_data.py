"""A model is not tested unnoticed on labels, or people, that it was trained on."""

import json
import shutil

import pytest
import torch
from mini_dexycb import write_val
from mini_freihand import write_mini_freihand

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.commands.finetune import finetune
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.labelled.open import held_out_split, open_labelled
from simhand_cli.labelled.readers.dexycb_frames import SUBJECTS
from simhand_cli.models.detnet import DetNet
from simhand_cli.models.encoder import build_encoder
from simhand_cli.models.hand_model import ModelFacts, save_model


@pytest.fixture(scope="module")
def freihand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "FreiHAND_pub_v2"
    write_mini_freihand(folder, hands=1, test_hands=2)
    return folder


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory):
    """Person 0, whom s1-train and the validation split of s0 have, and person 7, whom s1-test has."""
    folder = tmp_path_factory.mktemp("sets") / "DexYCB"
    write_val(folder)
    for sequence in folder.glob("*/*"):
        if not any(sequence.iterdir()):
            sequence.rmdir()  # setups that go by people need no whole copy
    (folder / SUBJECTS[1]).rename(folder / SUBJECTS[7])
    return folder


def finetuned(workspace, data, split):
    options = {"encoder": "none", "backbone": "test_resnet", "width": 16, "input_px": 64, "epochs": 1, "batch_size": 4}
    options |= {"precision": "fp32", "gpus": 0, "workers": 0, "val_fraction": 0}
    return finetune(FinetuneConfig(workspace=workspace, data=[data], split=split, **options))


def config(workspace, **options):
    return EvaluateConfig(workspace=workspace, bootstrap=20, samples_shown=1, device="cpu", **options)


@pytest.mark.slow
def test_training_labels_are_refused_unless_their_split_is_named(freihand, tmp_path):
    trained = finetuned(tmp_path, freihand, "test")
    assert trained.hint.startswith("simhand evaluate --data ANOTHER_SET")
    moved = shutil.copytree(freihand, tmp_path / "moved")
    for data in ([], [moved]):
        with pytest.raises(
            InputProblem, match=r"the model was trained on freihand/test itself.*--split test"
        ) as raised:
            evaluate(config(tmp_path, data=data))
        assert "\n" not in str(raised.value)
    # The model alone names its set, too.
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained.outputs["model"], alone)
    with pytest.raises(InputProblem, match="trained on freihand/test itself"):
        evaluate(config(tmp_path, data=[freihand], model=str(alone)))
    summary = evaluate(config(tmp_path, split="test"))
    assert "the model was trained on freihand/test itself" in summary.facts["WARNING"]
    assert summary.data["metrics"]["warnings"] == [summary.facts["WARNING"]]
    assert f"WARNING: {summary.facts['WARNING']}" in summary.outputs["report.html"].read_text()
    other = evaluate(config(tmp_path, split="train", name="other"))
    assert "WARNING" not in other.facts
    assert other.data["metrics"]["warnings"] == []


@pytest.mark.slow
def test_labels_of_the_same_digest_are_known_under_another_name(freihand, tmp_path):
    trained = finetuned(tmp_path, freihand, "train")
    record = trained.outputs["model"].parent / "samples.json"
    content = json.loads(record.read_text())
    from simhand_cli.labelled.label_details import labels_sha256

    content["sets"][0]["labels_sha256"] = labels_sha256(open_labelled(freihand, "test"))
    record.write_text(json.dumps(content))
    with pytest.raises(InputProblem, match="trained on freihand/test itself"):
        evaluate(config(tmp_path))


def test_the_split_follows_the_setup_and_known_people_are_told(dexycb, tmp_path):
    run = tmp_path / "runs" / "finetune-tiny"
    run.mkdir(parents=True)
    torch.manual_seed(0)
    facts = ModelFacts("test_resnet", 16, 64, 0, 95.0, training={"sets": ["dexycb/s1-train"]})
    save_model(run / "model.safetensors", DetNet(build_encoder("test_resnet"), 16, 64), facts)
    record = {"name": "dexycb", "labels_sha256": "0", "subjects": [SUBJECTS[0]]}
    (run / "samples.json").write_text(json.dumps({"sets": [record]}))
    assert {*open_labelled(dexycb, "s1-train").subjects} == {SUBJECTS[0]}
    followed = evaluate(config(tmp_path, data=[dexycb], dry_run=True)).facts
    assert "samples of dexycb/s1-test" in followed
    assert "WARNING" not in followed
    known = evaluate(config(tmp_path, data=[dexycb], split="s2-train", dry_run=True)).facts
    assert known["WARNING"] == f"1 of the 2 people of dexycb/s2-train are known from training, e.g. {SUBJECTS[0]}"


def test_people_trained_on_are_recorded(dexycb, tmp_path):
    from simhand_cli.finetune.training_data import choose_samples

    (one,) = choose_samples([dexycb], split="s1-train", val_fraction=0, label_fraction=0.1, seed=0).record()["sets"]
    assert one["subjects"] == [SUBJECTS[0]]


@pytest.mark.parametrize(
    ("layout", "trained", "held_out"),
    [
        ("dexycb", "s1-train", "s1-test"), ("dexycb", "s3-val", "s3-test"), ("dexycb", "train", "test"),
        ("freihand", "test", "test"), ("coco_wholebody", "train", "val"), ("assemblyhands", "train", "val"),
    ],
)  # fmt: skip
def test_what_is_held_out(layout, trained, held_out):
    assert held_out_split(layout, trained) == held_out


def test_another_set_of_ones_own_does_not_follow_the_setup(tmp_path):
    """Layouts of many sets: the same name and split are not the same labels, nor their people the same."""
    from oracle import MemorySet

    from simhand_cli.evaluation.evaluated_sets import TrainingSet, default_split, known_people, trained_on

    labelled = MemorySet(4)
    trained = [TrainingSet("jsonl", "studio-train", tmp_path / "a", "digest", frozenset(labelled.subjects))]
    assert [default_split(trained, "jsonl", tmp_path / name) for name in "ab"] == ["studio-test", "test"]
    labelled.name, labelled.split = "jsonl", "studio-train"
    assert [trained_on(trained, labelled, tmp_path / name, "other") for name in "ab"] == [True, False]
    assert trained_on(trained, labelled, tmp_path / "b", "digest")
    assert [bool(known_people(trained, labelled, tmp_path / name)) for name in "ab"] == [True, False]
