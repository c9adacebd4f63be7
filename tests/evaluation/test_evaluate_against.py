"""Paired comparison of two evaluations: by hand, and its refusals."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from known_errors import KnownErrors
from mini_freihand import write_mini_freihand

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.compare.comparison_report import comparison_section
from simhand_cli.evaluation.compare.paired import Compared, Comparison, compare
from simhand_cli.evaluation.compare.record import comparison_record
from simhand_cli.evaluation.predict.predictions import (
    PREDICTIONS_SCHEMA,
    PREDICTIONS_VERSION,
    read_predictions,
    set_labels,
)
from simhand_cli.evaluation.predict.predictors import CropPoses
from simhand_cli.evaluation.score.score import Scale
from simhand_cli.labelled.open import open_labelled
from simhand_cli.metrics.alignment import ALIGNMENT_MEANING
from simhand_cli.workspace.shards import write_h5

RNG = np.random.default_rng(2)
TRUTH = RNG.normal(0, 40, (30, 21, 3)) + np.array([0, 0, 500])
VALID = RNG.random((30, 21)) > 0.1
VALID[:, [0, 9]] = True
TRUTH_PX = TRUTH[..., :2] + 300.0
NOWHERE = np.full((30, 21, 3), np.nan)


def write(
    folder: Path,
    noise: float,
    rows: np.ndarray | None = None,
    truth: np.ndarray = TRUTH,
    sets: tuple[tuple[str, str, slice], ...] = (("s/test", "digest", slice(None)),),
    version: int = PREDICTIONS_VERSION,
    **columns: np.ndarray,
) -> Path:
    """Predictions that are the truth plus noise; only ``rows``, in that order, in sets (label, digest, their rows)."""
    rows = np.arange(30) if rows is None else rows
    folder.mkdir()
    made = np.random.default_rng(int(noise * 10))
    error = made.normal(0, noise, truth.shape)
    relative = (TRUTH - TRUTH[:, :1] + error)[rows]
    set_index = np.zeros(len(rows), np.int32)
    for number, (_, _, part) in enumerate(sets):
        set_index[part] = number
    write_h5(
        folder / "predictions.h5", PREDICTIONS_SCHEMA, version,
        {
            "set_index": set_index,
            "set_names": np.array([label for label, _, _ in sets], dtype=object),
            "labels_sha256": np.array([digest for _, digest, _ in sets], dtype=object),
            "sample_ids": np.array([f"id{k}" for k in rows], dtype=object),
            "subjects": np.array([f"p{k % 15}" for k in rows], dtype=object),
            "sequences": np.array([f"q{k // 2}" for k in rows], dtype=object),
            "index": rows.astype(np.int64),
            "truth_mm": truth[rows],
            "truth_px": TRUTH_PX[rows],
            "joint_valid": VALID[rows].astype(np.uint8),
            "relative_mm": relative.astype(np.float32),
            "camera_mm": (TRUTH + error)[rows].astype(np.float32),
            "joints_px": np.full((len(rows), 21, 2), 10.0, np.float32),
            "found": (rows % 7 != 3).astype(np.uint8),
            **columns,
        },
        {},
    )  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps({"model": {"kind": folder.name}}))
    return folder / "predictions.h5"


def of_one_set(first: Path, second: Path, repeats: int, over: str = "sequence") -> Comparison:
    """The comparison of two evaluations of a single set."""
    (one,) = compare(first, second, Scale(), repeats, 0, over).sets
    return one


def slow_root_difference(first: Path, second: Path, samples: list[int]) -> float:
    """Mean over joints of the mean over samples of the difference of wrist-aligned errors, one number at a time."""
    errors = []
    for path in (first, second):
        with h5py.File(path) as file:
            names = [name.decode() for name in file["sample_ids"][:]]
            rows = {name: file["relative_mm"][k].astype(float) for k, name in enumerate(names)}
        errors.append(rows)
    means = []
    for joint in range(21):
        gaps = []
        for k in samples:
            if not VALID[k, joint]:
                continue
            want = TRUTH[k, joint] - TRUTH[k, 0]
            a, b = (run[f"id{k}"][joint] - run[f"id{k}"][0] for run in errors)
            gaps.append(np.linalg.norm(a - want) - np.linalg.norm(b - want))
        means.append(np.mean(gaps))
    return float(np.mean(means))


def test_differences_are_those_of_the_shared_samples(tmp_path: Path) -> None:
    good = write(tmp_path / "good", 3.0)
    bad = write(tmp_path / "bad", 9.0, RNG.permutation(30)[:25])
    with h5py.File(bad) as file:
        there = sorted(int(name[2:]) for name in file["sample_ids"][:].astype(str))
    samples = [k for k in there if k % 7 != 3]
    found = of_one_set(good, bad, 200)
    assert found.samples == len(samples)
    by_name = {one.alignment: one for one in found.differences}
    assert by_name["root"].mean == pytest.approx(slow_root_difference(good, bad, samples), abs=1e-4)
    for one in found.differences:
        assert one.interval[0] < one.mean < one.interval[1] < 0
        assert one.better > 0.9
    swapped = of_one_set(bad, good, 200)
    assert swapped.differences[1].mean == pytest.approx(-by_name["root"].mean)


def test_parts_of_a_difference_by_hand(tmp_path: Path) -> None:
    """Joints, samples, means and curves of the wrist-aligned difference, one number at a time."""
    first, second = write(tmp_path / "one", 4.0), write(tmp_path / "two", 6.0)
    found = of_one_set(first, second, 20)
    root = found.of("root")
    a, b = read_predictions(first), read_predictions(second)
    wanted = {}
    for run, k in ((a, 0), (b, 1)):
        for row in range(30):
            wrist = run.relative_mm[row] - run.relative_mm[row, 0] + TRUTH[row, 0]
            wanted[k, row] = np.linalg.norm(wrist - TRUTH[row], axis=1)
    samples = [row for row in range(30) if row % 7 != 3]
    assert found.rows.tolist() == [[row, row] for row in samples]
    assert (found.samples, found.evaluated) == (len(samples), 30)
    for joint in (1, 12, 20):
        rows = [row for row in samples if VALID[row, joint]]
        gap = np.mean([wanted[0, row][joint] - wanted[1, row][joint] for row in rows])
        assert root.per_joint[joint] == pytest.approx(gap)
    for k in (0, 1):
        per_sample = [wanted[k, row][VALID[row]].mean() for row in samples]
        np.testing.assert_allclose(root.per_sample[:, k], per_sample)
        per_joint = [np.mean([wanted[k, row][j] for row in samples if VALID[row, j]]) for j in range(21)]
        assert root.means[k] == pytest.approx(np.mean(per_joint))
        hits = [
            np.mean([row % 7 != 3 and wanted[k, row][j] <= 10.0 for row in range(30) if VALID[row, j]])
            for j in range(21)
        ]
        assert root.curves[k][10] == pytest.approx(np.mean(hits))  # the threshold of 10 mm
    assert root.mean == pytest.approx(root.means[0] - root.means[1])


def test_extremes_are_the_largest_gains_and_losses(tmp_path: Path) -> None:
    found = of_one_set(write(tmp_path / "one", 5.0), write(tmp_path / "two", 5.5), 20)
    per_sample = found.of("root_bone_scale").per_sample
    gap = per_sample[:, 0] - per_sample[:, 1]
    gains, losses = found.extremes(3)
    assert gap[gains].tolist() == sorted(gap)[:3]
    assert gap[losses].tolist() == sorted(gap, reverse=True)[:3]
    every = found.extremes(100)
    assert sorted(every[0] + every[1]) == list(range(found.samples))
    assert gap[every[0]].max() < 0 < gap[every[1]].min()
    page = comparison_section(Compared([found], []), "the <other>").section("against-x")
    for row in gains + losses:
        assert found.keys[row] in page
    assert "Compared with the &lt;other&gt;" in page
    assert f"{found.of('root').mean:+.2f}" in page


def test_every_figure_states_its_conditions_and_its_own_samples(tmp_path: Path) -> None:
    """A constant pose may have no place in the camera: that costs the absolute row samples, and no other."""
    one, other = write(tmp_path / "one", 5.0), write(tmp_path / "other", 6.0)
    with h5py.File(other, "r+") as file:
        file["camera_mm"][:10] = np.nan
    scale = Scale(root=9, reflections=True)
    found = compare(one, other, scale, 50, 0, "sequence")
    text = json.dumps(comparison_record(found, scale, one.parent, other.parent), allow_nan=False)
    record = json.loads(text)
    assert (record["schema"], record["schema_version"]) == ("simhand.comparison", 1)
    for side, path in (("this", one), ("other", other)):
        assert record[side]["predictions_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record[side]["model"] == {"kind": path.parent.name}
    (block,) = record["sets"]
    figures = {figure["alignment"]: figure for figure in block["figures"]}
    assert (block["label"], block["samples_both_evaluated"], block["samples_both_found"]) == ("s/test", 30, 26)
    assert figures["absolute"]["samples_measured"] == 26 - 9  # of the first ten, one was not found anyway
    for name, figure in figures.items():
        assert figure["unit"] == "mm"
        assert figure["alignment_meaning"] == ALIGNMENT_MEANING[name]
        assert figure["interval"]["drawn"] == "sequence"
        assert name == "absolute" or figure["samples_measured"] == 26
    assert figures["root"]["root_joint"] == figures["root_bone_scale"]["root_joint"] == "middle_mcp"
    assert figures["root_bone_scale"]["reference_bone"] == ["wrist", "middle_mcp"]
    assert figures["procrustes"]["reflections"] is figures["procrustes_scale"]["reflections"] is True
    (other.parent / "metrics.json").unlink()
    with pytest.raises(InputProblem, match=r"other/metrics\.json is missing: .* --redo"):
        comparison_record(found, scale, one.parent, other.parent)


def test_figures_that_cannot_be_taken_are_null(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", 5.0), write(tmp_path / "other", 6.0)
    with h5py.File(other, "r+") as file:
        file["camera_mm"][:] = np.nan
    found = compare(one, other, Scale(), 50, 0, "sequence")
    record = comparison_record(found, Scale(), one.parent, other.parent)
    figures = {f["alignment"]: f for f in json.loads(json.dumps(record, allow_nan=False))["sets"][0]["figures"]}
    assert figures["absolute"]["value"] is None
    assert figures["absolute"]["samples_measured"] == 0
    assert figures["root"]["value"] < 0
    assert "Compared with" in comparison_section(found, "other").html()


@pytest.mark.slow
def test_sets_are_compared_one_by_one_and_known_again_by_their_labels(tmp_path: Path) -> None:
    """Two sets of one kind with the same ids, which the other evaluation has in another order or by another name."""
    rows = np.array([*range(12), *range(12)])
    ids = {"sample_ids": np.array([f"line{k % 12}" for k in range(24)], dtype=object)}
    shifted = TRUTH + 40.0
    truth = {"truth_mm": np.concatenate([TRUTH[:12], shifted[:12]])}
    names = [("j/test (a)", "digest a"), ("j/test (b)", "digest b")]
    halves = (slice(0, 12), slice(12, 24))
    in_order, reversed_order = (
        tuple((*name, half) for name, half in zip(order, halves, strict=True)) for order in (names, names[::-1])
    )
    both = write(tmp_path / "both", 3.0, rows, sets=in_order, **ids, **truth)
    assert len(set(read_predictions(both).keys)) == 24
    other_way = np.roll(truth["truth_mm"], 12, axis=0)
    turned = write(tmp_path / "turned", 6.0, rows, sets=reversed_order, **ids, truth_mm=other_way)
    found = compare(both, turned, Scale(), 20, 0, "sample")
    assert [one.label for one in found.sets] == ["j/test (a)", "j/test (b)"]
    assert found.left_out == []
    assert found.sets[0].rows[0].tolist() == [0, 12]
    assert found.sets[1].rows[0].tolist() == [12, 0]
    page = comparison_section(found, "turned").section("k")
    assert all(f"{label}, compared with turned</h2>" in page for label, _ in names)
    alone = write(
        tmp_path / "alone", 6.0, np.arange(12), truth=shifted, sets=(("j/test", "digest b", slice(None)),),
        sample_ids=ids["sample_ids"][:12],
    )  # fmt: skip
    found = compare(both, alone, Scale(), 20, 0, "sample")
    assert [(one.label, one.evaluated) for one in found.sets] == [("j/test (b)", 12)]
    assert found.left_out == ["j/test (a)"]
    assert comparison_record(found, Scale(), both.parent, alone.parent)["sets_not_compared"] == ["j/test (a)"]
    assert compare(alone, both, Scale(), 20, 0, "sample").left_out == ["j/test (a)"]


def test_sets_of_one_evaluation_are_called_differently(tmp_path: Path) -> None:
    def labels(*sets: tuple[str, str]) -> list[str]:
        return set_labels(
            [SimpleNamespace(name=name, split="test") for name, _ in sets], [tmp_path / path for _, path in sets]
        )

    assert labels(("synth", "x/a"), ("jsonl", "x/a")) == ["synth/test", "jsonl/test"]
    assert labels(("jsonl", "b"), ("synth", "s"), ("jsonl", "a")) == ["jsonl/test (b)", "synth/test", "jsonl/test (a)"]
    assert labels(("jsonl", "x/a"), ("jsonl", "y/a"), ("jsonl", "b")) == [
        "jsonl/test (a) #1", "jsonl/test (a) #2", "jsonl/test (b)",
    ]  # fmt: skip


@pytest.mark.parametrize(("over", "groups"), [("sequence", 15), ("subject", 13), ("sample", 26)])
def test_the_bootstrap_draws_what_was_asked_for(tmp_path: Path, over: str, groups: int) -> None:
    """Of 30 samples 26 are found by both: of 15 recordings of two samples each, and of 13 people."""
    people = {"subjects": np.array([f"p{k % 13}" for k in range(30)], dtype=object)}
    one, other = write(tmp_path / "one", 5.0, **people), write(tmp_path / "other", 6.0, **people)
    how = of_one_set(one, other, 20, over=over).how
    assert (how.unit, how.groups) == (over, groups)


def test_files_of_other_versions_and_equal_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match=r"version 1; this simhand reads .* version 2; .* --redo"):
        read_predictions(write(tmp_path / "early", 5.0, version=1))
    with pytest.raises(InputProblem, match="1 samples have the name of another, first: s/test/id3"):
        read_predictions(write(tmp_path / "twice", 5.0, np.array([1, 3, 4, 3])))


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 5.0)
    for difference in of_one_set(one, one, 50).differences:
        assert (difference.mean, difference.interval, difference.better) == (0.0, (0.0, 0.0), 0.0)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 5.0, np.arange(10))
    other = write(tmp_path / "other", 5.0, np.arange(10, 30))
    with pytest.raises(InputProblem, match="no sample in common"):
        of_one_set(one, other, 50)
    shifted = TRUTH.copy()
    shifted[:, 4] += 2.0
    moved = write(tmp_path / "moved", 5.0, truth=shifted)
    with pytest.raises(InputProblem, match=r"labels of s/test are others \(by up to 2 mm\)"):
        of_one_set(one, moved, 50)
    with pytest.raises(InputProblem, match="is missing"):
        of_one_set(one, tmp_path / "nowhere" / "predictions.h5", 50)


def flat_run(folder: Path, noise: float, **columns: np.ndarray) -> tuple[Path, np.ndarray]:
    """An evaluation whose 2D joints are the truth plus noise; its file and the joints."""
    px = (TRUTH_PX + np.random.default_rng(int(noise)).normal(0, noise, TRUTH_PX.shape)).astype(np.float32)
    return write(folder, noise, joints_px=px, **columns), px.astype(float)


@pytest.mark.parametrize("what", ["labels", "both models", "this model", "other model"])
def test_what_is_2d_only_is_compared_in_2d(tmp_path: Path, what: str) -> None:
    """Errors in px and in extents of the hand, one number at a time."""
    none = {"relative_mm": NOWHERE, "camera_mm": NOWHERE}
    labels = {"truth_mm": NOWHERE} if what == "labels" else {}
    first, a = flat_run(tmp_path / "one", 3.0, **labels, **(none if what in ("both models", "this model") else {}))
    other, b = flat_run(tmp_path / "two", 8.0, **labels, **(none if what in ("both models", "other model") else {}))
    found = compare(first, other, Scale(), 50, 0, "sequence")
    (one,) = found.sets
    assert [difference.alignment for difference in one.differences] == ["2d_px", "2d_box"]
    samples = [k for k in range(30) if k % 7 != 3]
    errors = {run: [[np.hypot(*(px[k, j] - TRUTH_PX[k, j])) for j in range(21)] for k in range(30)]
              for run, px in (("a", a), ("b", b))}  # fmt: skip
    extent = [np.ptp(TRUTH_PX[k][VALID[k]], axis=0).max() for k in range(30)]
    for name, unit in (("2d_px", [1.0] * 30), ("2d_box", extent)):
        by_joint = [
            np.mean([(errors["a"][k][j] - errors["b"][k][j]) / unit[k] for k in samples if VALID[k, j]])
            for j in range(21)
        ]
        difference = one.of(name)
        np.testing.assert_allclose(difference.per_joint, by_joint)
        assert difference.mean == pytest.approx(np.mean(by_joint))
        assert difference.interval[0] < difference.mean < difference.interval[1] < 0
        assert difference.samples == len(samples)
    record = comparison_record(found, Scale(), first.parent, other.parent)
    px, box = json.loads(json.dumps(record, allow_nan=False))["sets"][0]["figures"]
    assert (px["unit"], px["metric"]) == ("px of the labelled image", "mean_joint_error_difference")
    assert px["value"] == pytest.approx(px["mean_joint_error"]["this"] - px["mean_joint_error"]["other"])
    assert box["value"] == pytest.approx(np.mean(one.of("2d_box").per_joint))
    page = comparison_section(found, "two").section("k")
    assert "labels or predictions are 2D only" in page
    assert f"{one.of('2d_px').mean:+.2f}" in page
    assert f"{100 * one.of('2d_box').mean:+.2f}" in page
    assert "mm" not in page
    assert "PCK" not in page


def test_changed_labels_are_noticed_in_2d(tmp_path: Path) -> None:
    moved = TRUTH_PX.copy()
    moved[:, 4, 0] += 3.0
    one, _ = flat_run(tmp_path / "one", 3.0, truth_mm=NOWHERE)
    other, _ = flat_run(tmp_path / "two", 4.0, truth_mm=NOWHERE, truth_px=moved)
    with pytest.raises(InputProblem, match=r"labels of s/test are others \(by up to 3 px\)"):
        of_one_set(one, other, 20)


@pytest.mark.slow
def test_the_summary_says_that_only_2d_was_compared(tmp_path: Path, measure: Callable[..., Any]) -> None:
    write_mini_freihand(tmp_path / "set", hands=2, test_hands=5)

    class Flat(KnownErrors):
        """Knows no joints in 3D."""

        def predict(self, crops_rgb: np.ndarray) -> CropPoses:
            poses = super().predict(crops_rgb)
            poses.relative_mm[:] = np.nan
            return poses

    labelled = open_labelled(tmp_path / "set", "test")
    solid = {"leaderboard": False, "name": "solid"}
    measure(tmp_path / "set", "test", KnownErrors(labelled), **solid)
    summary, _ = measure(
        tmp_path / "set", "test", Flat(labelled, noise_mm=20.0), leaderboard=False, name="flat", against="solid"
    )
    facts = {name: text for name, text in summary.facts.items() if "compared" in name or "this -" in name}
    assert list(facts) == [
        "compared in 2D", "this - solid, px of the picture", "this - solid, % of the hand's extent",
    ]  # fmt: skip
    assert facts["compared in 2D"] == "labels or predictions are 2D only"
    assert facts["this - solid, px of the picture"].startswith("+")
    assert facts["this - solid, px of the picture"].endswith("of 5 samples")
    assert all(figure["value"] > 0 for figure in summary.data["against"]["sets"][0]["figures"])
    section = summary.outputs["report.html"].read_text().split("Compared with solid")[1]
    assert "PCK of both" not in section
