"""The base of every command's config: strict, frozen, every field documented where it stands."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A group of options: unknown keys are refused, values are checked at construction and never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )


def option(default: Any, help: str, *, short: str | None = None, **constraints: Any) -> Any:
    """A config field that is also a command-line flag.

    Args:
        default: the value when neither file, flag nor ``--set`` gives one; ``...`` makes it required.
        help: one line for people, units included.
        short: a second, shorter flag: a letter such as ``-k``, or what an option of a group is known by without it
            (``--weights`` for ``--loss.weights``). Files and ``--set`` always take the option's own name.
        constraints: passed to :func:`pydantic.Field` (``ge``, ``le``, ``gt``, ``min_length``, ...).
    """
    return Field(default, description=help, json_schema_extra={"short": short} if short else None, **constraints)


def argument(help: str, *, default: Any = ..., **constraints: Any) -> Any:
    """A config field given by position on the command line (one str or Path, or a list of them)."""
    return Field(default, description=help, json_schema_extra={"positional": True}, **constraints)


class CommandConfig(Section):
    """What every command understands."""

    workspace: Path = option(
        Path("simhand-workspace"), "Folder of this project's data and runs; else $SIMHAND_WORKSPACE", short="-w"
    )
    redo: bool = option(False, "Do it over, replacing earlier results of this stage")
    dry_run: bool = option(False, "Only say what would be done")
    strict: bool = option(False, "Skipped items make the command fail")

    def identity(self) -> dict[str, Any]:
        """The options that determine the result, as plain values: all but where, whether and how to run."""
        return self.model_dump(mode="json", exclude={"workspace", "redo", "dry_run", "strict", *self.not_identity()})

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Names of further fields that cannot change the result (numbers of workers and the like)."""
        return frozenset()
