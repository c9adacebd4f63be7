"""Errors a user can act on, each with its exit code (design: contracts of every command)."""

import os
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every simhand command."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    INPUT = 3
    ENVIRONMENT = 4
    PARTIAL = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class SimhandError(Exception):
    """Base of the errors shown to the user as one line: what, where, which flag."""

    exit_code = ExitCode.UNEXPECTED


class UsageProblem(SimhandError):
    """A flag, config key or value that cannot be used (exit 2)."""

    exit_code = ExitCode.USAGE


class InputProblem(SimhandError):
    """Input data that cannot be used, or none left (exit 3)."""

    exit_code = ExitCode.INPUT


class EnvironmentProblem(SimhandError):
    """The machine lacks something: disk, GPU, model file, display, camera (exit 4)."""

    exit_code = ExitCode.ENVIRONMENT


class SaidElsewhere(SimhandError):
    """Another process of the same job tells the problem; this one leaves with its exit code and says nothing."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code)


def machine_problem(error: BaseException) -> EnvironmentProblem | None:
    """What Python's own error says about the machine (memory, disk, a missing package), None for any other error."""
    if isinstance(error, MemoryError):
        return EnvironmentProblem("out of memory; use fewer --workers or a smaller --batch-size")
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        return EnvironmentProblem(f"{os.strerror(error.errno)}{where}")
    if isinstance(error, ImportError):
        return EnvironmentProblem(f"{error}; 'simhand doctor' shows what is missing")
    return None
