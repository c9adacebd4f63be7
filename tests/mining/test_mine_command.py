"""The command on made-up workspaces: files, skipping, refusing, killing, and what it says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic_workspace import add_video, make_workspace, open_hands

from simhand_cli.commands.mine import mine
from simhand_cli.console import Console
from simhand_cli.crops.crop_set import load_crop_set
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.mining.config import MineConfig
from simhand_cli.mining.pair_sheet import choose_queries
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.catalog import Catalog, StageRecord, VideoRecord
from simhand_cli.workspace.paths import Workspace


def hashes(workspace: Workspace) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(workspace.mining_dir.iterdir())}


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_files_keep_the_contract(tmp_path: Path, search: str) -> None:
    workspace = make_workspace(tmp_path, [12, 7, 9, 1])
    summary = mine(MineConfig(workspace=tmp_path, topk=20, search=search, sheet_queries=4))
    crops = load_crop_set(workspace)
    with h5py.File(workspace.mining_dir / "embeddings.h5") as e, h5py.File(workspace.mining_dir / "pairs.h5") as p:
        assert (e.attrs["schema"], p.attrs["schema"]) == ("simhand.embeddings", "simhand.pairs")
        embedding, video = e["embedding"][:], e["video_index"][:]
        positive, distance, anchor = p["positive"][:], p["distance"][:], p["anchor"][:]
        assert e["video_ids"].asstr()[:].tolist() == crops.video_ids
        assert np.array_equal(e["keypoints_px"][:], crops.keypoints_px)
        assert np.array_equal(e["crop_index"][:], crops.crop_index)
        assert (p.attrs["exclusion"], p.attrs["index"], p.attrs["topk"]) == ("same-video", search, 20)
        assert 0.9 <= p.attrs["recall"] <= 1.0
        assert (embedding.dtype, positive.dtype, distance.dtype) == (np.float32, np.int64, np.float32)
        assert e.attrs["pca_dim"] == embedding.shape[1] == 14
        assert e.attrs["crop_size_px"] == 224
    assert anchor.tolist() == list(range(29))
    filled = positive >= 0
    assert filled.sum(axis=1).tolist() == [min(20, 29 - int((video == v).sum())) for v in video]
    assert np.isinf(distance[~filled]).all()
    rows, places = np.nonzero(filled)
    others = positive[rows, places]
    assert (video[rows] != video[others]).all()
    expected = np.linalg.norm(embedding[rows].astype(np.float64) - embedding[others], axis=1)
    np.testing.assert_allclose(distance[rows, places], expected, rtol=1e-6)
    unfilled = next(item for item in summary.dropped if item.change == "--topk")
    assert unfilled.count == (~filled).sum()
    assert summary.facts["pairs"] == filled.sum()
    report = (workspace.mining_dir / "report.html").read_text()
    assert "data:image/" in report
    assert "http" not in report
    assert (workspace.mining_dir / "pairs.png").stat().st_size > 10_000


@pytest.mark.slow
def test_second_run_skips_and_redo_ends_in_the_same_files(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [8, 8, 8])
    first = mine(MineConfig(workspace=tmp_path))
    before, times = hashes(workspace), [p.stat().st_mtime_ns for p in sorted(workspace.mining_dir.iterdir())]
    second = mine(MineConfig(workspace=tmp_path, threads=3))
    assert second.facts["status"] == "already done, nothing to do"
    assert {k: v for k, v in second.facts.items() if k != "status"} == first.facts
    assert second.dropped == first.dropped
    assert [p.stat().st_mtime_ns for p in sorted(workspace.mining_dir.iterdir())] == times
    mine(MineConfig(workspace=tmp_path, redo=True))
    assert hashes(workspace) == before


@pytest.mark.slow
def test_changed_option_is_named_and_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [8, 8])
    mine(MineConfig(workspace=tmp_path))
    before = hashes(workspace)
    with pytest.raises(UsageProblem, match=r"pca_dim=14, now 10.*--redo"):
        mine(MineConfig(workspace=tmp_path, pca_dim=10))
    assert hashes(workspace) == before
    mine(MineConfig(workspace=tmp_path, pca_dim=10, redo=True))
    assert hashes(workspace) != before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs.h5", "index.hnsw", "report.html", "mine.json"])
def test_missing_or_damaged_result_is_made_again(tmp_path: Path, name: str) -> None:
    workspace = make_workspace(tmp_path, [6, 6])
    mine(MineConfig(workspace=tmp_path, sheet_queries=2))
    before = hashes(workspace)
    path = workspace.mining_dir / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    mine(MineConfig(workspace=tmp_path, sheet_queries=2))
    assert hashes(workspace) == before
    path.unlink()
    mine(MineConfig(workspace=tmp_path, sheet_queries=2))
    assert hashes(workspace) == before


@pytest.mark.slow
def test_new_video_is_mined_without_being_asked(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [6, 6])
    mine(MineConfig(workspace=tmp_path))
    with Catalog(workspace.catalog_path) as catalog:
        add_video(workspace, catalog, "ff" * 8, open_hands(np.random.default_rng(5), 4))
    assert mine(MineConfig(workspace=tmp_path)).facts["crops"] == 16


def test_an_open_option_follows_the_earlier_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = make_workspace(tmp_path, [6, 6])
    mine(MineConfig(workspace=tmp_path, topk=5))
    before = hashes(workspace)
    assert mine(MineConfig(workspace=tmp_path), Console()).facts["status"] == "already done, nothing to do"
    assert "--topk 5: as before in this workspace" in capsys.readouterr().err
    assert mine(MineConfig(workspace=tmp_path, dry_run=True)).facts["similar hands wanted per crop"] == 5
    with pytest.raises(UsageProblem, match=r"topk=5, now 1; --topk 5 goes on as before, --redo mines again"):
        mine(MineConfig(workspace=tmp_path, topk=1))
    assert hashes(workspace) == before
    with Catalog(workspace.catalog_path) as catalog:
        add_video(workspace, catalog, "ff" * 8, open_hands(np.random.default_rng(5), 4))
    assert mine(MineConfig(workspace=tmp_path)).facts["similar hands wanted per crop"] == 5


def test_videos_that_wait_are_named_with_their_command(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [6, 6])
    mine(MineConfig(workspace=tmp_path))
    assert mine(MineConfig(workspace=tmp_path)).dropped == []
    frames = np.arange(3, dtype=np.int64)
    with Catalog(workspace.catalog_path) as catalog:
        for name in ("new", "other"):
            path, video_id = f"/videos/{name}.mp4", name[0] * 16
            video = VideoRecord(
                video_id, video_id * 4, "video", path, 64, 48, 0, 3, 3, 3.0, 1.0, "h264", frames, frames / 1.0
            )
            catalog.add_video(path, "1:1", video)
    again = mine(MineConfig(workspace=tmp_path))
    both = "simhand detect, simhand keypoints"
    assert again.facts["status"] == f"already done; new videos wait for {both}"
    (waiting,) = again.dropped
    assert (waiting.what, waiting.count, waiting.change) == ("videos, first: /videos/new.mp4", 2, both)
    with Catalog(workspace.catalog_path) as catalog:
        catalog.record_stage("detect", StageRecord("n" * 16, "skipped", reason="no hand"))
        catalog.record_stage("detect", StageRecord("o" * 16, "done"))
    (waiting,) = mine(MineConfig(workspace=tmp_path, dry_run=True)).dropped
    assert (waiting.what, waiting.change) == ("video /videos/other.mp4", "simhand keypoints")


def test_unusable_crops_are_counted(tmp_path: Path) -> None:
    workspace, rng = Workspace(tmp_path), np.random.default_rng(3)
    with Catalog(workspace.catalog_path) as catalog:
        hands = open_hands(rng, 6)
        hands[2, 4, 1] = np.nan
        add_video(workspace, catalog, "a" * 16, hands, valid=np.array([1, 0, 1, 1, 1, 1]))
        confidence = np.array([0.9, 0.1, 0.9])
        add_video(workspace, catalog, "b" * 16, open_hands(rng, 3), confidence=confidence)
    summary = mine(MineConfig(workspace=tmp_path, min_confidence=0.3))
    assert summary.facts["crops"] == 6
    assert [(item.count, item.change) for item in summary.dropped] == [
        (1, ""),
        (1, "--min-confidence"),
        (1, ""),
    ]
    with h5py.File(workspace.mining_dir / "embeddings.h5") as file:
        assert file.attrs["excluded_nonfinite"] == 1
        assert file["crop_index"][:].tolist() == [0, 3, 4, 5, 0, 2]


def test_too_little_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match="ingest"):
        mine(MineConfig(workspace=tmp_path / "nothing"))
    make_workspace(tmp_path / "one", [9])
    with pytest.raises(InputProblem, match=r"9 usable crops of 9, from 1 video.*ingest more videos"):
        mine(MineConfig(workspace=tmp_path / "one"))
    make_workspace(tmp_path / "two", [1, 1])
    summary = mine(MineConfig(workspace=tmp_path / "two"))
    assert summary.facts["pairs"] == 2
    with pytest.raises(InputProblem, match="0 usable crops"):
        mine(MineConfig(workspace=tmp_path / "two", min_confidence=0.95, redo=True))


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [6, 6])
    summary = mine(MineConfig(workspace=tmp_path, dry_run=True))
    assert summary.facts["crops"] == 12
    assert "time, roughly" in summary.facts
    assert not workspace.mining_dir.exists()


def test_identical_hands_are_paired_by_row(tmp_path: Path) -> None:
    workspace, hand = Workspace(tmp_path), open_hands(np.random.default_rng(1), 1)
    with Catalog(workspace.catalog_path) as catalog:
        for video_id in ("a" * 16, "b" * 16, "c" * 16):
            add_video(workspace, catalog, video_id, hand.repeat(3, axis=0))
    mine(MineConfig(workspace=tmp_path, topk=2))
    with h5py.File(workspace.mining_dir / "pairs.h5") as file:
        assert file["positive"][:].tolist() == [[3, 4]] * 3 + [[0, 1]] * 6
        assert (file["distance"][:] == 0).all()


def test_queries_come_from_different_videos_first() -> None:
    video = np.array([0] * 50 + [1] * 3 + [2] * 2, np.int32)
    chosen = choose_queries(video, 5, seed=4)
    assert len(set(chosen.tolist())) == 5
    assert sorted(video[chosen[:3]].tolist()) == [0, 1, 2]
    assert sorted(video[chosen[3:]].tolist()) != [0, 0]
    assert chosen.tolist() == choose_queries(video, 5, seed=4).tolist()
    assert len(choose_queries(video, 500, seed=4)) == 55


_CHILD = """
import os, signal, sys
from pathlib import Path
from simhand_cli.commands.mine import mine
from simhand_cli.mining.config import MineConfig
replace, count = os.replace, [int(sys.argv[2])]
def counting(source, target):
    count[0] -= 1
    if count[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = counting
mine(MineConfig(workspace=Path(sys.argv[1]), topk=2, sheet_queries=3, redo="redo" in sys.argv))
"""


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 2, 4, 6])
def test_killed_between_any_two_files_and_run_again(tmp_path: Path, written: int) -> None:
    config = MineConfig(workspace=tmp_path, topk=2, sheet_queries=3)
    workspace = make_workspace(tmp_path, [6, 6, 5])
    mine(config)
    before = hashes(workspace)
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path), str(written), "redo"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL
    assert not (workspace.mining_dir / "mine.json").exists()
    mine(config)
    assert hashes(workspace) == before


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, [40, 40, 40])
    command = [sys.executable, "-c", _CHILD, str(tmp_path), "1000"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for delay in (0.3, 0.9, 1.3):
        child = subprocess.Popen(command, env=env)
        time.sleep(delay)
        child.kill()
        child.wait(10)
    mine(MineConfig(workspace=tmp_path, topk=2, sheet_queries=3))
    after_kills = hashes(workspace)
    fresh = make_workspace(tmp_path / "fresh", [40, 40, 40])
    mine(MineConfig(workspace=tmp_path / "fresh", topk=2, sheet_queries=3))
    alike = hashes(fresh)
    assert after_kills == alike
    manifest = json.loads((workspace.mining_dir / "mine.json").read_text())
    assert set(manifest["outputs"]) == set(after_kills) - {"mine.json", "config.yaml"}
