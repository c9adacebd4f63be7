"""From a YAML file, flags and ``--set`` to a validated config, with errors of one line."""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.earlier import Earlier
from simhand_cli.config.option_words import as_flag, choices, extras, options_of
from simhand_cli.errors import UsageProblem

Config = TypeVar("Config", bound=CommandConfig)
WORKSPACE_VARIABLE = "SIMHAND_WORKSPACE"


def resolve_config(
    model: type[Config],
    file: Path | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    hint: Callable[[str], None] | None = None,
) -> Config:
    """Build a command's config: defaults, then the file, then the flags, then ``--set a.b=c``.

    The workspace comes from the environment variable SIMHAND_WORKSPACE where none of them names one.

    Args:
        model: the command's config class.
        file: YAML file of options, or None.
        flags: dotted option name -> value, only those given by the user.
        assignments: ``key=value`` texts; the value is read as YAML.
        hint: told a line for every word of the version before, which is understood all the same.

    Raises:
        UsageProblem: unreadable file, malformed assignment, unknown key or bad value.
    """
    earlier = Earlier.of(model)
    values: dict[str, Any] = earlier.today_nested(_read_yaml(file)) if file is not None else {}
    if WORKSPACE_VARIABLE in os.environ:
        # After the file and before flags: nearer to the user goes first.
        values.setdefault("workspace", os.environ[WORKSPACE_VARIABLE])
    for name, value in flags.items():
        _assign(values, earlier.today(name, value))
    for text in assignments:
        name, separator, raw = text.partition("=")
        if not separator:
            raise UsageProblem(f"--set needs key=value, got {text!r}")
        _assign(values, earlier.today(_as_key(name), _parse_yaml(raw, f"--set {text}")))
    if hint is not None:
        for line in earlier.hints:
            hint(line)
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

    # Without what says how a run was made: a saved config must not redo anything by itself.
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
    # A misspelt name first: it often causes the other problems.
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
    positional = field is not None and extras(field).get("positional")
    return name.upper() if positional else as_flag(name)


def _choices(model: type[BaseModel], name: str) -> str:
    """The words that may be given, where they are few and fixed."""
    field = model.model_fields.get(name)
    words = choices(field.annotation) if field is not None else []
    return f": {' or '.join(words)}" if words else ""


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
    # Low enough to find loss.weights for weights.
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not found:
        return f"; known: {', '.join(known)}"
    return f"; did you mean '{found[0]}' (default {known[found[0]]!r})?"


def flat_fields(model: type[BaseModel]) -> dict[str, Any]:
    """Dotted name -> default of every option, nested sections flattened."""
    return {
        name: ... if info.is_required() else info.get_default(call_default_factory=True)
        for name, info in options_of(model)
    }


def _as_key(name: str) -> str:
    """An option's name as files have it, from what follows ``--set``."""
    return name.strip().replace("-", "_")


def _assign(values: dict[str, Any], said: tuple[str, Any] | None) -> None:
    """Put a value at its place among nested ones; nothing where there is no such option any more."""
    if said is None:
        return
    name, value = said
    *parents, last = name.split(".")
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
        # safe_load: a YAML file can name Python objects to be made.
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The rest of YAML's message is a drawing of several lines.
        reason = str(error).splitlines()[0]
        raise UsageProblem(f"{where}: not valid YAML: {reason}") from error
