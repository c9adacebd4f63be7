"""The processor cores that are this process's share of its machine."""

import os
from collections.abc import Mapping

from simhand_cli.training.job_place import job_place


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
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    place = job_place(environment)
    on_machine = environment.get("SLURM_CPUS_ON_NODE", "")
    if place is None or place.starter != "srun" or not on_machine.isdecimal():
        return max(1, seen // processes)
    if seen < int(on_machine):
        return seen
    return max(1, int(on_machine) // processes)
