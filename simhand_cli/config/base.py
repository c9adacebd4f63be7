"""The base of every command's config: strict, frozen, every field documented where it stands."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A group of options: unknown keys are refused, values are checked at construction and never change."""

    # NaN and infinity pass every limit unnoticed; frozen, since a config is the record of what was done.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )


def option(
    default: Any,
    help: str,
    *,
    short: str | None = None,
    common: bool = False,
    panel: str | None = None,
    formerly: tuple[str, ...] = (),
    replaces: tuple[str, ...] = (),
    none_was: Any = None,
    **constraints: Any,
) -> Any:
    """A config field that is also a command-line flag.

    Args:
        default: the value when neither file, flag nor ``--set`` gives one; ``...`` makes it required.
        help: one line for people, units included.
        short: a second, shorter flag: a letter such as ``-k``, or what an option of a group is known by without it
            (``--weights`` for ``--loss.weights``). Files and ``--set`` always take the option's own name.
        common: one of the few that most people need, shown by ``--help``; ``--help-all`` shows all.
        panel: the heading it stands under in ``--help-all``, where the command has several.
        formerly: what it was called in the version before, or a short flag it had; still understood, with a hint.
        replaces: options of the version before that said something else about the same; left unheeded, with a hint.
        none_was: the word that stood for "not given" in the version before; still understood as that, with a hint.
        constraints: passed to :func:`pydantic.Field` (``ge``, ``le``, ``gt``, ``min_length``, ...).
    """
    given = {
        "short": short, "common": common, "panel": panel, "formerly": formerly, "replaces": replaces,
        "none_was": none_was,
    }  # fmt: skip
    extra = {name: value for name, value in given.items() if value not in (None, False, ())}
    if none_was is not None:  # 0.0 equals False
        extra["none_was"] = none_was
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def argument(help: str, *, default: Any = ..., **constraints: Any) -> Any:
    """A config field given by position on the command line (one str or Path, or a list of them)."""
    return Field(default, description=help, json_schema_extra={"positional": True}, **constraints)


class CommandConfig(Section):
    """What every command understands."""

    workspace: Path = option(
        Path("simhand-workspace"),
        "Folder of this project's data and runs; else $SIMHAND_WORKSPACE",
        short="-w",
        common=True,
    )
    redo: bool = option(False, "Do it over, replacing earlier results of this stage", common=True)
    dry_run: bool = option(False, "Only say what would be done", common=True)
    strict: bool = option(False, "Skipped items make the command fail")

    def identity(self) -> dict[str, Any]:
        """The options that determine the result, as plain values: all but where, whether and how to run."""
        # As JSON, since it is compared with what a file holds.
        return self.model_dump(mode="json", exclude={"workspace", "redo", "dry_run", "strict", *self.not_identity()})

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Names of further fields that cannot change the result (numbers of workers and the like)."""
        return frozenset()
