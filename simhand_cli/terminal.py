"""The end of every command: its summary as a short table, or as one JSON document."""

import json

from simhand_cli.summary import Summary


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
