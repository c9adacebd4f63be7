"""The pool of processes and the runner of stages: bad files, crashing workers, a broken machine."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.stages.local_pool import StageJob, run_pool
from simhand_cli.stages.video_stage import pending, run_stage
from simhand_cli.workspace.catalog import Catalog, StageRecord


def _work(payload: tuple[str, str, str]) -> StageRecord:
    video_id, shard, behaviour = payload
    if behaviour == "bad":
        raise InputProblem("cannot be read")
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    Path(shard).write_text(video_id)
    return StageRecord(video_id, "done", "x", Path(shard).stat().st_size)


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


def test_pool_works_in_a_container_where_simhand_is_process_one() -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this machine does not allow a process namespace of one's own")
    code = "from tests.stages.test_video_stage import _run, _nothing; assert _run(_nothing) == [], 'skipped'"
    done = subprocess.run(
        [*unshare, sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
