"""What people see while a command runs: messages, warnings and progress, all on standard error.

Standard output is left to the result: the summary, or one JSON document with ``--json``.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PLAIN_EVERY_S = 10.0


class Ticker:
    """Counts finished items of one piece of long work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Mark ``n`` more items as done; ``note`` is a short status such as ``loss 3.21``."""


class Console:
    """Messages and progress bars on standard error; silent when ``quiet``."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Print one line of information."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print one line the user should act on or know of."""
        if not self.quiet:
            print(f"warning: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, label: str, total: int | None, unit: str = "it") -> Iterator[Ticker]:
        """Show a bar with rate and time left; on something other than a terminal, a line now and then.

        Args:
            label: what is being done.
            total: number of items, None if unknown.
            unit: what an item is, plural, e.g. ``frames``.

        Yields:
            the :class:`Ticker` to advance.
        """
        if self.quiet:
            yield Ticker()
        elif sys.stderr.isatty():
            with _rich_bar(label, total, unit) as ticker:
                yield ticker
        else:
            plain = _PlainTicker(label, total, unit)
            yield plain
            plain.report(final=True)


class _PlainTicker(Ticker):
    """Progress as plain lines: at most one every ten seconds, and one at the end."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note = 0, ""
        self._start = self._reported = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        if time.monotonic() - self._reported >= _PLAIN_EVERY_S:
            self.report()

    def report(self, final: bool = False) -> None:
        """Print where the work stands."""
        self._reported = time.monotonic()
        elapsed = max(self._reported - self._start, 1e-9)
        rate = self._done / elapsed
        of_total = "" if self._total is None else f"/{self._total}"
        line = f"{self._label}: {self._done}{of_total} {self._unit}, {rate:.3g}/s"
        if final:
            line += f", took {format_duration(elapsed)}"
        elif self._total is not None and rate > 0:
            line += f", {format_duration((self._total - self._done) / rate)} left"
        if self._note:
            line += f", {self._note}"
        print(line, file=sys.stderr, flush=True)


class _RichTicker(Ticker):
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task
        self._start, self._done = time.monotonic(), 0

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        fields: dict[str, Any] = {"rate": f"{self._done / max(time.monotonic() - self._start, 1e-9):.3g}"}
        if note:
            fields["note"] = note
        self._progress.update(self._task, advance=n, **fields)


@contextmanager
def _rich_bar(label: str, total: int | None, unit: str) -> Iterator[Ticker]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} " + unit + "/s"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    ]
    with Progress(*columns, console=RichConsole(stderr=True)) as progress:
        task = progress.add_task(label, total=total, rate="-", note="")
        yield _RichTicker(progress, task)


def format_duration(seconds: float) -> str:
    """A duration as people say it: ``3.2 s``, ``4 min 10 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_bytes(count: float) -> str:
    """A size as people say it: ``512 B``, ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
