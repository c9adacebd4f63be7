"""Paired comparison of two evaluations: by hand, and its refusals."""

from pathlib import Path

import numpy as np
import pytest

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.compare import compare
from simhand_cli.evaluation.compare_report import comparison_section
from simhand_cli.evaluation.predictions import PREDICTIONS_SCHEMA, PREDICTIONS_VERSION, read_predictions
from simhand_cli.evaluation.score import Scale
from simhand_cli.workspace.shards import write_h5

RNG = np.random.default_rng(2)
TRUTH = RNG.normal(0, 40, (30, 21, 3)) + np.array([0, 0, 500])
VALID = RNG.random((30, 21)) > 0.1
VALID[:, [0, 9]] = True


def write(folder: Path, noise: float, rows: np.ndarray | None = None, truth: np.ndarray = TRUTH) -> Path:
    """Predictions that are the truth plus noise; only ``rows``, in that order."""
    rows = np.arange(30) if rows is None else rows
    folder.mkdir()
    made = np.random.default_rng(int(noise * 10))
    error = made.normal(0, noise, truth.shape)
    relative = (TRUTH - TRUTH[:, :1] + error)[rows]
    write_h5(
        folder / "predictions.h5", PREDICTIONS_SCHEMA, PREDICTIONS_VERSION,
        {
            "set_index": np.zeros(len(rows), np.int32),
            "set_names": np.array(["s/test"], dtype=object),
            "sample_ids": np.array([f"id{k}" for k in rows], dtype=object),
            "sequences": np.array([f"q{k // 2}" for k in rows], dtype=object),
            "truth_mm": truth[rows],
            "joint_valid": VALID[rows].astype(np.uint8),
            "relative_mm": relative.astype(np.float32),
            "camera_mm": (TRUTH + error)[rows].astype(np.float32),
            "joints_px": np.full((len(rows), 21, 2), 10.0, np.float32),
            "found": (rows % 7 != 3).astype(np.uint8),
        },
        {},
    )  # fmt: skip
    return folder / "predictions.h5"


def slow_root_difference(first: Path, second: Path, samples: list[int]) -> float:
    """Mean over joints of the mean over samples of the difference of wrist-aligned errors, one number at a time."""
    import h5py

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
    import h5py

    with h5py.File(bad) as file:
        there = sorted(int(name[2:]) for name in file["sample_ids"][:].astype(str))
    samples = [k for k in there if k % 7 != 3]
    found = compare(good, bad, Scale(), 200, 0)
    assert found.samples == len(samples)
    by_name = {one.alignment: one for one in found.differences}
    assert by_name["root"].mean == pytest.approx(slow_root_difference(good, bad, samples), abs=1e-4)
    for one in found.differences:
        assert one.interval[0] < one.mean < one.interval[1] < 0
        assert one.better > 0.9
    swapped = compare(bad, good, Scale(), 200, 0)
    assert swapped.differences[1].mean == pytest.approx(-by_name["root"].mean)
    assert found.record()["figures"][1]["alignment"] == "root"


def test_parts_of_a_difference_by_hand(tmp_path: Path) -> None:
    """Joints, samples, means and curves of the wrist-aligned difference, one number at a time."""
    first, second = write(tmp_path / "one", 4.0), write(tmp_path / "two", 6.0)
    found = compare(first, second, Scale(), 20, 0)
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
    found = compare(write(tmp_path / "one", 5.0), write(tmp_path / "two", 5.5), Scale(), 20, 0)
    per_sample = found.of("root_bone_scale").per_sample
    gap = per_sample[:, 0] - per_sample[:, 1]
    gains, losses = found.extremes(3)
    assert gap[gains].tolist() == sorted(gap)[:3]
    assert gap[losses].tolist() == sorted(gap, reverse=True)[:3]
    every = found.extremes(100)
    assert sorted(every[0] + every[1]) == list(range(found.samples))
    assert gap[every[0]].max() < 0 < gap[every[1]].min()
    page = comparison_section(found, "the <other>").section("against-x")
    for row in gains + losses:
        assert found.keys[row] in page
    assert "Compared with the &lt;other&gt;" in page
    assert f"{found.of('root').mean:+.2f}" in page


def test_figures_that_cannot_be_taken_are_null(tmp_path: Path) -> None:
    """A constant pose may have no place in the camera."""
    import json

    import h5py

    one, other = write(tmp_path / "one", 5.0), write(tmp_path / "other", 6.0)
    with h5py.File(other, "r+") as file:
        file["camera_mm"][:] = np.nan
    found = compare(one, other, Scale(), 50, 0)
    figures = {f["alignment"]: f for f in json.loads(json.dumps(found.record(), allow_nan=False))["figures"]}
    assert figures["absolute"]["value"] is None
    assert figures["root"]["value"] < 0
    assert "Compared with" in comparison_section(found, "other").html()


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 5.0)
    for difference in compare(one, one, Scale(), 50, 0).differences:
        assert (difference.mean, difference.interval, difference.better) == (0.0, (0.0, 0.0), 0.0)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 5.0, np.arange(10))
    other = write(tmp_path / "other", 5.0, np.arange(10, 30))
    with pytest.raises(InputProblem, match="no sample in common"):
        compare(one, other, Scale(), 50, 0)
    shifted = TRUTH.copy()
    shifted[:, 4] += 2.0
    moved = write(tmp_path / "moved", 5.0, truth=shifted)
    with pytest.raises(InputProblem, match=r"labels are others \(by up to 2 mm\)"):
        compare(one, moved, Scale(), 50, 0)
    with pytest.raises(InputProblem, match="is missing"):
        compare(one, tmp_path / "nowhere" / "predictions.h5", Scale(), 50, 0)
