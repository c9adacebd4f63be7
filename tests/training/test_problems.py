"""Which problem ends a job of several processes: its exit code, its line, and whether a restart may help."""

import errno
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch.distributed as dist

from simhand_cli.errors import EnvironmentProblem, InputProblem, SimhandError, UsageProblem, machine_problem
from simhand_cli.labelled.sample import NoSuchSplit
from simhand_cli.training import elastic
from simhand_cli.training.job_place import job_place
from simhand_cli.training.launch import launch
from simhand_cli.training.problems import LostPeers, Problem, told_once
from simhand_cli.training.ranks import Ranks
from simhand_cli.training.world import World


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
    with pytest.raises(InputProblem, match="^crop 7 is damaged$"), told_once(job_place()) as board:
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
        elastic._run_rank(find_damage, None, False, str(tmp_path), os.getppid())
    assert job_of_one == ["left with 1 after ['rank-0.json']"]
    assert [problem.message for problem, _ in elastic._read_notes(tmp_path)] == ["crop 7 is damaged"]
