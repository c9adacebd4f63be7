"""Launching: one process in place, several through torch's elastic launcher, their errors as one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.training.processes.cluster import job_place
from simhand_cli.training.processes.failures import told_once
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World, resolve_gpus


def exchange(ranks: Ranks, text: str) -> dict:
    told = ranks.from_main(text if ranks.is_main else "something else")
    everyone = ranks.gather_bytes(torch.tensor([ranks.rank, 7], dtype=torch.uint8))
    return {
        "told": told,
        "world": ranks.world_size,
        "maximum": ranks.maximum([float(ranks.rank), -float(ranks.rank)]),
        "mean": ranks.mean(torch.tensor([float(ranks.rank)])).tolist(),
        "gathered": [part.tolist() for part in everyone],
    }


def fail_on_rank_one(ranks: Ranks, what: str) -> dict:
    if ranks.rank == 1:
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")
        raise InputProblem("crop 7 is damaged")
    ranks.barrier()  # would wait for ever if rank 1's end did not end the run
    return {}


def test_one_process_runs_in_place():
    result = launch(exchange, "hello", World())
    assert result == {"told": "hello", "world": 1, "maximum": [0.0, -0.0], "mean": [0.0], "gathered": [[0, 7]]}
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_two_ranks_exchange_and_rank_zero_returns():
    before = signal.getsignal(signal.SIGTERM)
    result = launch(exchange, "grüße", World(2))
    assert result == {
        "told": "grüße",
        "world": 2,
        "maximum": [1.0, 0.0],
        "mean": [0.5],
        "gathered": [[0, 7], [1, 7]],
    }
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "problem", "message"),
    [
        ("raises", InputProblem, "^crop 7 is damaged$"),
        ("killed", EnvironmentProblem, "process 1 was killed .SIGKILL"),
        ("out of memory", EnvironmentProblem, "^out of GPU memory; use a smaller --batch-size"),
    ],
)
def test_a_failing_rank_ends_the_run_with_its_own_problem(what, problem, message):
    with pytest.raises(problem, match=message):
        launch(fail_on_rank_one, what, World(2))


def fill_the_gpu(_ranks: Ranks, _args: None) -> dict:
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")


def test_a_full_gpu_is_one_line():
    with pytest.raises(EnvironmentProblem, match="--batch-size") as caught:
        launch(fill_the_gpu, None, World())
    assert "\n" not in str(caught.value)


def fill_the_memory(_ranks: Ranks, _args: None) -> dict:
    torch.empty(2**60, dtype=torch.uint8)
    return {}


def test_a_full_memory_is_one_line():
    with pytest.raises(EnvironmentProblem, match=r"^out of memory; use a smaller --batch-size .*--micro-b") as caught:
        launch(fill_the_memory, None, World())
    assert "\n" not in str(caught.value)


def hear_nothing(ranks: Ranks, folder: str) -> dict:
    """As a rank in a collective that never ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    (Path(folder) / str(ranks.rank)).touch()
    time.sleep(600)
    return {}


@pytest.mark.slow
def test_a_second_interrupt_ends_ranks_that_do_not_hear(tmp_path):
    program = f"from test_launch import *; launch(hear_nothing, {str(tmp_path)!r}, World(2))"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    try:
        until = time.monotonic() + 120
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        command.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(timeout=5)  # they are given time to save
        command.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in command.communicate(timeout=60)[1]
    finally:
        command.kill()


def test_joins_a_running_job(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    with told_once(job_place()) as board:
        result = launch(exchange, "joined", World(place=board.place), board=board)
    assert (result["told"], result["world"]) == ("joined", 1)


def test_too_many_gpus_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_gpus(None) == 0
    with pytest.raises(EnvironmentProblem, match=r"^--gpus 8, but this machine has no usable GPU; use --gpus 0$"):
        resolve_gpus(8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_gpus(None) == 2
    assert resolve_gpus(1) == 1
    with pytest.raises(EnvironmentProblem, match="only 2"):
        resolve_gpus(3)
