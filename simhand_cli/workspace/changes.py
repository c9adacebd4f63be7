"""Refusing a changed config that would silently mix old and new results."""

from collections.abc import Mapping
from typing import Any

from simhand_cli.errors import UsageProblem


def refuse_changes(what: str, before: Mapping[str, Any] | None, now: Mapping[str, Any], ways_out: str) -> None:
    """Compare the options of earlier results with today's.

    Raises:
        UsageProblem: they differ; the message names the first changed option and the ways out.
    """
    if before is None or before == now:
        return
    flat_before, flat_now = _flat(before), _flat(now)
    names = sorted(flat_before.keys() | flat_now.keys())
    changed = [n for n in names if flat_before.get(n) != flat_now.get(n)]
    if not changed:  # an option that a newer version added, left at None
        return
    first = changed[0]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise UsageProblem(
        f"earlier {what} results were made with {first}={flat_before.get(first)!r}, now {flat_now.get(first)!r}{more}; "
        f"{ways_out}"
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
