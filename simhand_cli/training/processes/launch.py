"""Start a training function on one process or on many: CPU, one GPU, all GPUs, or inside a running job."""

from collections.abc import Callable

import torch

from simhand_cli.console import Console
from simhand_cli.summary import Summary
from simhand_cli.training.config import TrainingConfig
from simhand_cli.training.processes.failures import ProblemBoard, told_once
from simhand_cli.training.processes.group import Args, Result, memory_problems, run_in_group
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World, find_world, place_of


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
    (:mod:`simhand_cli.training.processes.elastic`), with NCCL for GPUs and gloo for CPUs. A process that torchrun or
    srun has started becomes one rank of its job instead.

    Args:
        worker: a function of a module's top level; its result must be plain values that JSON can hold.
        args: passed to every worker; picklable when there are several.
        world: the processes.
        name: of the run; machines meet others of the same name only.
        board: the job's, where one is joined (:func:`simhand_cli.training.processes.failures.told_once`).
        console: to say that processes start again.

    Raises:
        SimhandError: what a worker raised, or EnvironmentProblem when one was killed too often or out of GPU memory.
        KeyboardInterrupt: the run was stopped by SIGINT or SIGTERM after saving.
    """
    if board is not None:
        return run_in_group(worker, args, board, use_gpu=world.use_gpu)
    if world.size > 1:
        # Loaded here alone: a single process needs no launcher.
        from simhand_cli.training.processes.elastic import launch_many

        return launch_many(worker, args, world, name, console or Console(quiet=True))
    device = "cuda:0" if world.use_gpu else "cpu"
    if world.use_gpu:
        # Libraries that say only "cuda" then mean the same GPU.
        torch.cuda.set_device(0)
    with memory_problems():
        return worker(Ranks(device=device), args)


def run_in_world(
    config: TrainingConfig, console: Console | None, work: Callable[[Console, World, ProblemBoard | None], Summary]
) -> Summary:
    """Do a training command's work as the process of the run that this one is; only the main one is heard.

    Args:
        config: says which processes there are, unless another program has started them.
        console: of the command; None is quiet.
        work: the command, given its console, the run's processes and, in a job that is joined, its problems.

    Raises:
        SimhandError: what the work raises, told by one process of a joined job.
    """
    with told_once(place_of(config)) as board:
        world = find_world(config, board.place if board else None)
        summary = work(console if console is not None and world.is_main else Console(quiet=True), world, board)
        # Its exit code still counts: srun looks at every task's.
        summary.silent = not world.is_main
        return summary
