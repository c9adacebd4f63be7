"""What an option's field says: its dotted name, its flag, the kind of value it takes, its default in words."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def extras(info: FieldInfo) -> dict[str, Any]:
    """What :func:`~simhand_cli.config.base.option` noted beside default, help and limits."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def is_section(annotation: Any) -> bool:
    """Whether a field's type is a nested group of options."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def options_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted name and field of every option, nested sections flattened."""
    for name, info in model.model_fields.items():
        if is_section(info.annotation):
            yield from options_of(info.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]  # a section, just asked
        else:
            yield prefix + name, info


def as_flag(name: str) -> str:
    """An option as it is typed: ``--loss.weight-metric`` for ``loss.weight_metric``; a short flag as it is."""
    return name if name.startswith("-") else f"--{name.replace('_', '-')}"


def negated(flag: str) -> str:
    """The flag that says no: ``--group.no-thing`` for ``--group.thing``."""
    head, dot, last = flag.removeprefix("--").rpartition(".")
    return f"--{head}{dot}no-{last}"


def default_in_words(info: FieldInfo) -> str:
    """``(default: 128)``; empty where it is none, no, or told by the help itself."""
    if info.is_required():
        return "(required)"
    default = info.get_default(call_default_factory=True)
    if default is None or default is False or default in ([], ()):
        return ""
    if default is True:
        return "(default: yes)"
    values = default if isinstance(default, list | tuple) else [default]
    return f"(default: {' '.join(f'{v:.4g}' if isinstance(v, float) else str(v) for v in values)})"


def choices(annotation: Any) -> list[str]:
    """The words an option takes, where they are few and fixed; else none."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    inner = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType, list, Annotated) else ()
    return [word for one in inner for word in choices(one)]


def value_type(annotation: Any) -> tuple[type, str, bool]:
    """(bool or str for the parser, the value's name in help, whether it repeats); pydantic reads the strings."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        # X | None: the flag that is left out is the None.
        return value_type(next(a for a in get_args(annotation) if a is not type(None)))
    if origin is Literal:
        return str, "WORD", False
    if origin in (list, tuple):
        return str, value_type(get_args(annotation)[0])[1], True
    if origin is Annotated:
        return value_type(get_args(annotation)[0])
    if annotation is bool:
        return bool, "", False
    # Text for the parser: pydantic checks values of flags, files and Python calls by the same rules and words.
    return str, {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(annotation, "TEXT"), False
