"""The cluster environment: this process's place in a job that torchrun or SLURM's srun has started."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simhand_cli.errors import EnvironmentProblem

#: Ports that a SLURM step's number chooses from: above the system's, below those the kernel gives away (Linux: 32768).
_FIRST_PORT, _PORTS = 12_000, 20_000


@dataclass(frozen=True)
class JobPlace:
    """One process of a job started by another program.

    Attributes:
        starter: that program.
        rank: this process, 0 .. world_size - 1 over all machines.
        local_rank: this process on its machine.
        world_size: number of processes.
        local_world_size: those on this machine.
        address: host name or address of rank 0.
        port: where rank 0 (or torchrun) keeps the job's store.
        job: the same for every start and restart of the processes of one job, and no other job's.
        restarts: how often torchrun has started them again; 0 on several machines, which may count differently.
    """

    starter: Literal["torchrun", "srun"]
    rank: int
    local_rank: int
    world_size: int
    local_world_size: int
    address: str
    port: int
    job: str = ""
    restarts: int = 0


def job_place(environment: Mapping[str, str] = os.environ) -> JobPlace | None:
    """The place that torchrun (RANK and WORLD_SIZE) or srun (a step of several tasks) has given, None without a job.

    A shell or batch script inside a SLURM allocation is no job of several processes: it has no step, or one of one
    task.

    Raises:
        EnvironmentProblem: some of the variables are missing or no numbers.
    """
    # torchrun first: inside an srun step that starts torchrun both sets of variables are there.
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _of_torchrun(environment)
    if "SLURM_PROCID" in environment and _step(environment) is not None:
        place = _of_srun(environment)
        # srun with one task is a plain run, which may still use all GPUs of the machine.
        return place if place.world_size > 1 else None
    return None


def speaks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the one of a job that may talk before the job's place is looked into."""
    return environment.get("RANK", "0") == "0" and environment.get("SLURM_PROCID", "0") == "0"


def _of_torchrun(environment: Mapping[str, str]) -> JobPlace:
    """As torch documents it for ``env://`` and torchrun; a launcher that sets only the former may lack LOCAL_*."""
    world_size = _number(environment, "WORLD_SIZE")
    local_world_size = _number(environment, "LOCAL_WORLD_SIZE", world_size)
    restarts = _number(environment, "TORCHELASTIC_RESTART_COUNT", 0)
    run = environment.get("TORCHELASTIC_RUN_ID")
    rank = _number(environment, "RANK")
    return JobPlace(
        starter="torchrun",
        rank=rank,
        local_rank=_number(environment, "LOCAL_RANK", rank),
        world_size=world_size,
        local_world_size=local_world_size,
        address=_text(environment, "MASTER_ADDR"),
        port=_number(environment, "MASTER_PORT"),
        # The id is often a default word; the launcher's process, which outlives its workers, tells jobs apart.
        job=f"{run} of {_parent_process()}" if run is not None else "",
        restarts=restarts if local_world_size == world_size else 0,
    )


def _parent_process() -> str:
    """The parent's process id with, on Linux, its start and the machine's: in containers alone ids come again."""
    parent = os.getppid()
    try:
        # After the name in brackets, which may hold anything: the third to the last field, of which the 22nd is the
        # start in clock ticks since the machine's (Linux's manual page proc_pid_stat).
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[22 - 3]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(parent)
    return f"{parent}, started {started} after boot {boot}"


def _of_srun(environment: Mapping[str, str]) -> JobPlace:
    """As srun's manual lists its output variables; MASTER_ADDR and MASTER_PORT go first where somebody has set them."""
    # The step's own number: SLURM_NTASKS may be the job's.
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    world_size = _number(environment, name)
    job_id, step = _number(environment, "SLURM_JOB_ID", 0), _step(environment)
    # The step's list first: a step may run on some of the job's machines only.
    lists = ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST")
    nodes = next((environment[name] for name in lists if environment.get(name)), "")
    if "MASTER_ADDR" not in environment and not nodes:
        raise EnvironmentProblem("started by srun, but SLURM_NODELIST is not set; set MASTER_ADDR to rank 0's machine")
    return JobPlace(
        starter="srun",
        rank=_number(environment, "SLURM_PROCID"),
        local_rank=_number(environment, "SLURM_LOCALID", 0),
        world_size=world_size,
        local_world_size=_tasks_here(environment, world_size),
        address=environment.get("MASTER_ADDR") or first_host(nodes),
        # Every task computes the same port; 997, a prime, keeps the steps of one job apart.
        port=_number(environment, "MASTER_PORT", _FIRST_PORT + (job_id + 997 * int(step or 0)) % _PORTS),
        job=f"slurm {job_id}.{step}",
    )


def first_host(nodes: str) -> str:
    """The first host of a SLURM node list such as ``gpu[01-03,07],cpu1``: ``gpu01``.

    A list's parts are parted by commas; a bracket holds numbers and ranges, of which the first begins with its first
    (SLURM's manual of ``scontrol show hostnames``).
    """
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])*", nodes.strip())
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else "")


def tasks_of_nodes(text: str) -> list[int]:
    """The tasks of every node from SLURM's short form: ``2(x3),1`` is [2, 2, 2, 1]."""
    counts: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(tasks)] * int(times or 1)
    return counts


def _tasks_here(environment: Mapping[str, str], world_size: int) -> int:
    text = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE", "")
    counts, node = tasks_of_nodes(text), _number(environment, "SLURM_NODEID", 0)
    # Without a list all tasks are taken to be on one machine.
    return counts[node] if node < len(counts) else world_size


def _step(environment: Mapping[str, str]) -> str | None:
    """The step's number; a batch script has SLURM_PROCID and SLURM_NTASKS too, but no step."""
    return environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID"))


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    # int() would take " 1", "+1" and "1_0" too.
    if not re.fullmatch(r"[0-9]+", text):
        raise EnvironmentProblem(f"the environment asks to join a job, but {name} is {text!r}, not a number")
    return int(text)


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise EnvironmentProblem(
            f"RANK and WORLD_SIZE ask to join a job, but {name} is not set; start with torchrun, or unset them"
        )
    return environment[name]
