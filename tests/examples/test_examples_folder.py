"""The scripts of examples/ run as their README says, on small inputs."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_people import write_people

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(script: str, *words: object, cwd: Path) -> str:
    """Run a script as a person would; what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scripts_use_nothing_but_commands_and_their_options():
    allowed = r"commands\.\w+|\w+\.config|console|errors|summary"
    for script in EXAMPLES.glob("*.py"):
        modules = re.findall(r"^from simhand_cli\.(\S+) import|^import simhand_cli", script.read_text(), re.MULTILINE)
        assert modules
        assert all(re.fullmatch(allowed, module) for module in modules), script.name


def test_every_script_is_in_the_readme():
    text = (EXAMPLES / "README.md").read_text()
    scripts = sorted(script.name for script in EXAMPLES.glob("*.py"))
    assert sorted(set(re.findall(r"\]\((\w+\.py)\)", text))) == scripts
    assert sorted(re.findall(r"python examples/(\w+\.py)", text)) == scripts


@pytest.mark.slow
def test_own_videos(tmp_path, hand_clips):
    words = [*hand_clips[:2], "--workspace", "ws", "--fps", 2, "--backbone", "test_resnet", "--max-steps", 2]
    said = run("own_videos.py", *words, cwd=tmp_path)
    encoder = tmp_path / "ws" / "runs" / "pretrain-simhand-test_resnet" / "backbone.safetensors"
    assert f"the encoder is {encoder.relative_to(tmp_path)}" in said
    assert encoder.is_file()


def write_table(path: Path) -> None:
    """A drawn set as a table; one joint of the first hand is not known."""
    people = write_people(path.parent / "pictures", {"train": ["anna", "ben", "cleo"], "test": ["dora"]})
    rows = []
    for line in (people / "labels.jsonl").read_text().splitlines():
        hand = json.loads(line)
        k = hand["intrinsics"]
        joints = {f"{axis}{j}": xyz["xyz".index(axis)] for j, xyz in enumerate(hand["joints_mm"]) for axis in "xyz"}
        rows.append(
            {
                "picture": f"pictures/{hand['image']}",
                "person": hand["subject"],
                "split": hand["split"],
                "hand": hand["hand"],
                "fx": k[0][0],
                "fy": k[1][1],
                "cx": k[0][2],
                "cy": k[1][2],
            }
            | joints
        )
    rows[0] |= {"x20": "", "y20": "", "z20": ""}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_own_labels(tmp_path):
    write_table(tmp_path / "joints.csv")
    words = ["joints.csv", "--workspace", "ws", "--epochs", 1, "--batch-size", 8, "--backbone", "test_resnet"]
    said = run("own_labels.py", *words, cwd=tmp_path)
    labels = [json.loads(line) for line in (tmp_path / "ws" / "own-labels" / "labels.jsonl").read_text().splitlines()]
    assert len(labels) == 32
    assert labels[0]["joints_mm"][20] is None
    found = re.search(r"the model is ([\d.]+) mm off on the test split, the mean hand ([\d.]+) mm", said)
    assert found
    assert float(found[2]) > 1
    assert run("own_labels.py", *words, cwd=tmp_path) == said
