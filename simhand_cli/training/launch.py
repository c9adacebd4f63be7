"""Start a training function on one process or on many: CPU, one GPU, all GPUs, or inside a running torchrun job."""

import json
import logging
import os
import signal
import sys
import tempfile
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from simhand_cli.errors import EnvironmentProblem, InputProblem, SimhandError, UsageProblem
from simhand_cli.training.ranks import Ranks, ranks_of_environment
from simhand_cli.workspace.orphans import die_with

Args = TypeVar("Args")
Result = dict[str, Any]
#: Seconds that a stopped run gets to finish its step and save before it is killed.
STOP_TIMEOUT_S = 120
_KINDS: dict[str, type[SimhandError]] = {
    problem.__name__: problem for problem in (UsageProblem, InputProblem, EnvironmentProblem)
}


def resolve_gpus(gpus: int | None) -> int:
    """The number of GPUs to use: what was asked for, or all visible ones.

    Raises:
        EnvironmentProblem: more were asked for than this machine has.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus is None:
        return available
    if gpus > available:
        usable = "no usable GPU" if available == 0 else f"only {available}"
        raise EnvironmentProblem(f"--gpus {gpus}, but this machine has {usable}; use --gpus {available}")
    return gpus


def launch(worker: Callable[[Ranks, Args], Result], args: Args, *, gpus: int, cpu_ranks: int = 1) -> Result:
    """Run ``worker(ranks, args)`` on every process of the run and return rank 0's result.

    One process (``gpus`` 0 or 1) is this very process. More are started by torch's elastic launcher with a
    rendezvous on a free port it finds itself (NCCL for GPUs, gloo for ``cpu_ranks``). Where RANK and WORLD_SIZE are
    set, this process joins that job as one of its ranks instead. Workers die with this process.

    Args:
        worker: a function of a module's top level; its result must be plain values.
        args: passed to every worker; picklable when there are several.
        gpus: GPUs of this machine to use, 0 = CPU; see :func:`resolve_gpus`.
        cpu_ranks: CPU processes, for tests and machines without a GPU; only with ``gpus`` 0.

    Raises:
        SimhandError: what a worker raised, or EnvironmentProblem when one was killed or out of GPU memory.
        KeyboardInterrupt: the run was stopped by SIGINT or SIGTERM after saving.
    """
    if joined := ranks_of_environment():
        rank, local_rank, world_size = joined
        return _with_group(worker, args, rank, local_rank, world_size, use_gpu=gpus > 0)
    count = max(gpus, cpu_ranks if gpus == 0 else 0)
    if count == 1:
        device = "cuda:0" if gpus else "cpu"
        if gpus:
            torch.cuda.set_device(0)
        with gpu_memory_problems():
            return worker(Ranks(device=device), args)
    return _launch_many(worker, args, count, use_gpu=gpus > 0)


def _launch_many(worker: Callable[[Ranks, Args], Result], args: Args, count: int, *, use_gpu: bool) -> Result:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(STOP_TIMEOUT_S))
    # The launcher logs the death of every worker at length; the user gets our one line instead.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher", "torch.multiprocessing.spawn"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="simhand-launch-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method="spawn",
        )
        job = (worker, args, use_gpu, folder, os.getpid())
        try:
            results = elastic_launch(config, _run_rank)(*job)
        except SignalException as stopped:
            raise KeyboardInterrupt(str(stopped)) from None
        except ChildFailedError as failed:
            raise _explain(failed, Path(folder)) from None
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    result: Result = results[0]
    return result


def _run_rank(worker: Callable[[Ranks, Args], Result], args: Args, use_gpu: bool, folder: str, parent: int) -> Result:
    """Entry point of a launched process: join the group, run, leave a note about any failure."""
    die_with(parent)
    joined = ranks_of_environment()
    assert joined is not None, "the elastic launcher sets RANK and WORLD_SIZE"
    rank, local_rank, world_size = joined
    if not use_gpu:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    try:
        return _with_group(worker, args, rank, local_rank, world_size, use_gpu=use_gpu)
    except BaseException as error:
        note = {
            "kind": type(error).__name__,
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }
        (Path(folder) / f"rank-{rank}.json").write_text(json.dumps(note))
        # Leaves at once: at a normal return the launcher's wrapper would wait for a parent that may be stopping.
        sys.exit(1)


def _with_group(
    worker: Callable[[Ranks, Args], Result], args: Args, rank: int, local_rank: int, world_size: int, *, use_gpu: bool
) -> Result:
    # torch renames its collectives; the old names work in every version that we support.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    device = f"cuda:{local_rank}" if use_gpu else "cpu"
    if use_gpu:
        if local_rank >= torch.cuda.device_count():
            raise EnvironmentProblem(
                f"local rank {local_rank} has no GPU: this machine shows {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl", device_id=torch.device(device))
    else:
        dist.init_process_group("gloo")
    try:
        with gpu_memory_problems():
            return worker(Ranks(rank, local_rank, world_size, device, grouped=True), args)
    finally:
        dist.destroy_process_group()


@contextmanager
def gpu_memory_problems() -> Iterator[None]:
    """A full GPU as a problem the user can act on; torch's own message fills a screen.

    Raises:
        EnvironmentProblem: in place of torch's OutOfMemoryError.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentProblem(
            "out of GPU memory; use a smaller --batch-size or more --gpus, or end other programs on the GPU"
        ) from error


def _explain(failed: Any, folder: Path) -> BaseException:
    """What to raise for failed workers: the first problem they noted, else how the first one died."""
    notes = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    notes.sort(key=lambda note: note["kind"] not in _KINDS)
    for note in notes:
        if note["kind"] in _KINDS:
            return _KINDS[note["kind"]](note["message"])
        if note["kind"] == "KeyboardInterrupt":
            return KeyboardInterrupt(note["message"])
    rank, first = failed.get_first_failure()
    if first.exitcode < 0:
        name = signal.Signals(-first.exitcode).name
        return EnvironmentProblem(
            f"training process {rank} was killed ({name}; out of memory?); run the same command again to go on"
        )
    if notes:
        error = RuntimeError(f"training process {rank} failed: {notes[0]['kind']}: {notes[0]['message']}")
        error.add_note(notes[0]["traceback"])  # shown with --debug
        return error
    return RuntimeError(f"training process {rank} left with exit code {first.exitcode}")
