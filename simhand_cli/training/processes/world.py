"""The processes of a training run: how many, on how many machines, started by whom."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.training.config import TrainingConfig
from simhand_cli.training.processes.cluster import JobPlace, job_place
from simhand_cli.workspace.cores import usable_cores


@dataclass(frozen=True)
class World:
    """All processes of a run, seen from one of its commands.

    Attributes:
        processes: those of this machine.
        use_gpu: one GPU each, else the CPU.
        nodes: machines that simhand is started on by hand.
        endpoint: HOST:PORT where those meet.
        max_restarts: how often all start again after one was killed.
        place: this process's place where another program has started the processes; the above does not count then.
    """

    processes: int = 1
    use_gpu: bool = False
    nodes: int = 1
    endpoint: str | None = None
    max_restarts: int = 0
    place: JobPlace | None = None

    @property
    def size(self) -> int:
        """Number of processes on all machines, which are taken to be alike."""
        return self.place.world_size if self.place else self.nodes * self.processes

    @property
    def is_main(self) -> bool:
        """Whether this command talks to the user."""
        return self.place is None or self.place.rank == 0

    def __str__(self) -> str:
        kind = "GPU" if self.use_gpu else "CPU"
        shown = f"{self.size} on {kind}s" if self.size > 1 else f"1 on the {kind}"
        if self.place is not None:
            return f"{shown}, started by {self.place.starter}"
        if self.nodes > 1:
            shown = f"{shown} of {self.nodes} machines that meet at {self.endpoint}"
        return f"{shown}, at most {self.max_restarts} restarts" if self.size > 1 else shown


def place_of(config: TrainingConfig) -> JobPlace | None:
    """The job that this process is to join.

    With ``--nnodes`` under srun every task is a machine's command, which starts its own processes.

    Raises:
        UsageProblem: --nnodes inside a job whose processes torchrun has started already.
        EnvironmentProblem: the environment names a job, but not completely.
    """
    # Where somebody has started several processes, simhand joins them instead of starting more.
    place = job_place()
    if place is None or config.nnodes == 1:
        return place
    if place.starter == "srun":
        return None
    raise UsageProblem(
        f"--nnodes {config.nnodes}, but this is process {place.rank} of {place.world_size} of a torchrun job; "
        "give --nnodes to torchrun instead"
    )


def find_world(config: TrainingConfig, place: JobPlace | None) -> World:
    """The processes that a config asks for, or those of the job that is joined.

    Raises:
        UsageProblem: options that contradict each other or the job.
        EnvironmentProblem: more GPUs than there are.
    """
    if place is not None:
        return World(place.local_world_size, _joined_use_gpu(config.gpus, place), place=place)
    _check_endpoint(config.nnodes, config.rdzv_endpoint)
    # No GPU is no error: the same command works on a laptop, if slowly.
    gpus = resolve_gpus(config.gpus)
    return World(gpus or config.cpu_ranks, gpus > 0, config.nnodes, config.rdzv_endpoint, config.max_restarts)


def resolve_gpus(gpus: int | None) -> int:
    """The number of GPUs to use: what was asked for, or all visible ones.

    Raises:
        EnvironmentProblem: more were asked for than this machine has.
    """
    available = _visible_gpus()
    if gpus is None:
        return available
    if gpus > available:
        usable = "no usable GPU" if available == 0 else f"only {available}"
        raise EnvironmentProblem(f"--gpus {gpus}, but this machine has {usable}; use --gpus {available}")
    return gpus


def gpu_index(place: JobPlace) -> int:
    """The GPU of a process among those it sees: its local rank, or the only one where srun shows each its own.

    Raises:
        EnvironmentProblem: more processes on this machine than GPUs.
    """
    available = _visible_gpus()
    # With --gpus-per-task every task sees its own GPU, as number 0.
    if place.starter == "srun" and available == 1:
        return 0
    if place.local_rank >= available:
        raise EnvironmentProblem(
            f"process {place.rank} has no GPU: {place.local_world_size} processes on a machine that shows {available}; "
            "start one process per GPU, or use --gpus 0"
        )
    return place.local_rank


def _visible_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _joined_use_gpu(gpus: int | None, place: JobPlace) -> bool:
    """Whether to train on GPUs: unless there is none, or --gpus 0; another number must be that of the processes."""
    if gpus is None:
        return _visible_gpus() > 0
    # One process per GPU is torch's rule; another number would leave GPUs idle or share them.
    if gpus not in (0, place.local_world_size):
        raise UsageProblem(
            f"--gpus {gpus}, but {place.starter} has started {place.local_world_size} processes on this machine, "
            "one per GPU; leave --gpus out"
        )
    return gpus > 0


def _check_endpoint(nodes: int, endpoint: str | None) -> None:
    if nodes > 1 and endpoint is None:
        raise UsageProblem(f"--nnodes {nodes} needs --rdzv-endpoint HOST:PORT, where HOST is one of the machines")
    if nodes == 1 and endpoint is not None:
        raise UsageProblem("--rdzv-endpoint is for several machines: say how many with --nnodes")
    if endpoint is None:
        return
    # A bare IPv6 address has colons of its own, so it must stand in brackets.
    given = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):([0-9]{1,5})", endpoint)
    if given is None or not 1 <= int(given[2]) <= 65_535:
        raise UsageProblem(f"--rdzv-endpoint {endpoint}: give it as HOST:PORT, for example node1:29400")


def own_cores(processes: int, environment: Mapping[str, str] = os.environ) -> int:
    """Cores of one of so many training processes on this machine, at least one.

    What this process may run on is divided by the processes, except where srun has bound every task to cores of its
    own: a task then sees fewer than SLURM_CPUS_ON_NODE, the step's cores on this machine (srun's manual, "Output
    environment variables").

    Args:
        processes: training processes on this machine.
        environment: where srun's variables are looked for.

    Raises:
        EnvironmentProblem: the environment names a job, but not completely.
    """
    seen = usable_cores()
    place = job_place(environment)
    on_machine = environment.get("SLURM_CPUS_ON_NODE", "")
    if place is None or place.starter != "srun" or not on_machine.isdecimal():
        return max(1, seen // processes)
    # Bound to cores of its own: these are not to be divided again.
    if seen < int(on_machine):
        return seen
    return max(1, int(on_machine) // processes)
