"""Cores that a process may use, and those that others keep busy, from made-up and real files of the system."""

import math
import os
import subprocess
import sys

import pytest

from simhand_cli.workspace import cores
from simhand_cli.workspace.cores import busy_cores, busy_words, cgroup_quota, usable_cores


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"job/step/cpu.max": "max 100000"}, None),
        ({"job/step/cpu.max": "150000 100000"}, 1.5),
        ({"job/step/cpu.max": "max 100000", "job/cpu.max": "200000 100000"}, 2.0),  # the limit of the group above
        ({"job/step/cpu.max": "400000 100000", "job/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2.0),
        ({"job/step/cpu.max": "what is this"}, None),
    ],
)
def test_quotas_of_version_2(tmp_path, files, quota):
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    write(tmp_path / "own", "0::/job/step\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "own") == quota


def test_a_container_s_root_is_its_own_group(tmp_path):
    """Inside a container the path is the host's and is not mounted."""
    write(tmp_path / "cgroup" / "cpu.max", "50000 100000")
    write(tmp_path / "own", "0::/docker/0123abcd\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "own") == 0.5


@pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
def test_quotas_of_version_1(tmp_path, mounted):
    root = tmp_path / "cgroup" / mounted
    write(root / "job" / "cpu.cfs_quota_us", "-1")
    write(root / "job" / "cpu.cfs_period_us", "100000")
    write(tmp_path / "own", "4:memory:/job\n3:cpu,cpuacct:/job\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "own") is None
    write(root / "job" / "cpu.cfs_quota_us", "300000")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "own") == 3.0


def test_no_control_groups_is_no_limit(tmp_path):
    assert cgroup_quota(tmp_path, tmp_path / "nothing") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (2.5, 3), (0.2, 1), (64.0, 8)])
def test_a_quota_makes_fewer_cores_and_never_more(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    assert usable_cores() == expected


@pytest.mark.parametrize(("quota", "others"), [(None, 1.5), (1.0, 0.5)])  # one core is enough for a quota of one
def test_others_are_seen_and_this_process_is_not(tmp_path, monkeypatch, quota, others):
    ticks = os.sysconf("SC_CLK_TCK")
    stat, times = tmp_path / "stat", iter([(1.0, 0.0, 0.0, 0.0, 0.0), (1.5, 0.25, 0.0, 0.0, 0.0)])
    text = (
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 {} 0 {} {} {} 0 0 0 0 0\ncpu1 {} 0 0 0 0 0 0 0 0 0\ncpu2 {} 0 0 0 0 0 0 0 0 0\n"
    )
    write(stat, text.format(100, 100, 500, 20, 0, 0))

    def passes(_seconds):  # 2 s in which this process's cores worked for 3.75 s, of which 0.75 s were its own
        write(stat, text.format(100 + ticks, 100 + 3 * ticks // 4, 900, 70, 2 * ticks, 2 * ticks))

    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1}, raising=False)
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(cores.time, "sleep", passes)
    monkeypatch.setattr(cores.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(os, "times", lambda: next(times))
    assert busy_cores(2.0, stat) == pytest.approx(others)


def test_a_busy_loop_is_noticed():
    """A real one: how many there are beside it is not known, so only the least is."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        found = busy_cores(1.0)
    finally:
        child.kill()
        child.wait()
    assert found is None or found > 0.25


def test_an_idle_machine_is_not_mentioned(tmp_path):
    assert busy_words(None) == busy_words(0.1) == ""
    assert busy_words(1.26) == f"while other programs kept 1.3 of {usable_cores()} cores busy"
    assert busy_cores(0.01, tmp_path / "nothing") is None
    assert math.isfinite(usable_cores())
