"""Atomic writes, shards, lock, catalog, balance and the stage runner."""

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhand_cli.console import Console
from simhand_cli.crops.balance import balance_keys, choose_balance, load_balance, save_balance
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.stages.local_pool import StageJob, run_pool
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.stages.video_stage import pending, run_stage
from simhand_cli.workspace.atomic import atomic_path, remove_leftovers, write_json
from simhand_cli.workspace.catalog import Catalog, StageRecord, VideoRecord
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5, pack_blobs, write_h5


def test_atomic_write_leaves_the_old_file_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"v": 1})

    def fail() -> None:
        with atomic_path(target) as part:
            part.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == '{\n  "v": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_atomic_write_creates_folders_and_leftovers_are_swept(tmp_path: Path) -> None:
    write_json(tmp_path / "x" / "y.json", [])
    leftover = tmp_path / "x" / "z.h5.123.part"
    leftover.touch()
    remove_leftovers(tmp_path / "x")
    assert not leftover.exists()
    assert (tmp_path / "x" / "y.json").exists()


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"v": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_shards_are_reproducible_and_checked(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "names": np.array(["x", "ä"], dtype=object)}
    first = write_h5(tmp_path / "1.h5", "simhand.test", 1, arrays, {"k": "v"})
    second = write_h5(tmp_path / "2.h5", "simhand.test", 1, arrays, {"k": "v"})
    assert first == second
    with open_h5(tmp_path / "1.h5", "simhand.test", 1) as file:
        np.testing.assert_array_equal(file["a"][:], arrays["a"])
        assert file["names"].asstr()[:].tolist() == ["x", "ä"]
        assert file.attrs["k"] == "v"
    with pytest.raises(InputProblem, match=r"version 1; this simhand reads simhand\.test version 2"):
        open_h5(tmp_path / "1.h5", "simhand.test", 2).__enter__()
    (tmp_path / "3.h5").write_bytes(b"not hdf5")
    for name in ("3.h5", "missing.h5"):
        with pytest.raises(InputProblem, match=name):
            open_h5(tmp_path / name, "simhand.test", 1).__enter__()


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_packed_blobs_come_back(blobs: list[bytes]) -> None:
    flat, offsets = pack_blobs(blobs)
    assert [flat[a:b].tobytes() for a, b in itertools.pairwise(offsets)] == blobs


def test_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from simhand_cli.workspace.lock import workspace_lock\n"
        f"with workspace_lock(Path({str(tmp_path)!r}), 'detect'):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(EnvironmentProblem, match=rf"pid {holder.pid} on .*simhand detect"):
            workspace_lock(tmp_path, "mine").__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with workspace_lock(tmp_path, "mine"):
        pass


def _video(video_id: str = "a" * 16, path: str = "/v.mp4", frames: int = 3) -> VideoRecord:
    index = np.arange(frames, dtype=np.int64)
    return VideoRecord(
        video_id, video_id * 4, "video", path, 64, 48, 0, frames, frames, 1.0, 10.0, "mpeg4", index, index / 10.0, "n"
    )


def test_catalog_round_trip_duplicates_and_stages(tmp_path: Path) -> None:
    original = tmp_path / "v.mp4"
    original.touch()
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert catalog.add_video(str(original), "1:1", _video(path=str(original)))
        assert not catalog.add_video("/copy.mp4", "1:1", _video(path="/copy.mp4"))
        catalog.skip_source("/bad.mp4", "0:0", "the file is empty")
        catalog.record_stage("detect", StageRecord("a" * 16, "done", "ff", 10, {"left": 2}))
    with Catalog(tmp_path / "c.sqlite") as catalog:
        (video,) = catalog.videos()
        assert (video.path, video.codec, video.note) == (str(original), "mpeg4", "n")
        np.testing.assert_array_equal(video.frame_index, [0, 1, 2])
        np.testing.assert_allclose(video.timestamp_s, [0, 0.1, 0.2])
        assert catalog.sources("duplicate") == [("/copy.mp4", f"same content as {original}")]
        assert catalog.sources("skipped") == [("/bad.mp4", "the file is empty")]
        assert catalog.stage("detect")["a" * 16].counts == {"left": 2}


def test_foreign_files_are_not_catalogs(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_text("hello, this is certainly not a database file of any kind" * 20)
    with pytest.raises(InputProblem, match="not a simhand catalog"):
        Catalog(tmp_path / "c.sqlite")
    with Catalog(tmp_path / "d.sqlite") as catalog:
        catalog.set_meta("schema_version", "99")
    with pytest.raises(InputProblem, match="schema version 99"):
        Catalog(tmp_path / "d.sqlite")


def test_no_workspace_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match="simhand ingest"):
        Workspace.open(tmp_path)
    with pytest.raises(UsageProblem, match="--name"):
        Workspace(tmp_path).run_dir("pretrain", "../x")


def test_changed_options_are_named() -> None:
    refuse_changes("detect", None, {"a": 1}, "--redo")
    refuse_changes("detect", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, "--redo")
    with pytest.raises(UsageProblem, match=r"b\.c=2, now 3; --redo"):
        refuse_changes("detect", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, "--redo")
    one, two = {"of": ["0" * 64], "z": 1}, {"of": ["f" * 64, "0" * 64], "z": 1}
    with pytest.raises(UsageProblem, match=r"with other data or another model; --redo$"):
        refuse_changes("evaluate", one, two, "--redo")
    with pytest.raises(UsageProblem, match=r"z=1, now 2 and 1 more; --redo$"):
        refuse_changes("evaluate", one, {**two, "z": 2}, "--redo")


@given(st.lists(st.integers(0, 1), max_size=60), st.integers(0, 5))
def test_balance_keeps_equal_numbers(sides: list[int], seed: int) -> None:
    handedness = np.array(sides, np.uint8)
    keys = balance_keys(seed, "video", len(sides))
    chosen = choose_balance(handedness, keys).selected(handedness, keys)
    left, right = (handedness == 0).sum(), (handedness == 1).sum()
    expected = min(left, right)
    if expected == 0:
        assert chosen.all()
    else:
        assert ((handedness == 0) & chosen).sum() == ((handedness == 1) & chosen).sum() == expected


def test_balance_is_recorded_and_depends_on_the_seed(tmp_path: Path) -> None:
    assert not np.array_equal(balance_keys(0, "v", 5), balance_keys(1, "v", 5))
    assert not np.array_equal(balance_keys(0, "v", 5), balance_keys(0, "w", 5))
    with Catalog(tmp_path / "c.sqlite") as catalog:
        balance = choose_balance(np.array([0, 1, 1], np.uint8), balance_keys(0, "v", 3))
        save_balance(catalog, balance)
        assert load_balance(catalog) == balance


def test_an_option_added_by_a_newer_version_is_no_change() -> None:
    refuse_changes("detect", {"a": 1}, {"a": 1, "b": None}, "--redo")


def _work(payload: tuple[str, str, str]) -> StageRecord:
    video_id, shard, behaviour = payload
    if behaviour == "bad":
        raise InputProblem("cannot be read")
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    Path(shard).write_text(video_id)
    return StageRecord(video_id, "done", "x", Path(shard).stat().st_size)


@pytest.mark.slow
def test_stage_runner_survives_bad_and_crashing_videos(tmp_path: Path) -> None:
    def shard(video_id: str) -> Path:
        return tmp_path / f"{video_id}.h5"

    behaviours = {"a": "fine", "b": "bad", "c": "crash", "d": "fine", "e": "fine", "f": "fine"}
    jobs = [StageJob(v, (v, str(shard(v)), how), 1) for v, how in behaviours.items()]
    with Catalog(tmp_path / "c.sqlite") as catalog:
        run_stage(catalog, "detect", jobs, _work, workers=2, console=Console(quiet=True), unit="videos")
        records = catalog.stage("detect")
        assert {v: r.status for v, r in records.items()} == {
            v: "done" if how == "fine" else "failed" for v, how in behaviours.items()
        }
        assert records["b"].reason == "cannot be read"
        assert "worker process died" in records["c"].reason
        shard("d").write_text("longer than recorded")
        shard("e").unlink()
        assert pending(catalog, "detect", [*behaviours, "new"], shard) == ["b", "c", "d", "e", "new"]


def _fails_to_start() -> None:
    raise RuntimeError("libGLESv2.so.2: cannot open shared object file")


def _runs_out_of_disk(_payload: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _chokes(_payload: str) -> None:
    raise ValueError("negative dimension")


def _nothing(_payload: str) -> None:
    return None


def _run(work, initializer=None) -> list[str]:
    skipped: list[str] = []
    run_pool(
        [StageJob("a", "a", 1)],
        work,
        lambda job, result: None,
        lambda job, reason: skipped.append(reason),
        label="test",
        workers=1,
        console=Console(quiet=True),
        unit="files",
        initializer=initializer,
    )
    return skipped


def test_what_is_wrong_with_the_machine_ends_the_run_once() -> None:
    with pytest.raises(EnvironmentProblem, match="libGLESv2"):
        _run(_nothing, initializer=_fails_to_start)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        _run(_runs_out_of_disk)


def test_a_library_choking_on_one_file_costs_that_file_alone() -> None:
    assert _run(_chokes) == ["ValueError: negative dimension"]


@pytest.mark.slow
def test_pool_works_in_a_container_where_simhand_is_process_one() -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this machine does not allow a process namespace of one's own")
    code = "from tests.workspace.test_workspace import _run, _nothing; assert _run(_nothing) == [], 'skipped'"
    done = subprocess.run(
        [*unshare, sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_folder_without_catalog_is_told_from_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match=f"no catalog in {tmp_path}: run 'simhand ingest"):
        Workspace.open(tmp_path)
    with pytest.raises(InputProblem, match=f"no workspace at {tmp_path / 'none'}: run 'simhand ingest"):
        Workspace.open(tmp_path / "none")
