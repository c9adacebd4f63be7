"""Refusing a changed config that would silently mix old and new results."""

import re
from collections.abc import Mapping
from typing import Any

from simhand_cli.errors import UsageProblem

#: Today's name of an option -> the name that the version before recorded it under.
RECORDED_AS = {"backbone": "encoder"}
#: What the version before recorded where an option was not given, and None is recorded today.
NOT_GIVEN_WAS = {"grad_clip": 0.0}
_SHA256 = re.compile("[0-9a-f]{64}")
#: What a digest of that name is of, in words; "" for all others.
_OTHER = {"mined": "other mined pairs", "init": "other initial weights", "": "other data or another model"}


def refuse_changes(
    what: str, before: Mapping[str, Any] | None, now: Mapping[str, Any], ways_out: str, *, go_on: bool = False
) -> None:
    """Compare the options of earlier results with today's.

    Results of the version before are recognised, though some options were called otherwise then.

    Args:
        what: the command or run.
        before: its options then; None if there are no earlier results.
        now: its options now.
        ways_out: what can be done instead.
        go_on: also name the flags that continue the earlier results.

    Raises:
        UsageProblem: they differ; the message names the first changed option, or says that not an option but a file it
            was made from differs, and the ways out.
    """
    if before is None or before == now:
        return
    flat_now = _flat(now)
    # Nested options by dotted names, as people type them.
    flat_before = _in_todays_words(_flat(before), flat_now)
    names = sorted(flat_before.keys() | flat_now.keys())
    changed = [n for n in names if flat_before.get(n) != flat_now.get(n)]
    if not changed:  # an option that a newer version added, left at None
        return
    # Options before files: a person can take back an option, and a digest means nothing to read.
    options = [n for n in changed if not (_holds_digest(flat_before.get(n)) or _holds_digest(flat_now.get(n)))]
    if not options:
        kinds = {name.split(".")[0] for name in changed}
        other = _OTHER.get(next(iter(kinds)), _OTHER[""]) if len(kinds) == 1 else _OTHER[""]
        raise UsageProblem(f"earlier {what} results were made with {other}; {ways_out}")
    if go_on and len(options) == len(changed):
        flags = as_flags({name: flat_before[name] for name in options if name in flat_before})
        ways_out = f"{' '.join(flags)} goes on as before, {ways_out}" if len(flags) == len(options) else ways_out
    first = options[0]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise UsageProblem(
        f"earlier {what} results were made with {first}={flat_before.get(first)!r}, now {flat_now.get(first)!r}{more}; "
        f"{ways_out}"
    )


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Options as a user types them, ``--max-hands 1``; nothing for one that was left open."""
    flags: list[str] = []
    for name, value in values.items():
        *group, last = name.replace("_", "-").split(".")
        if isinstance(value, bool):
            flags.append("--" + ".".join([*group, last if value else f"no-{last}"]))
        elif value is not None:
            items = value if isinstance(value, list | tuple) else [value]
            flags.append(" ".join(f"--{'.'.join([*group, last])} {item}" for item in items))
    return flags


def _in_todays_words(before: dict[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options under their names of today; one is renamed only where today's record lacks the old name."""
    before = dict(before)
    for name, old in RECORDED_AS.items():
        # Commands that still have an option of the old name keep it.
        if name in now and old not in now and name not in before and old in before:
            before[name] = before.pop(old)
    for name, word in NOT_GIVEN_WAS.items():
        if name in before and before[name] == word:
            before[name] = None
    return before


def _holds_digest(value: Any) -> bool:
    """Whether a value says what a file held: a sha256, or a list with one."""
    if isinstance(value, list | tuple):
        return any(_holds_digest(one) for one in value)
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
