"""Which processes a run has: options, torchrun's and srun's environment, node lists."""

import os
import subprocess
import time

import pytest
import torch
from torch.distributed import HashStore, PrefixStore

from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.stages.run_folder import open_run
from simhand_cli.training.config import TrainingConfig
from simhand_cli.training.processes.cluster import JobPlace, first_host, job_place, tasks_of_nodes
from simhand_cli.training.processes.rendezvous import agreed_job
from simhand_cli.training.processes.world import World, find_world, gpu_index, place_of

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
TORCHRUN |= {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "1"}
SRUN = {"SLURM_PROCID": "3", "SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "2"}
SRUN |= {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_JOB_ID": "123456"}
SRUN |= {"SLURM_STEP_NODELIST": "gpu[07,09]", "SLURM_NODELIST": "gpu[01-09]"}


def without(environment: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("host[01-03,07]", "host01"),
        ("host[7,01-03],zoo", "host7"),
        ("gpu-a[003],b", "gpu-a003"),
        ("r[1-2]n[10-12,14].cluster,x[1-2]", "r1n10.cluster"),
        ("plain,host[1-2]", "plain"),
        (" host[09-10] ", "host09"),
    ],
)
def test_first_host_of_a_node_list(nodes, host):
    assert first_host(nodes) == host


def test_tasks_of_nodes():
    assert tasks_of_nodes("2(x3),1") == [2, 2, 2, 1]
    assert tasks_of_nodes("8") == [8]
    assert tasks_of_nodes("") == []


def test_place_in_a_torchrun_job():
    place = job_place(TORCHRUN)
    assert (place.starter, place.rank, place.local_rank) == ("torchrun", 3, 1)
    assert (place.world_size, place.local_world_size, place.address, place.port) == (4, 2, "node1", 29500)
    assert place.job.startswith(f"none of {os.getppid()}, started ")
    assert place.restarts == 0  # two machines may count differently
    assert job_place({**TORCHRUN, "LOCAL_WORLD_SIZE": "4"}).restarts == 1
    assert job_place({**TORCHRUN, **SRUN}) == place  # torchrun inside srun
    plain = without(TORCHRUN, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    assert job_place(plain).local_rank == 3  # each its own GPU


def test_launchers_of_one_process_id_are_told_apart(monkeypatch):
    jobs = set()
    for _ in range(2):  # one after the other, both as the first process of a container, say
        with subprocess.Popen(["sleep", "60"]) as launcher:
            monkeypatch.setattr(os, "getppid", lambda pid=launcher.pid: pid)
            jobs.add(job_place(TORCHRUN).job.partition(",")[2])
            assert job_place(TORCHRUN).job.partition(",")[2] in jobs
            launcher.kill()
        time.sleep(0.02)  # the clock ticks every 0.01 s
    assert len(jobs) == 2


def test_place_in_a_slurm_step():
    place = job_place(SRUN)
    assert (place.starter, place.rank, place.local_rank) == ("srun", 3, 0)
    assert (place.world_size, place.local_world_size, place.address) == (4, 1, "gpu07")
    assert place.job == "slurm 123456.2"
    assert 1024 < place.port < 32768
    assert place.port != job_place({**SRUN, "SLURM_STEP_ID": "3"}).port
    given = job_place({**SRUN, "MASTER_ADDR": "here", "MASTER_PORT": "4711"})
    assert (given.address, given.port) == ("here", 4711)
    oldest = without(SRUN, "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST")
    assert (job_place(oldest).world_size, job_place(oldest).address) == (8, "gpu01")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0"},
        {"SLURM_NTASKS": "8", "SLURM_NODELIST": "gpu[1-2]"},  # salloc
        without(SRUN, "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"),  # a batch script
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # srun --pty bash
    ],
)
def test_no_job_is_joined(environment):
    assert job_place(environment) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (without(TORCHRUN, "MASTER_ADDR"), "MASTER_ADDR is not set; start with torchrun, or unset them"),
        ({**TORCHRUN, "RANK": "one"}, "RANK is 'one', not a number"),
        (without(SRUN, "SLURM_STEP_NODELIST", "SLURM_NODELIST"), "SLURM_NODELIST is not set; set MASTER_ADDR"),
    ],
)
def test_half_a_job_is_one_line(environment, message):
    with pytest.raises(EnvironmentProblem, match=message):
        job_place(environment)


def test_gpus_of_a_joined_job(monkeypatch):
    place = job_place(TORCHRUN)
    assert find_world(TrainingConfig(gpus=0, cpu_ranks=5), place) == World(2, use_gpu=False, place=place)
    assert find_world(TrainingConfig(gpus=2), place).use_gpu
    with pytest.raises(UsageProblem, match=r"^--gpus 3, but torchrun has started 2 processes on this machine"):
        find_world(TrainingConfig(gpus=3), place)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert find_world(TrainingConfig(), place).use_gpu
    with pytest.raises(EnvironmentProblem, match=r"^process 3 has no GPU: 2 processes on a machine that shows 1"):
        gpu_index(place)
    assert gpu_index(JobPlace("srun", 3, 1, 4, 2, "node1", 1)) == 0  # srun shows each task its own
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpu_index(place) == 1


def test_nnodes_and_jobs(monkeypatch):
    several = TrainingConfig(nnodes=2, rdzv_endpoint="node1:29400", gpus=0)
    for name in {*TORCHRUN, *SRUN}:
        monkeypatch.delenv(name, raising=False)
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    assert place_of(TrainingConfig()).starter == "srun"
    assert place_of(several) is None  # one task per machine, each with processes of its own
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageProblem, match=r"^--nnodes 2, but this is process 3 of 4 of a torchrun job"):
        place_of(several)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nnodes": 2}, "^--nnodes 2 needs --rdzv-endpoint HOST:PORT"),
        ({"rdzv_endpoint": "node1:29400"}, "say how many with --nnodes"),
        ({"nnodes": 2, "rdzv_endpoint": "node1"}, "^--rdzv-endpoint node1: give it as HOST:PORT"),
        ({"nnodes": 2, "rdzv_endpoint": "node1:65536"}, "^--rdzv-endpoint node1:65536: give it as HOST:PORT"),
        ({"nnodes": 2, "rdzv_endpoint": "node1:0"}, "^--rdzv-endpoint node1:0: give it as HOST:PORT"),
    ],
)
def test_a_meeting_place_is_needed_and_checked(given, message):
    with pytest.raises(UsageProblem, match=message):
        find_world(TrainingConfig(gpus=0, **given), None)


def test_a_world_in_words():
    config = TrainingConfig(gpus=0, cpu_ranks=2, nnodes=3, rdzv_endpoint="[::1]:29400", max_restarts=1)
    world = find_world(config, None)
    assert world.size == 6
    assert str(world) == "6 on CPUs of 3 machines that meet at [::1]:29400, at most 1 restarts"
    assert str(World()) == "1 on the CPU"
    assert str(World(2, use_gpu=True, place=job_place(TORCHRUN))) == "4 on GPUs, started by torchrun"


def test_machines_that_join_later_are_of_the_same_job():
    kept = HashStore()
    first = agreed_job(PrefixStore("torch.rendezvous.simhand a.1", kept))
    assert agreed_job(PrefixStore("torch.rendezvous.simhand a.2", kept)) == first  # in place of a lost one
    assert agreed_job(PrefixStore("torch.rendezvous.simhand a.1", HashStore())) != first  # another job


def test_a_restart_does_not_redo_what_its_job_has_done(tmp_path):
    path = tmp_path / "run"
    open_run(path, {"a": 1}, redo=True, job="first")
    (path / "work").touch()
    open_run(path, {"a": 1}, redo=True, job="first")
    assert (path / "work").exists()
    open_run(path, {"a": 2}, redo=True, job="second")
    assert not (path / "work").exists()
    (path / "work").touch()
    open_run(path, {"a": 3}, redo=True)
    assert not (path / "work").exists()
