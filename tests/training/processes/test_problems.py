"""Which problem ends a job of several processes: its exit code, its line, and whether a restart may help."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.elastic.agent.server.api import RunResult, WorkerState

from simhand_cli.errors import EnvironmentProblem, InputProblem, SimhandError, UsageProblem, machine_problem
from simhand_cli.labelled.sample import NoSuchSplit
from simhand_cli.training.processes import elastic
from simhand_cli.training.processes.cluster import job_place
from simhand_cli.training.processes.failures import LostPeers, NoGroup, Problem, is_lost_peer, plain_note, told_once
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World


@pytest.mark.parametrize(
    ("error", "kind", "message", "code"),
    [
        (UsageProblem("no such flag"), UsageProblem, "no such flag", 2),
        (NoSuchSplit("no split 'val'"), InputProblem, "no split 'val'", 3),
        (OSError(errno.ENOSPC, "as told", "/runs/a"), EnvironmentProblem, "No space left on device (/runs/a)", 4),
        (MemoryError(), EnvironmentProblem, "out of memory; use fewer --workers or a smaller --batch-size", 4),
        (ModuleNotFoundError("No module named 'x'"), EnvironmentProblem, "No module named 'x'; 'simhand doctor'", 4),
        (LostPeers("gone"), LostPeers, "gone", 4),
        (SimhandError("odd"), SimhandError, "odd", 1),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped", 130),
    ],
)
def test_a_problem_keeps_its_exit_code_and_line_across_processes(error, kind, message, code):
    problem = Problem.of(error, 1)
    told = problem.as_error()
    assert type(told) is kind
    assert str(told).startswith(message)
    assert problem.code == code


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("without a number")])
def test_other_errors_stay_unexpected(error):
    problem = Problem.of(error, 0)
    assert (problem.kind, problem.message, problem.code) == (type(error).__name__, str(error), 1)
    assert problem.as_error() is None
    assert machine_problem(error) is None


class LeftError(Exception):
    """In place of the end of the process."""


def find_damage(_ranks: Ranks, _args: None) -> dict[str, Any]:
    raise InputProblem("crop 7 is damaged")


@pytest.fixture
def job_of_one(monkeypatch) -> Iterator[list[str]]:
    """A job of this process alone, whose group is not to be ended; what has been done to it, in order."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    done: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(dist, "destroy_process_group", lambda: done.append("group ended"))
        yield done
    if dist.is_initialized():
        dist.destroy_process_group()


def test_a_failed_joined_process_leaves_the_group_alone(job_of_one):
    with pytest.raises(InputProblem, match=r"^crop 7 is damaged$"), told_once(job_place()) as board:
        launch(find_damage, None, World(place=board.place), board=board)
    assert json.loads(board.store.get("first problem"))["message"] == "crop 7 is damaged"
    assert job_of_one == []


def test_a_failed_launched_process_leaves_at_once_after_its_note(job_of_one, tmp_path, monkeypatch):
    def leave(code: int) -> None:
        job_of_one.append(f"left with {code} after {[path.name for path in tmp_path.iterdir()]}")
        raise LeftError

    monkeypatch.setattr(elastic, "die_with", lambda _parent: None)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(LeftError):
        elastic._run_rank(find_damage, None, False, str(tmp_path), os.getppid(), "a job")
    assert job_of_one == ["left with 1 after ['rank-0.json']"]
    assert [problem.message for problem, _ in elastic._read_notes(tmp_path)] == ["crop 7 is damaged"]


GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711"
NO_CARD = "[enforce fail at /p/gloo/transport/tcp/device.cc:84] ifa != nullptr. Unable to find address for: nope0"
NCCL = "NCCL error in: ProcessGroupNCCL.cpp:3698, {}, NCCL version 2.27.5\n{}"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(GLOO), True),
        (RuntimeError("[/p/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv"), True),
        (RuntimeError("Connection closed by peer [127.0.0.1]:4711"), True),
        (dist.DistNetworkError("failed to recv, got 0 bytes"), True),
        (dist.DistBackendError(NCCL.format("remote process exited or there was a network error", "")), True),
        (dist.DistBackendError(NCCL.format("invalid usage", "Duplicate GPU detected : rank 0 and rank 1")), False),
        (RuntimeError(NO_CARD), False),
        (RuntimeError("cannot read /data/igloo/crops.h5: the file has timed out"), False),
        (ValueError(GLOO), False),
    ],
)
def test_only_what_other_processes_cause_counts_as_their_loss(error, lost):
    assert is_lost_peer(error) is lost


def left(folder: Path, errors: dict[int, BaseException], **died: int) -> RunResult:
    """What the agent finds after processes have left notes, or died with an exit code."""
    for rank, error in errors.items():
        (folder / f"rank-{rank}.json").write_text(json.dumps(plain_note(error, Problem.of(error, rank))))
    codes = dict.fromkeys(errors, 1) | {int(name.removeprefix("rank_")): code for name, code in died.items()}
    failures = {rank: SimpleNamespace(exitcode=code, timestamp=rank) for rank, code in codes.items()}
    return RunResult(WorkerState.FAILED, failures=failures)


LOST = LostPeers(f"another process of the job has ended or cannot be reached ({GLOO})")


@pytest.mark.parametrize(
    ("errors", "died", "again"),
    [
        ({0: LOST}, {}, True),
        ({0: LOST}, {"rank_1": -9}, True),
        ({0: NoGroup(NO_CARD), 1: LOST}, {}, False),
        ({0: NoGroup(GLOO)}, {"rank_1": -9}, True),
        ({0: InputProblem("crop 7 is damaged")}, {"rank_1": -9}, False),
        ({0: OSError(errno.ENOSPC, "full")}, {}, False),
        ({0: ValueError("bad")}, {}, False),
    ],
)
def test_restarts_are_for_killed_processes_and_lost_peers(tmp_path, errors, died, again):
    assert elastic._worth_a_restart(left(tmp_path, errors, **died), tmp_path) is again


@pytest.mark.parametrize(
    ("errors", "died", "kind", "message"),
    [
        ({0: LOST}, {}, EnvironmentProblem, f"training process 0: {LOST}; run the same command again to go on"),
        ({0: LOST, 1: NoGroup(NO_CARD)}, {}, NoGroup, NO_CARD),
        ({0: LOST, 1: ValueError("bad")}, {}, RuntimeError, "training process 1 failed: ValueError: bad"),
        ({0: LOST, 1: InputProblem("damaged")}, {}, InputProblem, "damaged"),
        ({0: NoGroup(NO_CARD)}, {}, NoGroup, NO_CARD),
        ({1: NoGroup(GLOO)}, {"rank_0": -9}, EnvironmentProblem, "training process 0 was killed (SIGKILL; out of"),
        ({}, {"rank_0": 7}, RuntimeError, "training process 0 left with exit code 7"),
    ],
)
def test_the_first_cause_is_told_with_its_trace(tmp_path, errors, died, kind, message):
    error = elastic._explain(left(tmp_path, errors, **died), tmp_path)
    assert type(error) is kind
    assert str(error).startswith(message)
    if errors and not died and kind is not InputProblem:
        assert len(error.__notes__) == 1  # the trace, which ends with what was raised
        assert any(str(given) in error.__notes__[0] for given in errors.values())


class FakeAgent:
    """An agent whose workers have failed with an error of their own."""

    def __init__(self, spec: Any, _folder: Path, notes: Path, _console: Any) -> None:
        self._spec, self._notes = spec, notes

    def get_worker_group(self) -> Any:
        return SimpleNamespace(spec=self._spec)

    def run(self) -> RunResult:
        return left(self._notes, {0: ConnectionError(GLOO)})


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_a_workers_own_connection_error_is_not_the_machines_meeting(monkeypatch, in_main_thread):
    monkeypatch.setattr(elastic, "_Agent", FakeAgent)
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    before = dict(os.environ)
    caught: list[BaseException] = []

    def run() -> None:
        try:
            launch(find_damage, None, World(2))
        except BaseException as error:
            caught.append(error)

    if in_main_thread:
        run()
    else:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert [str(error) for error in caught] == [f"training process 0 failed: ConnectionError: {GLOO}"]
    assert dict(os.environ) == before


def test_a_network_card_that_is_not_there_is_told_at_once(job_of_one, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nope0")
    told = r"^the processes of the job cannot form a group: .*nope0"
    with pytest.raises(NoGroup, match=told), told_once(job_place()) as board:
        launch(find_damage, None, World(place=board.place), board=board)
