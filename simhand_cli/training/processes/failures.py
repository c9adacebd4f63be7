"""Failures of a job of several processes: one problem is told, once, and every process leaves with its exit code."""

import json
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from simhand_cli.errors import (
    EnvironmentProblem,
    ExitCode,
    InputProblem,
    SaidElsewhere,
    SimhandError,
    UsageProblem,
    machine_problem,
)
from simhand_cli.training.processes.cluster import JobPlace

#: How long a process that has lost the others looks for the reason.
#: Longer than politeness, or a lost peer would give up before the others have told.
_PATIENCE_S = 2.0
#: How long a process with a problem lets rank 0 go first.
_POLITENESS_S = 0.5
#: How long processes wait for rank 0 at the start.
_JOIN_TIMEOUT_S = 600

_FIRST, _HEARD = "first problem", "heard of it"


#: What communication with processes that have gone away says in its first lines; other faults are this machine's own.
_GONE = (
    "closed by|reset by|remote|broken pipe|refused|tim(ed |e)out|pair closure|abort|socket closed|unreachable|no route"
)
#: gloo raises plain RuntimeErrors, which begin with the line of its source.
_GLOO_LOST = re.compile(rf"(\[[^\]]*/gloo/[^\]]*\.cc:\d+\].*({_GONE}))|^connection closed by peer", re.I | re.S)
_NCCL_LOST = re.compile(_GONE, re.I)


class LostPeers(EnvironmentProblem):
    """The other processes of the job are gone, and none of them has said why."""


class NoGroup(EnvironmentProblem):
    """The processes of the job could not form a group to begin with."""


#: What a launching command raises again; an error of a class derived from one of them is told as that one.
_KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (UsageProblem, InputProblem, EnvironmentProblem, LostPeers, NoGroup, SimhandError, KeyboardInterrupt)
}


@dataclass(frozen=True)
class Problem:
    """What a process has met, as plain values.

    Attributes:
        rank: that process.
        kind: name of the nearest class that is raised again, else of the exception's own.
        message: its text.
        code: the exit code it leads to.
    """

    rank: int
    kind: str
    message: str
    code: int

    @classmethod
    def of(cls, error: BaseException, rank: int) -> "Problem":
        """The problem that an exception stands for, with the exit code that it has in a single process."""
        error = machine_problem(error) or error
        code = ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.UNEXPECTED
        code = error.exit_code if isinstance(error, SimhandError) else code
        kind = next((known for known in type(error).__mro__ if known.__name__ in _KINDS), type(error))
        return cls(rank, kind.__name__, str(error), int(code))

    def as_error(self) -> BaseException | None:
        """The exception that a user can act on, None for an unexpected one."""
        kind = _KINDS.get(self.kind)
        return kind(self.message) if kind else None


class ProblemBoard:
    """Where the processes of a job write down, once, what has ended it: a key of the job's store."""

    def __init__(self, place: JobPlace, store: Store) -> None:
        self.place, self.store = place, store

    def first(self, error: BaseException) -> Problem:
        """The job's first problem, which is this process's own if there is none yet.

        Rank 0 goes first where all have met the same; a process that has merely lost the others waits for the reason.
        """
        # Losing the others is what follows from a problem, seldom the problem.
        rank, lost = self.place.rank, is_lost_peer(error)
        own = Problem.of(_as_lost(error) if lost else error, rank)
        try:
            told = self._look(_PATIENCE_S if lost else _POLITENESS_S if rank else 0)
            if told is None:
                # Compare and set: whoever comes first is told by all, whatever the order in which they look.
                told = Problem(**json.loads(self.store.compare_set(_FIRST, "", json.dumps(asdict(own)))))
            self.store.add(_HEARD, 1)
            if rank == 0:  # with whom the store may end
                self._wait_for_listeners()
        except (RuntimeError, ValueError):  # the store has ended with the process that kept it
            return own
        return told

    def _look(self, seconds: float) -> Problem | None:
        end = time.monotonic() + seconds
        while not self.store.check([_FIRST]):
            if time.monotonic() > end:
                return None
            time.sleep(0.05)
        return Problem(**json.loads(self.store.get(_FIRST)))

    def _wait_for_listeners(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while self.store.add(_HEARD, 0) < self.place.world_size and time.monotonic() < end:
            time.sleep(0.05)


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error is that of an exchange with processes that are gone, rather than of this one's own network."""
    if isinstance(error, dist.DistBackendError):  # NCCL, which raises it for every fault
        return _NCCL_LOST.search(str(error)) is not None
    gloo = isinstance(error, RuntimeError) and _GLOO_LOST.search(str(error)) is not None
    return isinstance(error, dist.DistError | LostPeers) or gloo


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _as_lost(error: BaseException) -> LostPeers:
    if isinstance(error, LostPeers):
        return error
    return LostPeers(f"another process of the job has ended or cannot be reached ({first_line(error)})")


@contextmanager
def group_problems() -> Iterator[None]:
    """Around the forming of a process group: what keeps it from forming would come again, unlike a lost peer later.

    Raises:
        NoGroup: in place of torch's errors.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise NoGroup(f"the processes of the job cannot form a group: {first_line(error)}") from error


def open_board(place: JobPlace) -> ProblemBoard:
    """Connect to the job's store; rank 0 makes it where the launcher has not.

    Raises:
        EnvironmentProblem: rank 0 does not answer.
    """
    # IPv6 addresses need brackets in a URL.
    host = f"[{place.address}]" if ":" in place.address else place.address
    url = f"tcp://{host}:{place.port}?rank={place.rank}&world_size={place.world_size}"
    try:
        store, _, _ = next(rendezvous(url, timeout=timedelta(seconds=_JOIN_TIMEOUT_S)))
    except (RuntimeError, ValueError) as error:
        raise EnvironmentProblem(
            f"rank 0 of the job at {place.address}:{place.port} cannot be reached: {first_line(error)}"
        ) from error
    # torchrun keeps one store over its restarts: what earlier processes wrote there must not be read (torch 2.14 does).
    return ProblemBoard(place, PrefixStore(f"start {place.restarts}", store))


@contextmanager
def told_once(place: JobPlace | None) -> Iterator[ProblemBoard | None]:
    """Around a command that joins a job: of all its processes only one tells a problem; alone, does nothing.

    Raises:
        SaidElsewhere: in place of a problem that another process tells, with its exit code.
    """
    if place is None:
        yield None
        return
    board = open_board(place)
    try:
        yield board
    except (Exception, KeyboardInterrupt) as error:
        told = board.first(error)
        # The exit code is the same everywhere, since srun and torchrun report any of them.
        if told.rank != place.rank:
            raise SaidElsewhere(told.message, told.code) from error
        if place.rank and (own := told.as_error()) and not isinstance(own, KeyboardInterrupt):
            raise type(own)(f"process {place.rank} of {place.world_size}: {own}") from error
        if is_lost_peer(error) and (own := told.as_error()):
            raise own from error
        raise


def plain_note(error: BaseException, problem: Problem) -> dict[str, Any]:
    """A problem with the traceback of what this process has seen of it, for its launcher to read."""
    return {**asdict(problem), "traceback": "".join(traceback.format_exception(error))}
