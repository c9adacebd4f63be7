"""Cores: how many this process may use, by affinity and cgroup quotas, and how many other programs keep busy."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

_CGROUPS, _OWN_CGROUPS, _STAT = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/stat")
#: Less than this is the system's own noise.
_NOTICED_CORES = 0.3
#: How long other programs are watched.
_WATCHED_S = 0.2
#: Environment variable with the number that limit_threads has set, so that no process takes it for the user's.
_LIMIT = "SIMHAND_THREAD_LIMIT"


def usable_cores() -> int:
    """Cores that this process may use: those it may run on, or fewer where a container's quota says so; at least 1.

    ``os.cpu_count()`` is the machine's number, whatever a job or a container got of it.
    """
    seen, quota = len(_own_cores()), cgroup_quota()
    return max(1, seen if quota is None else min(seen, math.ceil(quota)))


def _own_cores() -> set[int]:
    """Numbers of the cores that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def cgroup_quota(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """Cores' worth of time that the control groups of this process grant, the smallest of all; None: no limit.

    Args:
        cgroups: where the control groups are mounted, of version 2 or 1.
        own: the file that names this process's groups.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no such system
        return None
    quotas: list[float] = []
    for line in lines:
        # "0::/path" is version 2; "3:cpu,cpuacct:/path" names the controllers of version 1.
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _of_group_and_above(cgroups, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            mounted = cgroups / controllers if (cgroups / controllers).is_dir() else cgroups / "cpu"
            quotas += _of_group_and_above(mounted, path, _quota_v1)
    return min(quotas, default=None)


def _of_group_and_above(root: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """A limit of any group above counts too; in a container the mounted root is its own group, whatever the path."""
    place = root / path.lstrip("/")
    groups = [place, *place.parents] if place.is_dir() else [root]
    quotas = [read(group) for group in groups if group == root or root in group.parents]
    return [quota for quota in quotas if quota is not None]


def _quota_v2(group: Path) -> float | None:
    try:
        granted, period = (group / "cpu.max").read_text().split()
        return None if granted == "max" else float(granted) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        granted, period = (float((group / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period"))
        return granted / period if granted > 0 else None  # -1: no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None


def busy_cores(seconds: float = _WATCHED_S, stat: Path = _STAT) -> float | None:
    """How many of this process's cores other programs keep busy; None where the system does not tell.

    This process waits meanwhile, so that what it does itself hardly counts, and takes its own time off. Where a quota
    grants it fewer cores than it may run on, what others do on the rest takes nothing from it.
    """
    cores = _own_cores()
    try:
        before, own_before = _busy_s(stat, cores), sum(os.times()[:4])
        start = time.perf_counter()
        time.sleep(seconds)
        passed = time.perf_counter() - start
        others = _busy_s(stat, cores) - before - (sum(os.times()[:4]) - own_before)
    except (OSError, ValueError, IndexError):
        return None
    spare = len(cores) - usable_cores()
    return max(0.0, others / passed - spare)


def busy_words(busy: float | None) -> str:
    """``while other programs kept 1.1 of 2 cores busy``; empty where they do not."""
    if busy is None or busy < _NOTICED_CORES:
        return ""
    return f"while other programs kept {busy:.1f} of {usable_cores()} cores busy"


def limit_threads() -> None:
    """Libraries that are loaded later use no more threads than a quota grants; a user's own setting wins.

    They heed affinity by themselves, but know nothing of control groups: on a machine of 64 cores a container of 2
    would run 64 threads, each of which is stopped for most of the time.
    """
    usable = usable_cores()
    if usable < (os.cpu_count() or 1):
        if "OMP_NUM_THREADS" not in os.environ:
            os.environ["OMP_NUM_THREADS"] = os.environ[_LIMIT] = str(usable)
        os.environ.setdefault("NUMBA_NUM_THREADS", str(usable))


def threads_are_given() -> bool:
    """Whether the user, or torchrun, has said how many threads a process has; not where :func:`limit_threads` has."""
    given = os.environ.get("OMP_NUM_THREADS")
    return given is not None and given != os.environ.get(_LIMIT)


def _busy_s(stat: Path, cores: set[int]) -> float:
    """Seconds that these cores together have worked since the start: user, nice, system, interrupts, stolen time.

    Raises:
        ValueError: the file tells nothing of them.
    """
    lines = [line.split() for line in stat.read_text().splitlines() if line.startswith("cpu")]
    found = [[int(word) for word in words[1:9]] for words in lines if words[0] in {f"cpu{core}" for core in cores}]
    if not found:
        raise ValueError(f"{stat} names no core")
    # Idle, and waiting for a disk.
    idle = sum(ticks[3] + ticks[4] for ticks in found)
    return (sum(map(sum, found)) - idle) / os.sysconf("SC_CLK_TCK")
