"""Errors a user can act on, each with its exit code (design: contracts of every command)."""

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
