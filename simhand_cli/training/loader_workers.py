"""Worker processes of data loaders: how they start and end, and what must not run when they fork."""

import math
import multiprocessing
import os
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import own_cores
from simhand_cli.workspace.die_with_parent import die_with

#: Seconds a worker lives on after SIGTERM, so that the main process can finish its step and save: a step of a very
#: large batch on a CPU takes many minutes. The loader's own way to end a worker needs no signal.
GRACE_S = 900
#: Decoding a crop and waiting for a worker cost little beside a GPU's step up to about this many workers a GPU.
_WORKERS_PER_GPU = 8


def loader_workers(asked: int | None, ranks: Ranks) -> int:
    """Loader processes for each training process.

    Args:
        asked: the number that was asked for, or None to go by this machine's cores.
        ranks: the training process's place.
    """
    if asked is not None:
        return asked
    cores = own_cores(ranks.local_world_size)
    if ranks.device == "cpu":  # the cores are needed for the step; one worker decodes far more than it uses
        # On a single core none: decoding in place loses nothing there.
        return min(1, cores - 1)
    return min(_WORKERS_PER_GPU, cores)


def worker_options(workers: int, ahead: int = 1) -> dict[str, Any]:
    """Arguments of ``torch.utils.data.DataLoader`` for so many worker processes (0: fetch in place).

    Workers are forked where the system can: they share the dataset's arrays instead of receiving copies. It has to be
    said, since a process that was itself spawned by the launcher would spawn.

    Args:
        workers: how many.
        ahead: fetches that are to lie ready together; each worker holds at least two.
    """
    if workers == 0:
        return {"num_workers": 0}
    # More workers than cores are the user's choice; torch's warning names no option of ours.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    context = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "worker_init_fn": prepare_loader_worker,
        # Two at least: while one fetch is taken the next is under way.
        "prefetch_factor": max(2, math.ceil(ahead / workers)),
    }


def prepare_loader_worker(worker_id: int) -> None:
    """``worker_init_fn`` of data loaders: Ctrl-C is the main process's business, and no worker outlives it.

    A forked worker shares the run's lock; one that lived on after ``kill -9`` would keep a rerun out.
    """
    del worker_id
    # A terminal sends Ctrl-C to the whole group; the main process still needs the workers to finish its step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A scheduler sends SIGTERM to every process of the job. The worker must outlive the step that the main process
    # still finishes, or its death would end the run before the save; yet it must end if the loader asks it to.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(GRACE_S))
    die_with(os.getppid())


@contextmanager
def killed_workers() -> Iterator[None]:
    """A killed worker, or full shared memory, as a problem the user can act on.

    It surrounds the whole training loop: torch tells of a worker's death by a signal, which may come during a step.

    Raises:
        EnvironmentProblem: in place of torch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        # torch puts the signal into the cause, and breaks its messages over lines.
        told = " ".join(f"{error} {error.__cause__}".split())
        if not told.startswith("DataLoader worker (pid") and "shared memory" not in told:
            raise
        how = re.search(r"killed by signal: (\w+( \w+)?)", told)
        raise EnvironmentProblem(
            f"a process that loads crops was lost ({how[1] if how else 'no memory left?'}); use fewer --workers, or "
            "give it more memory or shared memory (/dev/shm); the same command goes on from the newest checkpoint"
        ) from error


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """OpenCV's own threads off: data loaders fork, and its thread pool does not survive a fork."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
