"""From a YAML file, flags and ``--set`` to a validated config, with errors of one line."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simhand_cli.config.base import CommandConfig
from simhand_cli.errors import UsageProblem

Config = TypeVar("Config", bound=CommandConfig)
WORKSPACE_VARIABLE = "SIMHAND_WORKSPACE"


def resolve_config(
    model: type[Config], file: Path | None, flags: Mapping[str, Any], assignments: Sequence[str]
) -> Config:
    """Build a command's config: defaults, then the file, then the flags, then ``--set a.b=c``.

    The workspace comes from the environment variable SIMHAND_WORKSPACE where none of them names one.

    Args:
        model: the command's config class.
        file: YAML file of options, or None.
        flags: dotted option name -> value, only those given by the user.
        assignments: ``key=value`` texts; the value is read as YAML.

    Raises:
        UsageProblem: unreadable file, malformed assignment, unknown key or bad value.
    """
    values: dict[str, Any] = _read_yaml(file) if file is not None else {}
    if WORKSPACE_VARIABLE in os.environ:
        values.setdefault("workspace", os.environ[WORKSPACE_VARIABLE])
    for name, value in flags.items():
        _assign(values, name, value)
    for text in assignments:
        name, separator, raw = text.partition("=")
        if not separator:
            raise UsageProblem(f"--set needs key=value, got {text!r}")
        _assign(values, name.strip(), _parse_yaml(raw, f"--set {text}"))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageProblem(describe_error(model, error)) from error


def save_config(config: CommandConfig, path: Path, note: str = "") -> None:
    """Write the resolved config as YAML, loadable again with ``--config``, in this workspace or another.

    ``note`` is one line of comment at its top.
    """
    import yaml

    from simhand_cli.workspace.atomic import write_text

    plain = _portable(config.model_dump(exclude={"redo", "dry_run", "strict", "workspace"}))
    comment = f"# {note}\n" if note else ""
    write_text(path, comment + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _portable(value: Any) -> Any:
    """Plain values that mean the same from any folder: paths become absolute."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def describe_error(model: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a validation error as one line: which option, what is wrong, what is near."""
    details = error.errors(include_url=False)
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown option '{name}'{_nearest(model, name)}"
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):  # of an option of several numbers
        flag, count = _as_typed(model, name.rpartition(".")[0]), first["loc"][-1] + 1
        return f"{flag} needs {count} values; give it {count} times, in their order"
    if first["type"] == "missing":
        return f"{_as_typed(model, name)} must be given{_choices(model, name)} (--help shows how)"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    got = "" if isinstance(first["input"], Mapping) else f", got {first['input']!r}"
    return f"'{name}': {_plain_message(first)}{got}{_nearest_word(first)}{more}"


def _as_typed(model: type[BaseModel], name: str) -> str:
    """A positional argument as --help shows it, an option as a flag."""
    field = model.model_fields.get(name)
    extra = field.json_schema_extra if field else None
    positional = isinstance(extra, dict) and extra.get("positional")
    return name.upper() if positional else f"--{name.replace('_', '-')}"


def _choices(model: type[BaseModel], name: str) -> str:
    """The words that may be given, where they are few and fixed."""
    field = model.model_fields.get(name)
    words = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    return f": {' or '.join(str(word) for word in words)}" if words else ""


def _plain_message(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[0].lower() + message[1:]


def _nearest_word(detail: ErrorDetails) -> str:
    """What a misspelt choice was probably meant to be."""
    choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    found = difflib.get_close_matches(str(detail["input"]), choices, n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def _nearest(model: type[BaseModel], name: str) -> str:
    known = flat_fields(model)
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not found:
        return f"; known: {', '.join(known)}"
    return f"; did you mean '{found[0]}' (default {known[found[0]]!r})?"


def flat_fields(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> default of every option, nested sections flattened."""
    flat: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if is_section(field.annotation):
            # Is_section has looked at it.
            flat.update(flat_fields(field.annotation, f"{prefix}{name}."))  # type: ignore[arg-type]
        else:
            flat[prefix + name] = field.get_default(call_default_factory=True) if not field.is_required() else ...
    return flat


def is_section(annotation: Any) -> bool:
    """Whether a field's type is a nested group of options."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _assign(values: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.replace("-", "_").split(".")
    place = values
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UsageProblem(f"'{name}': '{parent}' is a value, not a group of options")
        place = inner
    place[last] = value


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"--config {file}: {getattr(error, 'strerror', None) or 'is not text'}") from error
    content = _parse_yaml(text, f"--config {file}")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageProblem(f"--config {file}: expected 'option: value' lines, found {type(content).__name__}")
    return content


def _parse_yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise UsageProblem(f"{where}: not valid YAML: {reason}") from error
