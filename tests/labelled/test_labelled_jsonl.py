"""The layout for labels of one's own."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import plain_faults
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.readers.jsonl_lines import jsonl_splits
from simhand_cli.labelled.readers.jsonl_set import JsonlSet

JOINTS = np.random.default_rng(0).normal(0, 40, (21, 3)) + np.array([0, 0, 500])
K = [[200.0, 0, 31.5], [0, 200.0, 31.5], [0, 0, 1]]


def line(**changes: Any) -> dict[str, Any]:
    return {"image": "a b.png", "joints_mm": JOINTS.tolist(), "intrinsics": K, "hand": "left", **changes}


def write(folder: Path, *lines: Any) -> Path:
    cv2.imwrite(str(folder / "a b.png"), np.full((64, 64, 3), 7, np.uint8))
    (folder / "labels.jsonl").write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in lines) + "\n\n")
    return folder


def test_lines_become_samples_of_their_split(tmp_path: Path) -> None:
    half = JOINTS.tolist()
    half[4] = None
    write(tmp_path, line(subject="ann", sequence="s1"), line(split="test", hand="right"), line(joints_mm=half))
    assert recognise(tmp_path) == "jsonl"
    train, test = open_labelled(tmp_path, "train"), open_labelled(tmp_path, "test")
    assert (len(train), len(test)) == (2, 1)
    sample = train[0]
    assert (sample.hand, sample.subject, sample.sequence, test[0].hand) == ("left", "ann", "s1", "right")
    np.testing.assert_allclose(sample.joints_mm, JOINTS, rtol=1e-6)
    np.testing.assert_allclose(sample.joints_px, 200 * sample.joints_mm[:, :2] / sample.joints_mm[:, 2:] + 31.5)
    assert sample.image_rgb.shape == (64, 64, 3)
    assert train[1].joint_valid.tolist() == [k != 4 for k in range(21)]
    np.testing.assert_array_equal(train.joints()[1][1], train[1].joint_valid)
    assert train[1].subject == "unknown"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 2: no JSON"),
        ("[]", "line 2: no JSON object; one JSON object a line is expected"),
        (json.dumps(line(), indent=1), r"line 2: no JSON .*one JSON object a line is expected \(and \d+ more damaged"),
        ({"image": "a b.png", "joints_mm": [], "hand": "left"}, "line 2: intrinsics is missing"),
        (line(hand="both"), "line 2: hand is 'both'"),
        (line(joints_mm=JOINTS[:20].tolist()), "line 2: joints_mm is 20 x 3, not 21 x 3"),
        (line(intrinsics=[["a"] * 3] * 3), "line 2: intrinsics is no table of numbers"),
        (line(joints_mm=5), "line 2: joints_mm is no table of numbers"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, bad: Any, said: str) -> None:
    with pytest.raises(InputProblem, match=said):
        JsonlSet(write(tmp_path, line(), bad))


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    write(tmp_path, line(), line(hand="Right"), line(joints_mm=[[0, 0, 0]]), line(hand="Left"))
    with pytest.raises(InputProblem, match=r"line 2: hand is 'Right'.*\(and 2 more damaged lines\)$"):
        JsonlSet(tmp_path)


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    made = JsonlSet(write(tmp_path, line(), line(image="gone.png")))
    assert len(made) == 1
    assert [(d.count, "gone.png" in d.what) for d in made.problems()] == [(1, True)]


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match="'test' is empty"):
        open_labelled(write(tmp_path, line()), "test")


def test_only_null_is_absent(tmp_path: Path) -> None:
    """Other labels that are no numbers are damaged, and the checks say so."""
    holes = JOINTS.tolist()
    holes[4], holes[7] = None, [1.0, float("nan"), 500.0]
    labelled = JsonlSet(write(tmp_path, line(), line(joints_mm=holes)))
    assert [k for k in range(21) if not labelled.joints()[1][1, k]] == [4]
    assert labelled[1].joint_valid.tolist() == [k != 4 for k in range(21)]
    (fault, *_) = plain_faults(*labelled.joints(), (0, 9))
    assert (fault.kind, fault.samples.tolist()) == ("not-finite", [1])


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, line(), line())
    path = tmp_path / "labels.jsonl"
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(first + b"\n" + rest.replace(b"left", "l\u00e9ft".encode("latin-1")))
    for read in (lambda: JsonlSet(tmp_path), lambda: jsonl_splits(tmp_path)):
        with pytest.raises(InputProblem, match=r"labels\.jsonl, line 2: not UTF-8") as raised:
            read()
        assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").mkdir()
    with pytest.raises(InputProblem, match=r"labels\.jsonl cannot be read: Is a directory"):
        JsonlSet(tmp_path)
