"""Threads soon sleep while they wait, in every process, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

from simhand_cli.workspace import cores

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SHOWN = f"import os, simhand_cli; print(*[os.environ.get(name) for name in {NAMES}])"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ["PASSIVE", "1000"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None"]),
        ({"GOMP_SPINCOUNT": "7"}, ["PASSIVE", "7"]),
    ],
)
def test_any_import_sets_the_policy_and_a_user_s_own_wins(given, found):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | given
    code = f"{SHOWN}; import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOWN!r}])"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [*found, *found]  # a child too


@pytest.mark.slow
def test_openmp_of_torch_hears_it():
    """GNU OpenMP tells its settings when asked; without the policy it says that waiting threads spin."""
    code = "import simhand_cli, torch; torch.ones(9).sum()"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment["OMP_DISPLAY_ENV"] = "VERBOSE"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if "OMP_WAIT_POLICY" not in told.stderr:
        pytest.skip("torch's OpenMP of this platform tells nothing of its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told.stderr
    assert "GOMP_SPINCOUNT = '1000'" in told.stderr


def test_a_quota_limits_the_threads_of_libraries(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "x")
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    cores.limit_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"]) == ("5", "2")
    assert cores.threads_are_given()


def test_a_limit_is_not_taken_for_the_user_s_number(monkeypatch):
    """Processes of a training share the cores, also where a quota or affinity grants fewer than there are."""
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "SIMHAND_THREAD_LIMIT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    cores.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert not cores.threads_are_given()
    child = "from simhand_cli.workspace import cores; cores.limit_threads(); print(cores.threads_are_given())"
    assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout == "False\n"
