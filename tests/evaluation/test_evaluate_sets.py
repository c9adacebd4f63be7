"""From a labelled set to scores, records and files: with a predictor that knows the truth, errors are known."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from oracle import MemorySet, Oracle

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.compare.comparison_report import comparison_section
from simhand_cli.evaluation.compare.paired import compare
from simhand_cli.evaluation.predict.predict_set import predict_set
from simhand_cli.evaluation.predict.predictions import write_predictions
from simhand_cli.evaluation.predict.predictors import mean_pose, mean_shape
from simhand_cli.evaluation.score.evaluation_report import SetPictures, build_report
from simhand_cli.evaluation.score.gallery import choose, gallery_3d, gallery_sheet
from simhand_cli.evaluation.score.records import screen_table, set_record, set_table
from simhand_cli.evaluation.score.score import Scale, score_set
from simhand_cli.labelled.sample import choose_samples
from simhand_cli.metrics.bootstrap import resampling


def run(labelled, oracle=None, indices=None, batch_size=4):
    indices = np.arange(len(labelled)) if indices is None else indices
    oracle = oracle or Oracle(labelled, indices)
    return predict_set(labelled, indices, oracle, batch_size, Ticker())


def scored(predictions, **options):
    how = resampling(predictions.sequences, "sequence", 20, 0)
    return score_set(predictions, Scale(**options), how), how


def test_truth_as_prediction_has_no_error_in_any_alignment_of_either_hand():
    predictions = run(MemorySet(7)).predictions
    assert predictions.mirrored.tolist() == [False, False, True, False, False, True, False]
    score, _ = scored(predictions)
    for one in score.all_scores():
        assert one.mean == pytest.approx(0, abs=1e-6), one.alignment
        # Rounding puts an error of 1e-13 beyond the threshold 0: half a step of 1/99 at most.
        assert list(one.areas.values()) == pytest.approx([1.0] * len(one.areas), abs=0.0051)
    np.testing.assert_allclose(predictions.placed_mm, predictions.truth_mm, atol=1e-5)


def test_known_mistakes_give_known_figures():
    labelled = MemorySet(6)
    score, _ = scored(run(labelled, Oracle(labelled, range(6), offset_mm=30.0)).predictions)
    root = score.by_alignment["root"]
    assert root.mean == pytest.approx(30 / 21)
    assert root.per_joint[20] == pytest.approx(30)
    assert root.median == pytest.approx(0, abs=1e-9)
    # A hand twice too large: forgiven by the bone's scale, not by the root.
    score, _ = scored(run(labelled, Oracle(labelled, range(6), scale=2.0)).predictions)
    assert score.by_alignment["root_bone_scale"].mean == pytest.approx(0, abs=1e-9)
    assert score.by_alignment["procrustes_scale"].mean == pytest.approx(0, abs=1e-9)
    assert score.by_alignment["root"].mean > 20


def test_hands_not_found_are_misses():
    labelled = MemorySet(8)
    predictions = run(labelled, Oracle(labelled, range(8), blind=(1, 2))).predictions
    score, _ = scored(predictions)
    assert (score.samples, score.found) == (8, 6)
    for name in ("absolute", "root", "root_bone_scale", "procrustes", "procrustes_scale"):
        one = score.by_alignment[name]
        assert one.areas["auc_20_50mm"] == pytest.approx(6 / 8)
        assert one.mean == pytest.approx(0, abs=1e-6)
        assert one.conditions["samples_measured"] == 6
        assert one.curve[-1] == pytest.approx(6 / 8)


def test_unreadable_and_hardly_labelled_samples_are_left_out_and_counted():
    labelled = MemorySet(9, broken=(4,))
    labelled.samples[5].joint_valid[2:] = False
    result = run(labelled)
    assert result.unreadable == ["picture 4 is broken"]
    assert result.too_few_joints == 1
    assert result.predictions.index.tolist() == [0, 1, 2, 3, 6, 7, 8]
    assert run(MemorySet(2, broken=(0, 1))).predictions is None


def test_batches_do_not_change_the_result():
    labelled = MemorySet(7)
    one, many = run(labelled, batch_size=1).predictions, run(labelled, batch_size=100).predictions
    np.testing.assert_array_equal(one.joints_px, many.joints_px)
    assert one.sample_ids == many.sample_ids


def test_the_choice_of_samples_is_seeded_sorted_and_from_the_usable():
    usable = np.arange(0, 200, 2)
    chosen = choose_samples(usable, 30, seed=3)
    assert len(set(chosen.tolist())) == 30
    assert (np.diff(chosen) > 0).all()
    assert np.isin(chosen, usable).all()
    np.testing.assert_array_equal(chosen, choose_samples(usable, 30, seed=3))
    assert not np.array_equal(chosen, choose_samples(usable, 30, seed=4))
    np.testing.assert_array_equal(choose_samples(usable, 500, 0), usable)


def test_stored_predictions_are_in_the_original_frames(tmp_path):
    labelled = MemorySet(6)
    path = tmp_path / "predictions.h5"
    sets = [run(labelled).predictions, run(labelled, indices=np.array([2])).predictions]
    digest = write_predictions(path, sets)
    assert digest == write_predictions(tmp_path / "again.h5", sets)
    with h5py.File(path) as file:
        assert file["set_index"][:].tolist() == [0] * 6 + [1]
        assert file["hand"][:].tolist() == [1, 1, 0, 1, 1, 0, 0]
        for row, index in enumerate([0, 1, 2, 3, 4, 5, 2]):
            sample = labelled.samples[index]
            np.testing.assert_allclose(file["truth_mm"][row], sample.joints_mm)
            np.testing.assert_allclose(file["truth_px"][row], sample.joints_px)
            np.testing.assert_allclose(file["camera_mm"][row], sample.joints_mm, atol=1e-3)
            np.testing.assert_allclose(file["joints_px"][row], sample.joints_px, atol=1e-4)


def test_every_figure_says_unit_alignment_and_thresholds():
    labelled = MemorySet(6)
    score, how = scored(run(labelled, Oracle(labelled, range(6), offset_mm=5.0)).predictions)
    record = json.loads(json.dumps(set_record(score, how), allow_nan=False))
    figures = record["figures"]
    assert len(figures) == 5 * 6 + 2 * 5
    for figure in figures:
        assert {"metric", "value", "unit", "alignment", "joints", "samples_measured"} <= figure.keys()
        if figure["metric"] == "pck_auc":
            assert {"low", "high", "steps", "unit", "comparison"} <= figure["thresholds"].keys()
        if figure["alignment"] == "root_bone_scale":
            assert figure["root_joint"] == "wrist"
            assert figure["reference_bone"] == ["wrist", "middle_mcp"]
        if figure["alignment"].startswith("procrustes"):
            assert figure["reflections"] is False
    paper = [f for f in figures if f.get("name") == "auc_20_50mm" and f["alignment"] == "root_bone_scale"]
    assert paper[0]["thresholds"] | {"integration": 0} == {
        "low": 20.0, "high": 50.0, "steps": 15, "unit": "mm", "comparison": "<=", "integration": 0,
    }  # fmt: skip
    assert len(screen_table(score)) == 6


def test_the_gallery_shows_each_sample_once_and_the_missed_as_worst():
    labelled = MemorySet(30)
    predictions = run(labelled, Oracle(labelled, range(30), blind=(7, 9, 20, 21), offset_mm=3.0)).predictions
    score, _ = scored(predictions)
    chosen = choose(predictions, score, each=4)
    assert chosen.worst[:2] == [7, 9]
    rows = chosen.best + chosen.median + chosen.worst
    assert len(rows) == len(set(rows)) == 12
    errors = score.by_alignment["root_bone_scale"].per_sample
    assert np.nanmax(errors[chosen.best]) <= np.nanmin(errors[chosen.median])
    assert np.nanmax(errors[chosen.median]) <= errors[chosen.worst[2:]].min()
    sheet = gallery_sheet(labelled, predictions, chosen)
    assert sheet.dtype == np.uint8
    assert sheet.std() > 20


@pytest.mark.parametrize("count", [1, 2, 4])
def test_small_sets_have_a_gallery_too(count):
    labelled = MemorySet(count)
    predictions = run(labelled).predictions
    score, _ = scored(predictions)
    assert gallery_sheet(labelled, predictions, choose(predictions, score, each=4)).size


def test_the_mean_pose_is_the_mean_with_the_true_size():
    labelled = MemorySet(8)
    predictor = mean_pose(labelled, np.arange(8), seed=0)
    poses = np.stack([s.as_right().joints_mm for s in labelled.samples])
    poses -= poses[:, :1]
    mean = poses.mean(axis=0)
    length = np.linalg.norm(poses[:, 9], axis=1).mean()
    answer = predictor.predict(np.zeros((3, 64, 64, 3), dtype=np.uint8))
    np.testing.assert_allclose(answer.relative_mm[2], mean / np.linalg.norm(mean[9]) * length)
    spread = answer.joints_px[0].max(axis=0) - answer.joints_px[0].min(axis=0)
    assert spread.max() == pytest.approx(64 / predictor.crop_scale)


def test_the_mean_shape_is_the_best_constant_after_procrustes():
    """Turning, scaling and shifting hands changes nothing; no small change of the shape lowers the squared error."""
    rng = np.random.default_rng(5)
    labelled = MemorySet(8)
    shape = mean_shape(labelled, np.arange(8), seed=0).pose_mm
    poses = np.stack([s.as_right().joints_mm for s in labelled.samples])
    length = np.linalg.norm(poses[:, 9] - poses[:, 0], axis=1).mean()
    assert np.linalg.norm(shape[9] - shape[0]) == pytest.approx(length)

    def squared_error(constant):
        # Every hand is laid onto the constant at the constant's size: what the mean shape minimises.
        unit = constant / np.linalg.norm(constant - constant.mean(axis=0))
        total = 0.0
        for pose in poses:
            a, b = pose - pose.mean(axis=0), unit - unit.mean(axis=0)
            u, s, vt = np.linalg.svd(a.T @ b)
            s[2] *= np.sign(np.linalg.det(u @ vt))
            total += 1 - (s.sum() / np.linalg.norm(a)) ** 2
        return total

    best = squared_error(shape)
    mean = mean_pose(labelled, np.arange(8), seed=0).pose_mm
    assert best < squared_error(mean)
    worse = [squared_error(shape + rng.normal(0, 2.0, shape.shape)) - best for _ in range(20)]
    assert min(worse) > -0.02 * best


def test_a_group_whose_first_hand_lacks_a_joint_shows_the_next_in_3d():
    labelled = MemorySet(30)
    predictions = run(labelled, Oracle(labelled, range(30), offset_mm=3.0)).predictions
    score, _ = scored(predictions)
    chosen = choose(predictions, score, each=3)
    predictions.valid[chosen.best[0], 14] = False
    predictions.valid[chosen.worst, 14] = False
    captions = [caption for caption, _ in gallery_3d(predictions, chosen, Scale())]
    assert [caption.split(",")[0] for caption in captions] == [
        f"best: {predictions.sample_ids[chosen.best[1]]}",
        f"median: {predictions.sample_ids[chosen.median[0]]}",
    ]


def flat_set(count, known=()):
    """A set whose labels are 2D, but for the samples in ``known``."""
    labelled = MemorySet(count)
    labelled.samples = [
        s if i in known else replace(s, joints_mm=np.full((21, 3), np.nan)) for i, s in enumerate(labelled.samples)
    ]
    return labelled


def flat_predictions(labelled):
    """Each hand found but the second, every 2D joint 3 px off."""
    count = len(labelled)
    predictions = run(labelled, Oracle(MemorySet(count), range(count), blind=(1,))).predictions
    return replace(predictions, joints_px=predictions.joints_px + np.array([3.0, 0.0]))


def test_a_set_with_2d_labels_only_has_2d_figures_and_no_others(tmp_path):
    labelled = flat_set(9)
    predictions = flat_predictions(labelled)
    score, how = scored(predictions)
    record = json.loads(json.dumps(set_record(score, how), allow_nan=False))
    for figure in record["figures"]:
        if figure["unit"] == "mm":
            values = figure["value"].values() if isinstance(figure["value"], dict) else [figure["value"]]
            assert set(values) == {None}, figure["metric"]
            assert figure["samples_measured"] == figure["samples_with_truth"] == figure["joints"] == 0
        else:
            assert figure["samples_measured"] == 8
    assert score.pixels.mean == pytest.approx(3.0)
    # Errors of 3 px count from threshold 3.03 of 0, 0.303, ..., 30 on, with half a step for the rise; 8 of 9 found.
    assert score.pixels.areas["auc_0_30px"] == pytest.approx(8 / 9 * 89.5 / 99)
    extents = [np.ptp(s.joints_px, axis=0).max() for i, s in enumerate(labelled.samples) if i != 1]
    assert score.box.mean == pytest.approx(np.mean(3.0 / np.array(extents)))
    chosen = choose(predictions, score, each=2)
    assert (chosen.unit, chosen.worst[0]) == ("px", 1)
    assert gallery_3d(predictions, chosen, Scale()) == []
    sheet = gallery_sheet(labelled, predictions, chosen)
    page = build_report({"kind": "oracle"}, [score], [how], [SetPictures(sheet, [])]).html()
    assert "2D error, px of the image" in page
    paths = [tmp_path / name / "predictions.h5" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        write_predictions(path, [predictions])
    compared = compare(*paths, Scale(), 20, 0, "sample")
    assert [(one.alignment, one.samples, one.mean) for one in compared.sets[0].differences] == [
        ("2d_px", 8, 0.0), ("2d_box", 8, 0.0),
    ]  # fmt: skip
    assert "memory/test" in comparison_section(compared, "two").html()


def test_hands_without_3d_labels_are_no_misses_among_others():
    predictions = flat_predictions(flat_set(9, known=(0, 1, 4, 6)))
    score, _ = scored(predictions)
    for one in score.by_alignment.values():
        assert (one.conditions["samples_with_truth"], one.conditions["samples_measured"]) == (4, 3)
        assert one.areas["auc_20_50mm"] == pytest.approx(3 / 4)
    assert score.pixels.conditions["samples_measured"] == 8
    with pytest.raises(InputProblem, match="no fully labelled sample"):
        mean_pose(flat_set(4), np.arange(4), seed=0)


def test_rows_say_on_how_many_samples_they_were_taken_and_one_alone_has_no_interval():
    labelled = MemorySet(40)
    every = run(labelled, Oracle(labelled, range(40), offset_mm=30.0)).predictions
    score, how = scored(every)
    assert how.caution == ""
    assert "measured on" not in set_table(score)[0]
    placed = every.placed_mm.copy()
    placed[1:] = np.nan
    score, how = scored(replace(every, placed_mm=placed))
    header, rows = set_table(score)
    assert header[-1] == "measured on"
    assert {row[0]: row[-1] for row in rows} == {"absolute": "1 of 40"} | dict.fromkeys(
        ("root", "root + bone scale", "Procrustes", "Procrustes + scale"), "40 of 40"
    )
    assert [row[2] == "no interval" for row in rows] == [True, False, False, False, False]
    assert "no interval" in screen_table(score)["absolute"]
    assert screen_table(score)["absolute"].endswith("1 of 40")
    mpjpe = [f for f in set_record(score, how)["figures"] if f["metric"] == "mpjpe"]
    assert [f["interval"]["low"] is None for f in mpjpe] == [True, False, False, False, False]
    page = build_report({"kind": "oracle"}, [score], [how], [SetPictures(np.zeros((8, 8, 3), np.uint8), [])]).html()
    assert "1 of 40" in page
    assert "drawn by picture" not in page


def test_intervals_drawn_by_picture_for_want_of_sequences_say_so():
    predictions = run(MemorySet(7)).predictions  # four sequences
    score, how = scored(predictions)
    words = "intervals drawn by picture: 4 sequences only; too narrow where pictures resemble each other"
    assert how.caution == words
    page = build_report({"kind": "oracle"}, [score], [how], [SetPictures(np.zeros((8, 8, 3), np.uint8), [])]).html()
    assert words in page
    assert resampling(predictions.sample_ids, "sample", 20, 0).caution == ""
    assert resampling(["one"] * 7, "subject", 20, 0).caution.startswith("intervals drawn by picture: 1 subject only")
