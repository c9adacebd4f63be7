"""What every command returns: what was done, what was dropped and why, and where the results lie."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simhand_cli.errors import InputProblem


@dataclass(frozen=True)
class Dropped:
    """A group of items left out.

    Attributes:
        what: the items, plural ("frames", "crops", a file name).
        count: how many.
        why: the reason, in a few words.
        change: the flag or action that would change it; empty if nothing would.
    """

    what: str
    count: int
    why: str
    change: str = ""


def refuse_dropped(dropped: Sequence[Dropped], strict: bool) -> None:
    """With ``--strict``, stop before the work rather than after it.

    Raises:
        InputProblem: something had to be left out.
    """
    count = sum(one.count for one in dropped)
    if strict and count:
        first = dropped[0]
        raise InputProblem(f"--strict: {count} items cannot be used; {first.count} {first.what}: {first.why}")


@dataclass
class Summary:
    """The result of one command, printed as a short table or, with ``--json``, as one document.

    Attributes:
        command: the command's name.
        facts: counts and figures in the order they are to be shown; units in the keys.
        dropped: what was left out and why.
        outputs: name -> path of what was written.
        problems: number of input items skipped because they are broken; > 0 means exit code 5.
        data: further machine-readable results, only shown with ``--json``.
        hint: one line saying what to do next.
        dropped_as: what was done with ``dropped``, for the printed table.
        silent: not to be printed, because another process of the same job prints it.
    """

    command: str
    facts: dict[str, int | float | str] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    outputs: dict[str, Path] = field(default_factory=dict)
    problems: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    hint: str = ""
    dropped_as: str = "dropped"
    silent: bool = False

    def as_json(self) -> dict[str, Any]:
        """The summary as plain JSON-serialisable values."""
        return {
            "command": self.command,
            "facts": self.facts,
            "dropped": [vars(d) for d in self.dropped],
            "outputs": {name: str(path) for name, path in self.outputs.items()},
            "problems": self.problems,
            "hint": self.hint,
            **({"data": self.data} if self.data else {}),
        }


def print_summary(summary: Summary, *, as_json: bool, dry_run: bool = False) -> None:
    """Print a summary on standard output."""
    if as_json:
        print(json.dumps({**summary.as_json(), "dry_run": dry_run}, indent=2, default=str))
        return
    title = f"{summary.command}: what would be done" if dry_run else summary.command
    print(title)
    width = max((len(name) for name in summary.facts), default=0)
    for name, value in summary.facts.items():
        print(f"  {name:<{width}}  {_show(value)}")
    for item in summary.dropped:
        change = f" ({item.change})" if item.change else ""
        # One file is named; several things, and a group with its first one, are counted.
        what = item.what if item.count == 1 and _names_a_file(item.what) else f"{item.count:,} {item.what}"
        print(f"  {summary.dropped_as} {what}: {item.why}{change}")
    for name, path in summary.outputs.items():
        print(f"  {name}: {path}")
    if summary.hint:
        print(f"  next: {summary.hint}")


def _names_a_file(what: str) -> bool:
    return ("/" in what or "." in what) and ", first: " not in what


def _show(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
