"""Every stage killed with SIGKILL at random moments and run again ends as if it had never been interrupted."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from simhand_cli.video.decode import iterate_frames

KILLS = 5
#: Stage -> words of its command (the workspace is added); small enough for seconds, long enough to be hit midway.
STAGES = {
    "ingest": ["ingest", "{videos}", "{images}", "--fps", "4"],
    "detect": ["detect"],
    "keypoints": ["keypoints"],
    "mine": ["mine", "--topk", "3"],
    "synth": ["synth", "--count", "48", "--image-px", "64", "--workers", "2", "--seed", "5"],
    "pretrain": [
        *("pretrain", "--gpus", "0", "--backbone", "test_resnet", "--epochs", "3", "--batch-size", "32"),
        *("--precision", "fp32", "--checkpoint-every", "2", "--workers", "1"),
    ],
    "finetune": [
        *("finetune", "--gpus", "0", "--encoder", "latest", "--epochs", "3", "--batch-size", "16"),
        *("--precision", "fp32", "--width", "16", "--checkpoint-every", "1", "--workers", "1"),
    ],
    "evaluate": ["evaluate", "--split", "test", "--bootstrap", "50"],
}  # fmt: skip


def _start(words: list[str], workspace: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "simhand_cli", *words, "--workspace", str(workspace)]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _run_to_the_end(words: list[str], workspace: Path) -> float:
    start = time.monotonic()
    assert _start(words, workspace).wait(timeout=300) in (0, 5), words
    return time.monotonic() - start


def _results(workspace: Path) -> dict[str, str]:
    """What a stage leaves: the catalog's content and the hashes of shards, weights and figures."""
    found: dict[str, str] = {}
    if (workspace / "catalog.sqlite").exists():
        with sqlite3.connect(workspace / "catalog.sqlite") as db:
            found["catalog"] = "\n".join(db.iterdump())
    for path in sorted(workspace.rglob("*")):
        name = str(path.relative_to(workspace))
        if path.suffix in (".h5", ".hnsw", ".safetensors") and "checkpoints" not in name:
            found[name] = hashlib.sha256(path.read_bytes().replace(bytes(workspace), b"")).hexdigest()
        elif path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            timeless = [{k: v for k, v in line.items() if not k.endswith("_s") and "time" not in k} for line in lines]
            found[name] = json.dumps(timeless)
    return found


@pytest.fixture(scope="module")
def sources(hand_clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import cv2

    folder = tmp_path_factory.mktemp("sources")
    videos, images = folder / "videos", folder / "images"
    videos.mkdir()
    images.mkdir()
    for clip in hand_clips:
        (videos / clip.name).symlink_to(clip)
    for frame in islice(iterate_frames(hand_clips[0]), 0, 12, 2):
        cv2.imwrite(str(images / f"{frame.frame_index}.jpg"), frame.image_rgb[..., ::-1])
    return {"{videos}": str(videos), "{images}": str(images)}


@pytest.mark.slow
def test_killed_and_run_again_equals_uninterrupted(sources: dict[str, str], tmp_path: Path) -> None:
    rng = random.Random(20260101)
    whole, killed = tmp_path / "whole", tmp_path / "twice"  # of one length: models name their data
    for stage, template in STAGES.items():
        words = [sources.get(word, word) for word in template]
        length_s = _run_to_the_end(words, whole)
        before, hits = tmp_path / "before", 0
        if killed.exists():
            shutil.copytree(killed, before, symlinks=True)
        for _ in range(10 * KILLS):
            process = _start(words, killed)
            time.sleep(rng.uniform(0.2, 0.75) * length_s)
            over = process.poll() is not None  # enough was done before the earlier kills to finish in time
            process.send_signal(signal.SIGKILL)
            process.wait()
            hits += not over
            if hits == KILLS:
                break
            if over:  # from the start of this stage again
                shutil.rmtree(killed)
                if before.exists():
                    shutil.copytree(before, killed, symlinks=True)
        shutil.rmtree(before, ignore_errors=True)
        _run_to_the_end(words, killed)
        assert hits == KILLS, f"{stage} was killed only {hits} times before it was over"
        expected, got = _results(whole), _results(killed)
        assert got.keys() == expected.keys(), stage
        assert [name for name in expected if got[name] != expected[name]] == [], stage
        assert not list((killed / "crops").glob("*.part")), stage
