"""The cores of a process, by what it may run on and by what srun says of the machine."""

import os

import pytest

from simhand_cli.finetune.run import _workers
from simhand_cli.training.loader_workers import loader_workers
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World, own_cores

#: Four tasks on a machine of which the step has 32 cores; srun gives all of these.
SRUN = {
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "4",
    "SLURM_STEP_NODELIST": "gpu1",
    "SLURM_CPUS_ON_NODE": "32",
}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "gpu1", "MASTER_PORT": "29500"}


def see(monkeypatch, cores):
    """As on a machine of 128 cores of which this process may run on so many."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)), raising=False)


@pytest.mark.parametrize(
    ("seen", "environment", "share"),
    [
        (32, {}, 8),  # simhand's own processes
        (3, {}, 1),
        (32, TORCHRUN, 8),
        (8, SRUN, 8),  # bound: all of them are this task's
        (32, SRUN, 8),  # confined to the step's cores, but not bound
        (128, SRUN, 8),  # neither
        (8, {name: value for name, value in SRUN.items() if name != "SLURM_CPUS_ON_NODE"}, 2),
        (16, {**SRUN, **TORCHRUN}, 4),  # torchrun in a bound task: its processes share the task's cores
    ],
)
def test_a_process_has_its_share(monkeypatch, seen, environment, share):
    see(monkeypatch, seen)
    assert own_cores(4, environment) == share


def test_loaders_of_bound_tasks_use_all_their_cores(monkeypatch):
    see(monkeypatch, 8)
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    assert loader_workers(None, Ranks(1, 1, 4, "cuda:1", grouped=True, local_world_size=4)) == 8
    assert _workers(None, World(4, use_gpu=True)) == 8


def test_fine_tuning_uses_no_cores_that_it_may_not_run_on(monkeypatch):
    see(monkeypatch, 4)
    assert _workers(None, World(2, use_gpu=True)) == 2
    assert loader_workers(None, Ranks(device="cpu")) == 1
    see(monkeypatch, 1)
    assert loader_workers(None, Ranks(device="cpu")) == 0
