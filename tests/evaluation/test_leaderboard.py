"""Leaderboard files, scored by independent scorers, give the figures of metrics.json; and what is refused."""

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
from known_errors import KnownErrors
from leaderboard_scorers import read_dexycb, score_assemblyhands, score_dexycb, score_freihand
from mini_dexycb import write_val
from mini_freihand import write_mini_freihand
from oracle import MemorySet

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.predict.predict_set import predict_set
from simhand_cli.evaluation.predict.predictors import CropPoses
from simhand_cli.evaluation.score.score import Scale, score_set
from simhand_cli.labelled.open import open_labelled
from simhand_cli.metrics.bootstrap import resampling


@pytest.fixture(scope="module")
def freihand(tmp_path_factory):
    """Seven evaluation images in the published layout."""
    folder = tmp_path_factory.mktemp("data") / "FreiHAND_pub_v2"
    write_mini_freihand(folder, hands=2, test_hands=7)
    return folder


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory):
    """(folder, labels) of the s0 validation split."""
    folder = tmp_path_factory.mktemp("data") / "DexYCB"
    return folder, write_val(folder)


@pytest.mark.slow
def test_freihands_scorer_gives_our_figures(freihand, measure):
    summary, figures = measure(freihand, "test", KnownErrors(open_labelled(freihand, "test")))
    assert summary.facts["pred.json for freihand/test"] == (
        "7 images, 7 predicted; incomplete: the published evaluation set has 3,960"
    )
    scores = score_freihand(summary.outputs["pred.json"], freihand / "evaluation_xyz.json")
    # Labels are read as float32: a few 1e-5 mm.
    assert scores["xyz_mean3d"] == pytest.approx(figures["absolute", "mpjpe"] / 10, abs=1e-6)
    assert scores["xyz_al_mean3d"] == pytest.approx(figures["procrustes_scale", "mpjpe"] / 10, abs=1e-6)
    assert scores["xyz_auc3d"] == pytest.approx(figures["absolute", "auc_0_50mm"], abs=1e-6)
    assert scores["xyz_al_auc3d"] == pytest.approx(figures["procrustes_scale", "auc_0_50mm"], abs=1e-6)
    assert 0.5 < scores["xyz_al_mean3d"] < scores["xyz_mean3d"]


@pytest.mark.slow
def test_reflections_are_what_freihands_scorer_allows(freihand, measure):
    """Mirrored hands: with reflections both forgive them, without them only the scorer does."""

    class Mirrored(KnownErrors):
        def predict(self, crops_rgb):
            poses = super().predict(crops_rgb)
            return CropPoses(poses.joints_px, poses.relative_mm * [-1, 1, 1], poses.confidence, poses.found)

    labelled = open_labelled(freihand, "test")
    summary, figures = measure(freihand, "test", Mirrored(labelled, noise_mm=2.0), reflections=False)
    scores = score_freihand(summary.outputs["pred.json"], freihand / "evaluation_xyz.json")
    assert figures["procrustes_scale", "mpjpe"] > 10 * scores["xyz_al_mean3d"] + 5
    summary, figures = measure(freihand, "test", Mirrored(labelled, noise_mm=2.0), name="mirrored")
    scores = score_freihand(summary.outputs["pred.json"], freihand / "evaluation_xyz.json")
    assert scores["xyz_al_mean3d"] == pytest.approx(figures["procrustes_scale", "mpjpe"] / 10, abs=1e-6)


@pytest.mark.slow
def test_dexycbs_scorer_gives_our_figures(dexycb, measure):
    folder, labels = dexycb
    labelled = open_labelled(folder, "val")
    summary, figures = measure(folder, "val", KnownErrors(labelled))
    no_hand = sum((joints == -1).all() for joints in labels.values())
    assert summary.facts["dexycb-s0-val.txt for dexycb/val"] == (
        f"{len(labels)} images, {len(labelled)} predicted, {no_hand} without a hand (ignored by the scorer)"
    )
    scores = score_dexycb(summary.outputs["dexycb-s0-val.txt"], labels)
    for theirs, ours in (("absolute", "absolute"), ("root-relative", "root"), ("procrustes", "procrustes_scale")):
        mean, area = scores[theirs]
        assert mean == pytest.approx(figures[ours, "mpjpe"], abs=1e-6), theirs
        assert area == pytest.approx(figures[ours, "auc_0_50mm"], abs=1e-6), theirs
    means = [scores[name][0] for name in ("absolute", "root-relative", "procrustes")]
    assert min(means) == means[2] > 5
    assert abs(means[0] - means[1]) > 0.5


@pytest.mark.slow
def test_true_predictions_stand_at_their_official_ids_left_hands_left(dexycb, measure):
    folder, labels = dexycb
    labelled = open_labelled(folder, "val")
    assert sum(labelled[k].hand == "left" for k in range(len(labelled))) > 50
    summary, _ = measure(folder, "val", KnownErrors(labelled, noise_mm=0.0))
    found = read_dexycb(summary.outputs["dexycb-s0-val.txt"])
    assert list(found) == list(range(len(labels)))
    for image_id, joints_m in labels.items():
        expected = np.zeros((21, 3)) if (joints_m == -1).all() else 1000.0 * joints_m
        np.testing.assert_allclose(found[image_id], expected, atol=1e-3)


@pytest.mark.slow
def test_hands_without_a_prediction_or_a_place_are_filled_and_counted(freihand, measure, tmp_path):
    data = tmp_path / "FreiHAND_pub_v2"
    shutil.copytree(freihand, data)
    (data / "evaluation" / "rgb" / "00000005.jpg").unlink()
    labelled = open_labelled(data, "test")
    summary, _ = measure(data, "test", KnownErrors(labelled, blind=[1], flat=[3]))
    assert summary.facts["pred.json for freihand/test"].startswith(
        "7 images, 4 predicted, 1 not placed (wrist at the origin), 2 without a prediction (zeros)"
    )
    xyz, verts = json.loads(summary.outputs["pred.json"].read_text())
    assert [not np.any(hand) for hand in xyz] == [False, True, False, False, False, True, False]
    assert xyz[3][0] == [0.0, 0.0, 0.0]
    truth = labelled[3].joints_mm / 1000
    np.testing.assert_allclose(xyz[3], truth - truth[0], atol=0.08)
    assert not np.any(verts)


@pytest.mark.slow
def test_a_finished_evaluation_gets_its_file_later(freihand, measure):
    labelled = open_labelled(freihand, "test")
    summary, _ = measure(freihand, "test", KnownErrors(labelled), leaderboard=False)
    assert "pred.json" not in summary.outputs
    before = summary.outputs["metrics.json"].stat().st_mtime_ns
    later, _ = measure(freihand, "test", None)
    assert later.outputs["metrics.json"].stat().st_mtime_ns == before
    assert len(json.loads(later.outputs["pred.json"].read_text())[0]) == 7


def test_what_cannot_be_whole_is_refused(freihand, dexycb, measure, tmp_path):
    folder, _ = dexycb
    with pytest.raises(UsageProblem, match="leave --limit out"):
        measure(freihand, "test", None, limit=3)
    with pytest.raises(UsageProblem, match="freihand/train has no such file"):
        measure(freihand, "train", None)
    partial = tmp_path / "partial"
    partial.mkdir()
    for entry in folder.iterdir():
        (partial / entry.name).mkdir()
        for inner in () if entry.name.endswith("subject-01") else entry.iterdir():
            (partial / entry.name / inner.name).symlink_to(inner)
    with pytest.raises(InputProblem, match=r"subject-01 has 0 of 100 sequences; .* leave --leaderboard out"):
        measure(partial, "val", None)
    assert not (tmp_path / "ws" / "runs").exists()


def test_assemblyhands_metric_is_ours_for_one_side_and_pools_sides_apart():
    """Its toolkit averages right and left joints apart; with one side, or the same joints of both, that is ours."""
    labelled = MemorySet(12)
    rng = np.random.default_rng(3)
    for sample in labelled.samples:
        sample.joint_valid[1:] = rng.random(20) > 0.2
    predictions = predict_set(labelled, np.arange(12), KnownErrors(labelled), 5, Ticker()).predictions
    hands = []
    for row in range(12):
        side = "left" if predictions.mirrored[row] else "right"
        hands.append((side, predictions.relative_mm[row], predictions.truth_mm[row], predictions.valid[row]))

    def ours(rows):
        chosen = {
            f.name: np.asarray(value)[rows]
            for f in fields(predictions)
            if not isinstance(value := getattr(predictions, f.name), str)
        }
        part = replace(predictions, **chosen)
        return score_set(part, Scale(), resampling(part.sequences, "sample", 10, 0)).by_alignment["root"].mean

    right = np.flatnonzero(~predictions.mirrored)
    assert ours(right) == pytest.approx(score_assemblyhands([hands[k] for k in right]), abs=1e-9)
    both = score_assemblyhands(hands)
    assert ours(np.arange(12)) != pytest.approx(both, abs=1e-3)
    one_side = [("right", *rest) for _, *rest in hands]
    assert ours(np.arange(12)) == pytest.approx(score_assemblyhands(one_side), abs=1e-9)


@pytest.mark.slow
def test_a_model_without_millimetres_is_refused_before_it_predicts(freihand, tmp_path):
    from simhand_cli.commands.evaluate import evaluate
    from simhand_cli.evaluation.config import EvaluateConfig
    from simhand_cli.models.detnet import DetNet
    from simhand_cli.models.encoder import build_encoder
    from simhand_cli.models.hand_model import ModelFacts, save_model

    for length in (None, 90.0):
        facts = ModelFacts(encoder="test_resnet", width=8, input_px=64, root_joint=0, bone_length_mm=length)
        save_model(tmp_path / f"{length}.safetensors", DetNet(build_encoder("test_resnet"), 8, 64), facts)

    def call(model):
        config = EvaluateConfig(
            workspace=tmp_path / "ws", data=[freihand], model=str(tmp_path / model), leaderboard=True, device="cpu",
            bootstrap=10, samples_shown=1,
        )  # fmt: skip
        return evaluate(config)

    with pytest.raises(UsageProblem, match="trained on 2D labels only and has no joints in millimetres") as raised:
        call("None.safetensors")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ws").exists()
    assert call("90.0.safetensors").outputs["pred.json"].is_file()


@pytest.mark.slow
def test_no_file_is_written_with_what_is_no_number(freihand, dexycb, tmp_path, measure):
    class Half(KnownErrors):
        """The second hand of a batch has joints in the picture and none in 3D."""

        def predict(self, crops_rgb):
            poses = super().predict(crops_rgb)
            poses.relative_mm[1:2, 8] = np.nan
            return poses

    for folder, split, file in ((freihand, "test", "pred.json"), (dexycb[0], "val", "dexycb-s0-val.txt")):
        with pytest.raises(InputProblem, match=rf"{file} is not written: \d predictions are not finite numbers in mm"):
            measure(folder, split, Half(open_labelled(folder, split)), name=split)
        assert not list((tmp_path / "ws").rglob(file))
