"""Ingest on good and bad files: each is used, or skipped with its reason."""

import os
import shutil
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest

from simhand_cli.commands.ingest import ingest
from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.video.config import IngestConfig
from simhand_cli.video.decode import iterate_frames
from simhand_cli.video.images import image_files
from simhand_cli.video.probe import probe_video
from simhand_cli.workspace.catalog import Catalog
from tests.conftest import write_video


def test_frames_are_chosen_by_time_and_come_back(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=31, fps=10)
    record = probe_video(path, fps=2.0)
    assert (record.width, record.height, record.declared_frames, record.decodable_frames) == (64, 48, 31, 31)
    assert record.frame_index.tolist() == [0, 5, 10, 15, 20, 25, 30]
    np.testing.assert_allclose(record.timestamp_s, record.frame_index / 10.0, atol=1e-3)
    frames = list(iterate_frames(path, record.frame_index))
    assert [f.frame_index for f in frames] == record.frame_index.tolist()
    greys = [int(np.median(f.image_rgb[:, 32:])) for f in frames]
    assert greys == pytest.approx([i * 10 % 250 for i in record.frame_index], abs=4)
    assert len(list(iterate_frames(path))) == 31


def _rotate_metadata(path: Path, degrees: int) -> None:
    """Write a display matrix into an mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    unit, one = 1 << 16, 1 << 30
    a, b, c, d = {90: (0, unit, -unit, 0), 180: (-unit, 0, 0, -unit), 270: (0, -unit, unit, 0)}[degrees]
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, one)
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "v.mp4", frames=3)
    plain = next(iterate_frames(path)).image_rgb
    _rotate_metadata(path, degrees)  # the matrix turns the picture clockwise by so much for display
    shown = next(iterate_frames(path)).image_rgb
    np.testing.assert_array_equal(shown, np.rot90(plain, -degrees // 90))
    record = probe_video(path, 1.0)
    assert (record.width, record.height) == ((48, 64) if degrees % 180 else (64, 48))


def _truncate(source: Path, target: Path, share: float) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


@pytest.mark.slow
def test_bad_files_are_skipped_with_their_reason(tmp_path: Path) -> None:
    clips = tmp_path / "my clips ÄÖ"
    clips.mkdir()
    good = write_video(clips / "Good One.MP4", frames=12, seed=1)
    shutil.copy(good, clips / "zz copy.mp4")
    (clips / "text.mp4").write_text("hello " * 100)
    (clips / "empty.mp4").touch()
    _truncate(write_video(tmp_path / "t.mp4", frames=40, seed=2), clips / "cut.mp4", 0.5)
    whole = write_video(tmp_path / "t.mkv", frames=100, size=(320, 240), seed=3)
    _truncate(whole, clips / "cut.mkv", 0.5)
    os.mkfifo(clips / "pipe.mp4")
    (clips / "notes.txt").write_text("not a video")
    summary = ingest(IngestConfig(paths=[clips, tmp_path / "nowhere"], workspace=tmp_path / "ws", workers=2))
    assert summary.facts["videos"] == 2
    assert summary.facts["duplicates"] == 1
    assert summary.problems == 5
    with Catalog(tmp_path / "ws" / "catalog.sqlite") as catalog:
        reasons = {Path(p).name: reason for p, reason in catalog.sources("skipped")}
        notes = {Path(p).name: note for p, note in catalog.sources("ok")}
        assert catalog.sources("duplicate") == [(str(clips / "zz copy.mp4"), f"same content as {good}")]
    assert set(reasons) == {"text.mp4", "empty.mp4", "cut.mp4", "pipe.mp4", "nowhere"}
    assert "empty" in reasons["empty.mp4"]
    assert "regular file" in reasons["pipe.mp4"]
    assert "no such file" in reasons["nowhere"]
    assert "not a readable video" in reasons["text.mp4"]
    assert "not a readable video" in reasons["cut.mp4"]
    assert notes["Good One.MP4"] == ""
    decoded, declared = (int(w) for w in notes["cut.mkv"].split() if w.isdecimal())
    assert decoded < declared == 100


def test_nothing_usable_is_an_input_problem(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(InputProblem, match="no video or image found"):
        ingest(IngestConfig(paths=[tmp_path / "videos"], workspace=tmp_path / "ws"))
    assert not (tmp_path / "ws").exists()
    (tmp_path / "videos" / "x.mp4").write_text("text")
    with pytest.raises(InputProblem, match=r"x\.mp4"):
        ingest(IngestConfig(paths=[tmp_path / "videos"], workspace=tmp_path / "ws", workers=1))


def test_folders_of_images_are_sequences(tmp_path: Path) -> None:
    import cv2

    for name in ("img10.JPG", "img2.JPG", "img1.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((30, 40, 3), len(name) * 20, np.uint8))
    assert [p.name for p in image_files(tmp_path)] == ["img1.jpg", "img2.JPG", "img10.JPG"]
    (tmp_path / "img3.png").write_bytes(b"broken")
    ingest(IngestConfig(paths=[tmp_path], workspace=tmp_path / "ws", workers=1))
    with Catalog(tmp_path / "ws" / "catalog.sqlite") as catalog:
        (video,) = catalog.videos()
    assert (video.kind, video.width, video.height) == ("images", 40, 30)
    assert video.frame_index.tolist() == [0, 1, 3]
    assert video.note == "1 of 4 images cannot be read"


def test_second_run_reads_nothing_again_and_other_fps_is_refused(tmp_path: Path, monkeypatch) -> None:
    write_video(tmp_path / "v.mp4")
    config = IngestConfig(paths=[tmp_path / "v.mp4"], workspace=tmp_path / "ws", workers=1)
    ingest(config)
    monkeypatch.setattr("simhand_cli.video.ingest.run_pool", lambda *a, **k: pytest.fail("read again"))
    assert ingest(config).facts["videos"] == 1
    with pytest.raises(UsageProblem, match=r"fps=1\.0, now 2\.0"):
        ingest(config.model_copy(update={"fps": 2.0}))


def test_more_videos_are_sampled_as_the_first_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten frames a second; two seconds give ten frames at 5 fps and two at the default."""
    first, more = write_video(tmp_path / "v.mp4"), write_video(tmp_path / "more.mp4", seed=1)
    ingest(IngestConfig(paths=[first], workspace=tmp_path / "ws", workers=1, fps=5))
    summary = ingest(IngestConfig(paths=[more], workspace=tmp_path / "ws", workers=1), Console())
    assert summary.facts["sampled frames"] == 20
    assert "--fps 5.0: as before in this workspace" in capsys.readouterr().err
    assert "fps: 5.0" in (tmp_path / "ws" / "ingest.yaml").read_text()
    for dry_run in (False, True):
        with pytest.raises(UsageProblem, match=r"fps=5\.0, now 1\.0; --fps 5\.0 goes on as before, --redo starts over"):
            ingest(IngestConfig(paths=[more], workspace=tmp_path / "ws", workers=1, fps=1, dry_run=dry_run))


@pytest.mark.slow
def test_changed_file_replaces_its_old_content(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=10)
    config = IngestConfig(paths=[path], workspace=tmp_path / "ws", workers=1)
    ingest(config)
    write_video(path, frames=25, seed=9)
    ingest(config)
    with Catalog(tmp_path / "ws" / "catalog.sqlite") as catalog:
        assert [v.decodable_frames for v in catalog.videos()] == [25]


def _paths(workspace: Path) -> list[str]:
    with Catalog(workspace / "catalog.sqlite") as catalog:
        return [Path(video.path).name for video in catalog.videos()]


@pytest.mark.slow
def test_a_copy_inherits_what_its_changed_original_held(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.mp4", frames=10)
    shutil.copy(first, tmp_path / "b.mp4")
    config = IngestConfig(paths=[tmp_path], workspace=tmp_path / "ws", workers=1)
    ingest(config)
    assert _paths(tmp_path / "ws") == ["a.mp4"]
    write_video(first, frames=15, seed=4)
    ingest(config)
    assert sorted(_paths(tmp_path / "ws")) == ["a.mp4", "b.mp4"]


@pytest.mark.slow
def test_a_renamed_file_is_found_again(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.mp4")
    config = IngestConfig(paths=[tmp_path], workspace=tmp_path / "ws", workers=1)
    ingest(config)
    first.rename(tmp_path / "c.mp4")
    summary = ingest(config)
    assert _paths(tmp_path / "ws") == ["c.mp4"]
    assert (summary.facts["duplicates"], summary.problems) == (0, 0)


def test_a_typo_does_not_poison_the_workspace(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4")
    assert ingest(IngestConfig(paths=[path, tmp_path / "tpyo"], workspace=tmp_path / "ws", workers=1)).problems == 1
    assert ingest(IngestConfig(paths=[path], workspace=tmp_path / "ws", workers=1)).problems == 0
    with pytest.raises(InputProblem, match="tpyo"):
        ingest(IngestConfig(paths=[tmp_path / "tpyo"], workspace=tmp_path / "ws", workers=1))


def test_a_picture_with_a_huge_header_is_one_unreadable_picture(tmp_path: Path) -> None:
    import zlib

    import cv2

    cv2.imwrite(str(tmp_path / "good.png"), np.full((30, 40, 3), 90, np.uint8))
    header = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "huge.png").write_bytes(huge + b"\0" * 100)
    summary = ingest(IngestConfig(paths=[tmp_path], workspace=tmp_path / "ws", workers=1))
    assert summary.facts["videos"] == 1


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4")
    summary = ingest(IngestConfig(paths=[tmp_path / "v.mp4"], workspace=tmp_path / "ws", dry_run=True))
    assert summary.facts["videos"] == 1
    assert not (tmp_path / "ws").exists()


@pytest.mark.slow
def test_catalog_is_the_same_with_one_and_two_workers(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for k in range(4):
        write_video(clips / f"{k}.mp4", frames=10 + 10 * (3 - k), seed=k % 3)
    dumps = []
    for workers in (1, 2):
        ingest(IngestConfig(paths=[clips], workspace=tmp_path / f"ws{workers}", workers=workers))
        with sqlite3.connect(tmp_path / f"ws{workers}" / "catalog.sqlite") as db:
            dumps.append(list(db.iterdump()))
    assert dumps[0] == dumps[1]
