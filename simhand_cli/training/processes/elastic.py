"""Several processes on this machine, and on others: torch's elastic agent, told which failures are worth a restart."""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch._C._distributed_c10d import PrefixStore
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.rendezvous import registry as rendezvous_registry

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.loader_workers import GRACE_S
from simhand_cli.training.processes.cluster import job_place
from simhand_cli.training.processes.failures import LostPeers, NoGroup, Problem, open_board, plain_note
from simhand_cli.training.processes.group import run_in_group
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.rendezvous import agreed_job, meeting, meeting_problems
from simhand_cli.training.processes.world import World
from simhand_cli.workspace.die_with_parent import die_with

Args = TypeVar("Args")
Result = dict[str, Any]
#: Seconds that a stopped run gets to finish its step and save before it is killed: see the loader's ``GRACE_S``.
STOP_TIMEOUT_S = GRACE_S


def launch_many(
    worker: Callable[[Ranks, Args], Result], args: Args, world: World, name: str, console: Console
) -> Result:
    """Run a worker on all processes of this machine, together with those of the other machines.

    After a process was killed or lost its peers, all start again, up to ``world.max_restarts`` times; the worker goes
    on from its newest checkpoint. Workers die with this process.

    Raises:
        SimhandError: what a worker raised, or EnvironmentProblem when one was killed or machines do not meet.
        KeyboardInterrupt: stopped by a signal, after saving.
    """
    _silence_launcher()
    with tempfile.TemporaryDirectory(prefix="simhand-launch-") as folder, _launcher_environment():
        notes = Path(folder) / "notes"
        notes.mkdir()
        with meeting_problems(world):
            handler = rendezvous_registry.get_rendezvous_handler(meeting(world, name, console))
            spec = WorkerSpec(
                role="simhand",
                local_world_size=world.processes,
                entrypoint=_run_rank,
                args=(worker, args, world.use_gpu, str(notes), os.getpid()),
                rdzv_handler=handler,
                max_restarts=world.max_restarts,
                # Seconds: a dead process is noticed at once, whatever torch's default is.
                monitor_interval=0.1,
            )
            result = _run(_Agent(spec, Path(folder), notes, console), notes)
        if result is None or result.state != WorkerState.SUCCEEDED:
            raise _explain(result, notes)
    returned: Result = next(iter(result.return_values.values()))
    return returned


def _run(agent: "_Agent", notes: Path) -> RunResult | None:
    """Let an agent do its work; signals are handled as before afterwards."""
    # Those that the agent handles, in a main thread only: another one may not.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = {number: signal.getsignal(number) for number in numbers if in_main_thread}
    try:
        result: RunResult | None = agent.run()
        return result
    except SignalException:
        left = [problem.as_error() for problem, _ in _read_notes(notes)]
        told = [error for error in left if isinstance(error, KeyboardInterrupt)]
        # A worker's own interrupt says after which step it has saved.
        raise (told[0] if told else KeyboardInterrupt) from None
    finally:
        # Tells the other machines that nobody comes back, so that they do not wait ten minutes.
        agent.get_worker_group().spec.rdzv_handler.shutdown()
        for number, action in previous.items():
            signal.signal(number, action)


class _Agent(LocalElasticAgent):
    """torch's agent, which restarts after every failure, but for problems that a restart would only repeat."""

    def __init__(self, spec: WorkerSpec, folder: Path, notes: Path, console: Console) -> None:
        super().__init__(spec, DefaultLogsSpecs(log_dir=str(folder / "logs")))
        # torch kills after 30 s, in the middle of a large batch's step on a CPU.
        self._shutdown_timeout = STOP_TIMEOUT_S
        self._notes, self._console = notes, console
        self._why, self._args = "", spec.args

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, *rest: Any, **more: Any) -> None:
        # A terminal's Ctrl-C has reached the workers already; a second SIGINT would tell them not to wait for the save.
        relayed = signal.SIGTERM if death_sig == signal.SIGINT else death_sig
        try:
            super()._shutdown(relayed, *rest, **more)
        except SignalException as again:  # while it waited; the second Ctrl-C is of a user who does not want to
            super()._shutdown(signal.SIGKILL if again.sigval == signal.SIGINT else relayed, *rest, **more)
            raise

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if result.state == WorkerState.FAILED:
            # Out of restarts is torch's only way to stop at a failure.
            if not _worth_a_restart(result, self._notes):
                self._remaining_restarts = 0
            self._why = _how_it_died(result, _read_notes(self._notes))
        return result

    def _restart_workers(self, worker_group: WorkerGroup) -> None:
        done = worker_group.spec.max_restarts - self._remaining_restarts
        which = f"restart {done} of {worker_group.spec.max_restarts}" if self._why else "with the other machines"
        why = self._why or "a process of another machine was lost"
        self._console.warn(f"{why}; all processes start again from the newest checkpoint ({which})")
        self._why = ""
        super()._restart_workers(worker_group)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        # Notes of an earlier start would be told as this one's.
        for note in self._notes.iterdir():
            note.unlink()
        store = worker_group.store
        assert isinstance(store, PrefixStore), "every meeting has a part of the store of its own"
        # Only now is there a store to agree in.
        worker_group.spec.args = (*self._args, agreed_job(store))
        started: dict[int, Any] = super()._start_workers(worker_group)
        return started


def _run_rank(
    worker: Callable[[Ranks, Args], Result], args: Args, use_gpu: bool, notes: str, parent: int, job: str
) -> Result:
    """Entry point of a launched process: join the group, run, leave a note about any failure."""
    # A launcher that is killed cannot end its workers, which would go on writing into the run.
    die_with(parent)
    place = job_place()
    assert place is not None, "the elastic launcher sets RANK and WORLD_SIZE"
    place = replace(place, job=job)
    board = None
    try:
        board = open_board(place)
        return run_in_group(worker, args, board, use_gpu=use_gpu)
    except BaseException as error:
        told = board.first(error) if board is not None else Problem.of(error, place.rank)
        (Path(notes) / f"rank-{place.rank}.json").write_text(json.dumps(plain_note(error, told)))
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        # Not by sys.exit: the end of the interpreter would take the process group down, which NCCL does only together
        # with the other ranks, and libraries wait for threads of theirs. Loader workers die with this process.
        os._exit(1)


def _read_notes(folder: Path) -> list[tuple[Problem, str]]:
    """(problem, traceback) of every process that left a note."""
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    return [(Problem(**{k: v for k, v in d.items() if k != "traceback"}), d["traceback"]) for d in documents]


def _worth_a_restart(result: RunResult, notes: Path) -> bool:
    """Whether a process was killed or has lost its peers, and none has met a problem that would come again.

    A group that has not formed is worth it only where a process was killed meanwhile.
    """
    errors = [problem.as_error() for problem, _ in _read_notes(notes)]
    if any(error is not None and not isinstance(error, LostPeers | NoGroup) for error in errors):
        return False
    # A negative exit code is the number of the signal.
    killed = any(failure.exitcode < 0 for failure in result.failures.values())
    return killed or (bool(errors) and all(isinstance(error, LostPeers) for error in errors))


def _how_it_died(result: RunResult, notes: list[tuple[Problem, str]]) -> str:
    rank, failure = min(result.failures.items(), key=lambda item: item[1].timestamp)
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        return f"training process {rank} was killed ({name}; out of memory?)"
    lost = next((problem for problem, _ in notes if isinstance(problem.as_error(), LostPeers)), None)
    return f"training process {lost.rank}: {lost.message}" if lost else f"training process {rank} has ended"


def _explain(result: RunResult | None, folder: Path) -> BaseException:
    """What to raise for failed workers: the first problem they noted, else how the first one died.

    What the process saw of an unexpected or a network's fault is added as a note, shown with --debug.
    """
    if result is None or not result.failures:
        return EnvironmentProblem("the run has ended on another machine, where the reason is told")
    notes = _read_notes(folder)
    rank, first = min(result.failures.items(), key=lambda item: item[1].timestamp)
    killed = first.exitcode < 0
    # A problem to act on goes before a death, and that before the errors that followed from it.
    for problem, trace in sorted(notes, key=lambda note: _follows(note[0])):
        error = problem.as_error()
        if killed and (error is None or isinstance(error, LostPeers | NoGroup)):
            break
        if error is None:
            error = RuntimeError(f"training process {problem.rank} failed: {problem.kind}: {problem.message}")
        elif isinstance(error, LostPeers):
            error = EnvironmentProblem(f"{_how_it_died(result, notes)}; run the same command again to go on")
        elif not isinstance(error, NoGroup):
            return error
        error.add_note(trace)
        return error
    if killed:
        return EnvironmentProblem(f"{_how_it_died(result, notes)}; run the same command again to go on")
    return RuntimeError(f"training process {rank} left with exit code {first.exitcode}")


def _follows(problem: Problem) -> int:
    """Rank by how likely a problem follows from another one; those that a user can act on come first."""
    error = problem.as_error()
    if isinstance(error, LostPeers | NoGroup):
        return 3 if isinstance(error, LostPeers) else 2
    return 1 if error is None else 0


def _silence_launcher() -> None:
    """The launcher logs the death of every worker at length; the user gets our one line instead."""
    # A handler that does nothing, or logging would print to stderr itself.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher", "torch.multiprocessing.spawn"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


@contextmanager
def _launcher_environment() -> Iterator[None]:
    """What torch's launcher and the workers read, as long as they run."""
    wanted = {
        # Processes of a restart must not read what those before them wrote: every round gets a store of its own.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        # Of the workers: stack traces of a store that is gone.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }
    previous = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
