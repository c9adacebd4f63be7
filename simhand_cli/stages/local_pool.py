"""A pool of processes for jobs that may hang, die or run out of memory one by one."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, InputProblem, SimhandError
from simhand_cli.workspace.die_with_parent import die_with

Payload = TypeVar("Payload")
Result = TypeVar("Result")
#: Errors of the machine rather than of one file.
_MACHINE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True)
class StageJob(Generic[Payload]):
    """One video's work: ``payload`` goes to the worker function, ``size`` is its share of the progress bar."""

    video_id: str
    payload: Payload
    size: int


def run_pool(
    jobs: Sequence[StageJob[Payload]],
    work: Callable[[Payload], Result],
    record: Callable[[StageJob[Payload], Result], None],
    skip: Callable[[StageJob[Payload], str], None],
    *,
    label: str,
    workers: int,
    console: Console,
    unit: str,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[object, ...] = (),
) -> None:
    """Do every job in a pool of ``workers`` processes.

    Args:
        jobs: what to do; handed out in order.
        work: runs in a worker; module-level, so that it can be sent there.
        record: runs here with each result, as it comes.
        skip: runs here for a job that raised InputProblem, with the reason. A worker that dies (a crash in native
            code, the out-of-memory killer) costs only the jobs it was on: each is tried once more alone, then skipped.
        label: what the progress bar says; it counts the jobs' sizes.
        unit: what the sizes are, plural.
        workers: number of processes.
        console: where progress goes.
        initializer: run once in every worker, if given.
        initargs: its arguments.
    """
    # spawn: the workers are direct children, which end with this process, and nothing heavy is inherited by fork.
    context = multiprocessing.get_context("spawn")
    queue = list(jobs)
    suspects: list[StageJob[Payload]] = []
    with console.progress(label, sum(job.size for job in jobs), unit) as ticker:

        def finish(job: StageJob[Payload], future: "Future[Result]") -> None:
            try:
                record(job, _result(future))
            except InputProblem as problem:
                skip(job, str(problem))
            ticker.advance(job.size)

        while queue or suspects:
            alone = not queue
            # Of the jobs that were under way when a worker died, one at a time shows which one kills.
            batch = [suspects.pop()] if alone else queue
            with ProcessPoolExecutor(
                # A pool whose worker has died takes no more jobs, so each round has a new one.
                1 if alone else workers,
                mp_context=context,
                initializer=_initialise,
                initargs=(os.getpid(), initializer, initargs),
            ) as pool:
                lost, queue = _drain(pool, batch, work, finish, in_flight=1 if alone else 2 * workers)
            if alone and lost:
                skip(lost[0], "the worker process died on it twice (crash or out of memory)")
                ticker.advance(lost[0].size)
            else:
                suspects += lost


#: In a worker whose initializer failed: why. Every job then reports it, instead of the pool breaking without a word.
_start_problem: str | None = None


def _initialise(parent: int, initializer: Callable[..., None] | None, initargs: tuple[object, ...]) -> None:
    global _start_problem
    # Ctrl-C goes to the parent alone, which stops handing out work; a worker must not print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent)
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:  # whatever it is, the parent must hear of it
            _start_problem = f"a worker cannot start: {error}; 'simhand doctor' may show why"


def _guarded(work: Callable[[Payload], Result], payload: Payload) -> Result:
    if _start_problem is not None:
        raise EnvironmentProblem(_start_problem)
    return work(payload)


def _drain(
    pool: ProcessPoolExecutor,
    jobs: Sequence[StageJob[Payload]],
    work: Callable[[Payload], Result],
    finish: "Callable[[StageJob[Payload], Future[Result]], None]",
    in_flight: int,
) -> tuple[list[StageJob[Payload]], list[StageJob[Payload]]]:
    """Feed the pool; if a worker dies, returns the jobs that were in flight and those never started."""
    # Taken from the end, which costs nothing, in the order of the jobs.
    unstarted = list(reversed(jobs))
    running: dict[Future[Result], StageJob[Payload]] = {}
    try:
        while True:
            # Two jobs a worker: none waits for the next one, and few are lost with a worker.
            while unstarted and len(running) < in_flight:
                running[pool.submit(_guarded, work, unstarted[-1].payload)] = unstarted[-1]
                unstarted.pop()
            if not running:
                return [], []
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                finish(running[future], future)
                del running[future]
    except BrokenProcessPool:
        return list(running.values()), unstarted[::-1]
    except BaseException:
        # Ctrl-C or a full disk: results of jobs under way would not be recorded any more.
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _result(future: "Future[Result]") -> Result:
    """A job's result; what is wrong with one item stays with it, what is wrong with the machine ends the run.

    Raises:
        InputProblem: this item cannot be done.
        EnvironmentProblem: no item can be done (disk full, a library missing).
    """
    try:
        return future.result()
    except (SimhandError, BrokenProcessPool):
        raise
    except ImportError as error:
        raise EnvironmentProblem(f"{error}; 'simhand doctor' shows what is missing") from error
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or 'in a worker'})"
        if error.errno in _MACHINE_ERRORS:
            raise EnvironmentProblem(reason) from error
        raise InputProblem(reason) from error
    except Exception as error:  # a library choking on one file must not cost the others
        raise InputProblem(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
