"""The same run under every way of starting processes: spawned, killed in between, torchrun, srun, several machines."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tiny_workspace import TINY, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.stages.checkpoint_folders import latest_complete

ROOT = Path(__file__).parents[2]
STEPS = 24
FLAGS = (
    f"--backbone test_resnet --epochs 8 --max-steps {STEPS} --batch-size 8 --lr 1e-3 --gpus 0 --workers 0 "
    "--precision fp32 --views.output-px 32 --json"
).split()
GIVEN = {**TINY, "epochs": 8, "max_steps": STEPS}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums must not depend on how many threads a process has."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("several") / "ws")


def assert_same_weights(run_dir: Path, reference: Path) -> None:
    for name in ("backbone.safetensors", f"checkpoints/step-{STEPS:08d}/tensors.safetensors"):
        assert (run_dir / name).read_bytes() == (reference / name).read_bytes()


def start(workspace: Path, *words: str, program: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, *program, "-m", "simhand_cli", "pretrain", "-w", str(workspace), *FLAGS, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, **pipes)


def slurm_task(rank: int, **more: str) -> Mapping[str, str]:
    """What srun sets for one of two tasks on one node."""
    numbers = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_STEP_NUM_TASKS": 2, "SLURM_NTASKS": 2}
    numbers |= {"SLURM_JOB_ID": os.getpid(), "SLURM_STEP_ID": 0, "SLURM_NODEID": 0, "SLURM_STEP_TASKS_PER_NODE": 2}
    return {**{name: str(value) for name, value in numbers.items()}, "SLURM_STEP_NODELIST": "localhost", **more}


class KillOne(threading.Thread):
    """Kills the last started training process, once, as soon as a run has a checkpoint."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(daemon=True)
        self.run_dir, self.killed_after = run_dir, 0

    def run(self) -> None:
        for _ in range(6000):
            if (newest := latest_complete(self.run_dir)) and len(multiprocessing.active_children()) == 2:
                self.killed_after = int(newest.name.removeprefix("step-"))
                os.kill(max(child.pid or 0 for child in multiprocessing.active_children()), signal.SIGKILL)
                return
            time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_process_restarts_all_and_the_weights_are_those_of_two_machines(workspace, two_machines, capfd):
    run_dir = workspace / "runs" / "pretrain-killed"
    killer = KillOne(run_dir)
    killer.start()
    config = PretrainConfig(workspace=workspace, **GIVEN, name="killed", cpu_ranks=2, checkpoint_every=1, redo=True)
    pretrain(config, Console())
    assert 0 < killer.killed_after < STEPS
    told = [line for line in capfd.readouterr().err.splitlines() if "start again" in line]
    assert told == [
        "warning: training process 1 was killed (SIGKILL; out of memory?); all processes start again "
        "from the newest checkpoint (restart 1 of 3)"
    ]
    assert_same_weights(run_dir, two_machines[0])
    first, second = json.loads((run_dir / "environment.json").read_text())["starts"]
    assert (first["steps_done"], first["processes"]) == (0, 2)
    assert second["steps_done"] >= killer.killed_after  # --redo did not throw the killed start's work away


@pytest.fixture(scope="module")
def two_machines(workspace) -> tuple[Path, list[subprocess.Popen[str]], list[tuple[str, str]]]:
    """A run of two commands with one process each: its folder, the commands and what they said."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        endpoint = f"localhost:{free.getsockname()[1]}"
    flags = ("--name", "nodes", "--nnodes", "2", "--rdzv-endpoint", endpoint)
    machines = [start(workspace, *flags) for _ in range(2)]
    outputs = [machine.communicate(timeout=120) for machine in machines]
    return workspace / "runs" / "pretrain-nodes", machines, outputs


@pytest.mark.slow
def test_two_machines_meet(two_machines):
    run_dir, machines, outputs = two_machines
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert sum(error.count("took") for _, error in outputs) == 1  # progress: rank 0 alone
    assert all("waiting for 2 machines at localhost:" in error for _, error in outputs)
    assert [json.loads(output)["facts"]["steps"] for output, _ in outputs] == [STEPS, STEPS]
    (start,) = json.loads((run_dir / "environment.json").read_text())["starts"]
    assert start["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False], ids=["as a terminal does", "to the command alone"])
def test_an_interrupt_ends_all_processes_after_saving(workspace, whole_group):
    name = f"interrupted-{whole_group}"
    command = start(workspace, "--cpu-ranks", "2", "--epochs", "20000", "--max-steps", "40000", "--name", name)
    run_dir = workspace / "runs" / f"pretrain-{name}"
    metrics = run_dir / "metrics.jsonl"
    try:
        for _ in range(1200):
            if metrics.is_file() and len(metrics.read_text().splitlines()) >= 2:
                break
            time.sleep(0.05)
        (os.killpg if whole_group else os.kill)(command.pid, signal.SIGINT)
        said = command.communicate(timeout=120)[1]
    finally:
        command.kill()
    newest = latest_complete(run_dir)
    assert newest is not None, said
    step = int(newest.name.removeprefix("step-"))
    assert f"interrupted, saved after step {step}; run the same command again to go on" in said
    assert command.returncode == 130


@pytest.mark.slow
def test_torchrun_is_joined_and_rank_zero_alone_speaks(workspace, two_machines):
    program = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    job = start(workspace, "--name", "torchrun", program=program)
    output, error = job.communicate(timeout=120)
    assert job.returncode == 0, error
    assert json.loads(output)["facts"]["steps"] == STEPS  # one document
    assert error.count("took") == 1
    assert_same_weights(workspace / "runs" / "pretrain-torchrun", two_machines[0])


@pytest.mark.slow
def test_srun_is_joined_and_a_problem_told_once(workspace, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "catalog.sqlite").touch()
    tasks = [start(tmp_path, **slurm_task(rank)) for rank in range(2)]
    outputs = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [3, 3], outputs
    lines = [line for _, error in outputs for line in error.splitlines()]
    (problem,) = [line for line in lines if line.startswith("simhand pretrain: ")]
    assert "run 'simhand mine' first" in problem
    assert len(set(lines)) == len(lines)  # what the first process is about to do is said by it alone, too
