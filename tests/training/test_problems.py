"""Which problem ends a job of several processes: its exit code, its line, and whether a restart may help."""

import errno

import pytest

from simhand_cli.errors import EnvironmentProblem, InputProblem, SimhandError, UsageProblem, machine_problem
from simhand_cli.labelled.sample import NoSuchSplit
from simhand_cli.training.problems import LostPeers, Problem


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
