"""``metrics.jsonl``: one JSON object per logged step, appended; a resumed run first forgets what it will redo."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from simhand_cli.training.log.trackers import Tracker
from simhand_cli.workspace.atomic import write_text


class MetricsLog:
    """Appends metrics to a file; survives ``kill -9`` with at most a torn last line."""

    def __init__(self, path: Path, steps_done: int = 0, trackers: Sequence[Tracker] = ()) -> None:
        """Open a log to go on after ``steps_done`` steps; later and unreadable lines are removed (0: all).

        The trackers are told every line too, and closed with the log.
        """
        self._trackers = trackers
        # Steps after the checkpoint are done again, and would be in the curve twice.
        kept = [line for line in read_metrics(path) if line["step"] <= steps_done] if steps_done else []
        # As a whole and atomically: a torn last line must not be appended to.
        write_text(path, "".join(_line(values) for values in kept))
        self._last: list[dict[str, Any]] = [line for line in kept if line["step"] == steps_done]
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append the metrics of a step (1-based: steps done); non-finite numbers become null."""
        self._file.write(_line({"step": step, **values}))
        self._file.flush()
        for tracker in self._trackers:
            tracker.write(step, values)

    def has(self, step: int, beginning: str) -> bool:
        """Whether, when the log was opened, its last step was this one, with a value whose name begins like that."""
        return any(line["step"] == step and any(name.startswith(beginning) for name in line) for line in self._last)

    def sync(self) -> None:
        """Force everything written so far to the disk; called before a checkpoint that builds on it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()
            for tracker in self._trackers:
                tracker.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a metrics file in order; a torn or foreign line is left out, a missing file is empty."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
        # A line torn by a crash is not worth refusing the run's whole curve.
        except ValueError:
            continue
        if isinstance(values, dict) and isinstance(values.get("step"), int):
            found.append(values)
    return found


def _line(values: Mapping[str, Any]) -> str:
    # NaN is no JSON, and other programs refuse it.
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return json.dumps(plain) + "\n"
