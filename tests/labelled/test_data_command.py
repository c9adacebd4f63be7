"""``simhand data check``: what it says, what it exits with, what it writes."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from memory_set import SIZE_PX, K, posed_hands
from mini_freihand import write_mini_freihand

from simhand_cli.commands.data import data
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.finetune.training_data import choose_samples
from simhand_cli.labelled.config import DataConfig
from simhand_cli.summary import Summary

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of one's own: 20 hands to train on, 6 to test on, three hands a recording."""
    folder = tmp_path_factory.mktemp("own") / "set"
    folder.mkdir()
    joints, right = posed_hands(26, seed=9)
    lines = []
    for k in range(26):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((SIZE_PX[1], SIZE_PX[0], 3), 9 * k, np.uint8))
        lines.append({
            "image": f"{k}.png", "joints_mm": joints[k].tolist(), "intrinsics": K.tolist(),
            "hand": "right" if right[k] else "left", "split": "train" if k < 20 else "val",
            "subject": f"p{k // 10}", "sequence": f"s{k // 3}", "camera": f"c{k % 2}",
        })  # fmt: skip
    _write(folder, lines)
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def _write(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "labels.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


def check(folder: Path, **options: Any) -> Summary:
    return data(DataConfig(action="check", path=folder, workspace=folder.parent / "ws", **options))


def test_a_clean_set_is_described_and_shown(own: Path) -> None:
    summary = check(own)
    assert (summary.problems, summary.dropped) == (0, [])
    facts = summary.facts
    assert (facts["layout"], facts["splits"]) == ("jsonl", "train, val")
    assert [facts[f"train: {name}"] for name in ("samples", "subjects", "sequences")] == [20, 2, 7]
    assert (facts["train: cameras"], facts["val: cameras"]) == ("2", "2")
    assert facts["train: right / left hands"] == "13 / 7"
    assert facts["train: joints labelled"].startswith("100.0%, all 21 in 100.0%")
    joints = np.array([line["joints_mm"] for line in _lines(own)[:20]])
    low, middle, high = np.percentile(joints[:, 0, 2], (25, 50, 75))
    assert facts["train: distance of the wrist (mm)"] == f"{middle:.4g} (half of them {low:.4g} to {high:.4g})"
    spans = [np.linalg.norm(hand[:, None] - hand, axis=2).max() for hand in joints]
    assert facts["train: hand span (mm)"].startswith(f"{np.median(spans):.4g} ")
    bone = np.median(np.linalg.norm(joints[:, 8] - joints[:, 7], axis=1))
    assert facts["train: bones, wrist outwards (mm)"].split("index ")[1].split(",")[0].split()[-1] == f"{bone:.3g}"
    assert facts["train: picture sizes (px)"] == "320x240; 20 pictures decoded"
    assert summary.outputs == {"samples": own.parent / "ws" / "runs" / "data-set" / "sheet.png"}
    sheet = cv2.imread(str(summary.outputs["samples"]))
    alone = cv2.imread(str(check(own, split="val", out=own.parent / "val.png").outputs["samples"]))
    assert sheet.shape[0] > alone.shape[0] > 192
    assert summary.hint == f"simhand finetune --data {own} --encoder none"
    run = own.parent / "ws" / "runs" / "pretrain-one"
    run.mkdir()
    (run / "backbone.safetensors").write_bytes(b"")
    assert check(own).hint == f"simhand finetune --data {own}"


def test_every_finding_is_counted_with_its_first_example(own: Path) -> None:
    lines = _lines(own)
    lines[1]["joints_mm"] = (np.array(lines[1]["joints_mm"]) * 3).tolist()
    for k in (4, 5):
        lines[k]["hand"] = "left" if lines[k]["hand"] == "right" else "right"
    lines[24]["image"] = "gone.png"
    _write(own, lines)
    (own / "7.png").write_bytes(b"no picture")
    summary = check(own)
    found = [(found.what, found.count) for found in summary.dropped]
    assert found == [
        ("train samples of 20 decoded pictures, first: number 7", 1),
        ("train samples, first: number 1", 1),
        ("train samples, first: number 4", 2),
        (f"pictures of {own}, first: gone.png", 1),
    ]
    assert summary.problems == 5
    assert summary.hint == (
        "look at the sheet; 'simhand finetune' leaves out 4 of 20 samples; "
        "'simhand finetune --split val' leaves out 1 of 6 samples; "
        "'simhand evaluate --split val' leaves out 1 of 6 samples"
    )
    record = {fault["kind"]: fault for fault in summary.data["train"]["faults"]}
    assert {kind: fault["samples"] for kind, fault in record.items()} == {"picture": [7], "span": [1], "side": [4, 5]}
    assert "50-300 mm" in record["span"]["why"]
    assert str(own / "7.png") in record["picture"]["why"]


def test_what_is_found_is_left_out_of_training_or_refuses_it(own: Path) -> None:
    lines = _lines(own)
    mirrored = [{**line, "joints_mm": (np.array(line["joints_mm"]) * [-1, 1, 1]).tolist()} for line in lines]
    _write(own, mirrored[:2] + lines[2:])
    chosen = choose_samples([own], val_fraction=0.2, label_fraction=1, seed=0)
    assert [(left.count, "other hand's" in left.why) for left in chosen.dropped] == [(2, True)]
    assert len(chosen.train) + len(chosen.val) == 18
    assert check(own).data["train"]["faults"][0]["samples"] == [0, 1]
    _write(own, mirrored)
    with pytest.raises(InputProblem, match=f"--data {own}: 20 of 20 clear hands.*simhand data check"):
        choose_samples([own], val_fraction=0.2, label_fraction=1, seed=0)
    fault = check(own).data["train"]["faults"][0]
    assert (fault["kind"], fault["count"], fault["whole_set"]) == ("side", 20, True)
    assert "'simhand finetune' refuses this set: 20 of 20 clear hands" in check(own).hint


def test_only_a_choice_of_pictures_is_decoded_unless_all_are_wanted(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simhand_cli.labelled.checks.check_set._DECODED", 5)
    for k in range(20):
        (own / f"{k}.png").write_bytes(b"no picture")
    assert [found.count for found in check(own, split="train").dropped] == [5]
    assert [found.count for found in check(own, split="train", all_images=True).dropped] == [20]
    assert check(own, dry_run=True).facts["train: pictures to decode"] == 5


@pytest.mark.slow
def test_a_split_that_is_absent_is_no_finding_but_a_damaged_one_is(tmp_path: Path) -> None:
    root = tmp_path / "FreiHAND_pub_v2"
    write_mini_freihand(root, hands=3)
    summary = check(root)
    assert (summary.facts["splits"], summary.problems) == ("train, test", 0)
    (root / "evaluation_xyz.json").write_text("[[[1.0, 2")
    summary = check(root)
    assert (summary.facts["splits"], summary.problems) == ("train", 1)
    assert "evaluation_xyz.json" in summary.dropped[0].why
    (root / "evaluation_K.json").unlink()
    summary = check(root)
    assert (summary.facts["splits"], summary.problems) == ("train", 0)


def test_every_missing_file_and_damaged_picture_is_named(own: Path) -> None:
    lines = _lines(own)
    for k in (2, 11, 24):
        lines[k]["image"] = f"gone{k}.png"
    _write(own, lines)
    (own / "7.png").write_bytes(b"no picture")
    (own / "9.png").unlink()
    (own / "9.png").mkdir()
    (own / "12.png").write_bytes(b"nor this")
    for all_images in (False, True):
        summary = check(own, all_images=all_images)
        train = summary.as_json()["data"]["train"]
        assert train["left_out"] == [{
            "what": f"pictures of {own}", "why": "file is missing", "count": 3,
            "names": ["gone2.png", "9.png", "gone11.png"],
        }]  # fmt: skip
        # Positions in the split: two and three of the samples before are left out.
        assert train["damaged_pictures"] == {
            "6": f"{own / '7.png'}: cannot be decoded as an image",
            "9": f"{own / '12.png'}: cannot be decoded as an image",
        }
        assert [entry["names"] for entry in summary.data["val"]["left_out"]] == [["gone24.png"]]
        assert str(own / "7.png") in next(found.why for found in summary.dropped if "picture" in found.why)


def test_damaged_lines_refuse_their_split_and_the_hint_says_so(own: Path) -> None:
    lines = _lines(own)
    for k in (3, 6):
        lines[k]["hand"] = "Right"
    _write(own, lines)
    summary = check(own)
    assert [found.what for found in summary.dropped] == ["split 'train'"]
    assert "line 4: hand is 'Right', not 'right' or 'left' (and 1 more damaged lines)" in summary.dropped[0].why
    assert summary.hint.endswith("'simhand finetune' refuses its split 'train'")


def test_unknown_keys_unusual_splits_and_pictures_of_two_splits_are_named(own: Path) -> None:
    lines = _lines(own)
    for k in (3, 6):
        lines[k]["subjct"] = lines[k].pop("subject")
    lines[1]["split"] = "Train"
    lines[22]["image"] = "./2.png"
    _write(own, lines)
    found = {entry.why: (entry.what, entry.count, entry.change) for entry in check(own).dropped}
    file = f"lines of {own / 'labels.jsonl'}"
    assert found["unknown key 'subjct', not read"] == (file, 2, "did you mean 'subject'?")
    assert found["split 'Train' is none of train, val, test"] == (file, 1, "did you mean 'train'?")
    assert found["in several splits: train, val"][:2] == (f"pictures of {own}, first: 2.png", 1)


def test_what_a_set_does_not_name_is_unknown(own: Path) -> None:
    kept = ("image", "joints_mm", "intrinsics", "hand")
    _write(own, [{name: line[name] for name in kept} for line in _lines(own)])
    facts = check(own).facts
    assert [facts[f"train: {name}"] for name in ("subjects", "sequences", "cameras")] == ["unknown"] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("labelled", "--out", "taken/sheet.png"), "--out taken/sheet.png cannot be used: "),
        (("labelled", "--out", "/proc/x.png"), "--out /proc/x.png cannot be used: No such file or directory"),
        (("labelled", "-w", "taken"), "--workspace taken cannot be used: "),
        (("taken",), "taken is a file, not a folder"),
    ],
)
def test_a_place_that_cannot_be_used_is_named(own: Path, run_cli: Any, words: tuple[str, ...], said: str) -> None:
    own.rename(own.parent / "labelled")
    (own.parent / "taken").write_text("")
    done = run_cli("data", "check", *words, cwd=own.parent, PYTHONPATH=ROOT)
    assert done.returncode in (3, 4)
    assert said in done.stderr.splitlines()[-1]
    assert ".part" not in done.stderr


def test_dry_run_writes_nothing(own: Path) -> None:
    summary = check(own, dry_run=True)
    assert summary.facts["train: samples"] == 20
    assert sorted(p.name for p in own.parent.iterdir()) == ["set"]


def test_no_sheet_where_none_is_wanted(own: Path) -> None:
    assert check(own, samples_shown=0).outputs == {}
    assert not (own.parent / "ws").exists()
    with pytest.raises(UsageProblem, match=r"--out x\.gif"):
        check(own, out=Path("x.gif"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "ACTION must be given: check"),
        (("check",), 2, "PATH must be given"),
        (("chek", "set"), 2, "'action': should be 'check', got 'chek'"),
        (("check", "nowhere"), 3, "simhand data: nowhere: no such folder"),
        (("check", "set", "--split", "test"), 3, "its split 'test' is empty"),
    ],
)
def test_mistakes_end_in_one_line(made: Path, run_cli: Any, words: tuple[str, ...], code: int, said: str) -> None:
    done = run_cli("data", *words, cwd=made.parent, PYTHONPATH=ROOT)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_exit_codes_and_output_of_the_command_line(own: Path, run_cli: Any) -> None:
    assert run_cli("data", "check", "set", cwd=own.parent, PYTHONPATH=ROOT).returncode == 0
    (own / "3.png").unlink()
    done = run_cli("data", "check", "set", cwd=own.parent, PYTHONPATH=ROOT)
    assert done.returncode == 5, done.stderr
    assert "  found 1 pictures of set, first: 3.png: file is missing\n" in done.stdout
    strict = run_cli("data", "check", "set", "--strict", "--json", cwd=own.parent, PYTHONPATH=ROOT)
    assert strict.returncode == 3
    assert json.loads(strict.stdout)["problems"] == 1
    (own / "4.png").unlink()
    done = run_cli("data", "check", "set", cwd=own.parent, PYTHONPATH=ROOT)
    assert "  found 2 pictures of set, first: 3.png: file is missing\n" in done.stdout
