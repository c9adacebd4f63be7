"""Start a training function on one process or on many: CPU, one GPU, all GPUs, or inside a running job."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.cores import own_cores
from simhand_cli.training.problems import ProblemBoard, group_problems
from simhand_cli.training.ranks import Ranks
from simhand_cli.training.world import World, gpu_index

Args = TypeVar("Args")
Result = dict[str, Any]


def launch(
    worker: Callable[[Ranks, Args], Result],
    args: Args,
    world: World,
    *,
    name: str = "training",
    board: ProblemBoard | None = None,
    console: Console | None = None,
) -> Result:
    """Run ``worker(ranks, args)`` on every process of the run and return rank 0's result, on every process.

    One process is this very process. More, or several machines, are started by torch's elastic launcher
    (:mod:`simhand_cli.training.elastic`), with NCCL for GPUs and gloo for CPUs. A process that torchrun or srun has
    started becomes one rank of its job instead.

    Args:
        worker: a function of a module's top level; its result must be plain values that JSON can hold.
        args: passed to every worker; picklable when there are several.
        world: the processes.
        name: of the run; machines meet others of the same name only.
        board: the job's, where one is joined (:func:`simhand_cli.training.problems.told_once`).
        console: to say that processes start again.

    Raises:
        SimhandError: what a worker raised, or EnvironmentProblem when one was killed too often or out of GPU memory.
        KeyboardInterrupt: the run was stopped by SIGINT or SIGTERM after saving.
    """
    if board is not None:
        return run_in_group(worker, args, board, use_gpu=world.use_gpu)
    if world.size > 1:
        from simhand_cli.training.elastic import launch_many

        return launch_many(worker, args, world, name, console or Console(quiet=True))
    device = "cuda:0" if world.use_gpu else "cpu"
    if world.use_gpu:
        torch.cuda.set_device(0)
    with memory_problems():
        return worker(Ranks(device=device), args)


def run_in_group(worker: Callable[[Ranks, Args], Result], args: Args, board: ProblemBoard, *, use_gpu: bool) -> Result:
    """Make this process one rank of its job's process group, run the worker and share rank 0's result.

    After an exception the group is left as it is, and the process must end without tearing it down
    (:func:`os._exit`), once it has told why: NCCL ends a group only together with all its ranks.
    """
    # torch renames its collectives; the old names work in every version that we support.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    place, device = board.place, "cpu"
    group: dict[str, Any] = {"store": board.store, "rank": place.rank, "world_size": place.world_size}
    if use_gpu:
        device = f"cuda:{gpu_index(place)}"
        torch.cuda.set_device(torch.device(device))
        with memory_problems(), group_problems():
            dist.init_process_group("nccl", device_id=torch.device(device), **group)
    else:
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(own_cores(place.local_world_size))
        with group_problems():
            dist.init_process_group("gloo", **group)
    ranks = Ranks(
        place.rank,
        place.local_rank,
        place.world_size,
        device,
        grouped=True,
        local_world_size=place.local_world_size,
        job=place.job,
    )
    with memory_problems():
        result: Result = json.loads(ranks.from_main(json.dumps(worker(ranks, args))))
    dist.destroy_process_group()
    return result


@contextmanager
def memory_problems() -> Iterator[None]:
    """A full GPU or memory as a problem the user can act on; torch's own message fills a screen.

    Raises:
        EnvironmentProblem: in place of torch's OutOfMemoryError, or of its RuntimeError for a CPU's memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentProblem(
            "out of GPU memory; use a smaller --batch-size (pretrain: --micro-batch) or more --gpus, or end other "
            "programs on the GPU"
        ) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise EnvironmentProblem(
            "out of memory; use a smaller --batch-size (pretrain: --micro-batch), or end other programs"
        ) from error
