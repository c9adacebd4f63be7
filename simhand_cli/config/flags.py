"""A command's flags, generated from its config model, so that CLI and config cannot drift apart."""

import inspect
import shlex
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.resolve import flat_fields, is_section


@dataclass(frozen=True)
class Invocation:
    """What the user typed: where values come from and how the result is to be shown."""

    flags: dict[str, Any]
    config_file: Path | None
    assignments: list[str]
    as_json: bool
    debug: bool


def make_callback(model: type[CommandConfig], run: Callable[[Invocation], None], help: str) -> Callable[..., None]:
    """A function for ``typer.Typer.command`` whose parameters are the fields of ``model`` and the common options."""
    parameters, dotted, fields = _field_parameters(model)

    def callback(**given: Any) -> None:
        flags = {
            dotted[name]: _choice(fields[name], list(value) if isinstance(value, tuple) else value)
            for name, value in given.items()
            if name in dotted and value is not None and value != []
        }
        run(
            Invocation(
                flags=flags,
                config_file=given["config"],
                assignments=list(given["set_"] or []),
                as_json=given["json_"],
                debug=given["debug"],
            )
        )

    everything = [*parameters, *_common_parameters()]
    # Typer reads the signature of what it calls.
    callback.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    callback.__annotations__ = {p.name: p.annotation for p in everything}
    callback.__doc__ = help
    return callback


def command_line(name: str, config: CommandConfig) -> str:
    """What a user would type to get this config: only what differs from the defaults."""
    words = ["simhand", name]
    flags: list[str] = []
    for dotted, default in flat_fields(type(config)).items():
        value: Any = config
        for part in dotted.split("."):
            value = getattr(value, part)
        field = type(config).model_fields.get(dotted)
        extra = field.json_schema_extra if field is not None else None
        items = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        if isinstance(extra, dict) and extra.get("positional"):
            words += items
        elif value != default and value is not None:
            flag = "--" + dotted.replace("_", "-")
            if isinstance(value, bool):
                flags.append(flag if value else _negated(flag))
            else:
                flags += [word for item in items for word in (flag, item)]
    return shlex.join(words + flags)


def _choice(field: FieldInfo, value: Any) -> Any:
    """A typed choice such as ``9`` of ``Literal[0, 9]``, which arrives from the command line as text."""
    if get_origin(field.annotation) is Literal:
        return next((choice for choice in get_args(field.annotation) if str(choice) == value), value)
    return value


def _field_parameters(
    model: type[CommandConfig],
) -> tuple[list[inspect.Parameter], dict[str, str], dict[str, FieldInfo]]:
    parameters: list[inspect.Parameter] = []
    dotted: dict[str, str] = {}
    fields: dict[str, FieldInfo] = {}

    def visit(owner: Any, prefix: str) -> None:
        for name, field in owner.model_fields.items():
            if is_section(field.annotation):
                visit(field.annotation, f"{prefix}{name}.")
            else:
                parameter_name = f"{prefix}{name}".replace(".", "__")
                dotted[parameter_name] = prefix + name
                fields[parameter_name] = field
                parameters.append(_parameter(parameter_name, prefix, name, field))

    visit(model, "")
    # A command's own options first, then those it shares with others, the ones every command has last.
    bases = [base for base in model.__mro__[1:] if issubclass(base, CommandConfig)]
    parameters.sort(key=lambda p: sum(p.name in base.model_fields for base in bases))
    return parameters, dotted, fields


def _parameter(parameter_name: str, prefix: str, name: str, field: FieldInfo) -> inspect.Parameter:
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind, metavar, many = _value_type(field.annotation)
    if extra.get("positional"):
        info: Any = typer.Argument(
            help=field.description, metavar=name.upper() + ("..." if many else ""), show_default=False
        )
    else:
        flag = "--" + f"{prefix}{name}".replace("_", "-")
        two_ways = kind is bool and name not in CommandConfig.model_fields
        declarations = [f"{flag}/{_negated(flag)}" if two_ways else flag]
        if short := extra.get("short"):
            declarations.append(str(short))
        info = typer.Option(
            *declarations,
            help=f"{field.description}{_shown_default(field)}",
            metavar=metavar,
            show_default=False,
            rich_help_panel=f"Options: {prefix.rstrip('.')}" if prefix else None,
        )
    value: Any = Optional[list[kind]] if many else Optional[kind]  # type: ignore[valid-type]  # noqa: UP045
    return inspect.Parameter(
        parameter_name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value, info]
    )


def _negated(flag: str) -> str:
    head, dot, last = flag.removeprefix("--").rpartition(".")
    return f"--{head}{dot}no-{last}"


def _shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return " [red](required)[/]"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ([], (), False, ""):
        return ""
    if default is True:
        return " [dim](default: yes)[/]"
    shown = " ".join(str(item) for item in default) if isinstance(default, list | tuple) else str(default)
    return f" [dim](default: {shown})[/]"


def _value_type(annotation: Any) -> tuple[type, str | None, bool]:
    """(bool or str for typer, metavar, whether it repeats); pydantic does the real parsing of strings."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        kinds = [_value_type(a) for a in inner]
        return kinds[0][0], "|".join(k[1] or "" for k in kinds) or None, kinds[0][2]
    if origin is Literal:
        return str, "[" + "|".join(str(a) for a in get_args(annotation)) + "]", False
    if origin in (list, tuple):
        _, metavar, _ = _value_type(get_args(annotation)[0])
        return str, metavar, True
    if origin is Annotated:
        return _value_type(get_args(annotation)[0])
    if annotation is bool:
        return bool, None, False
    names = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
    return str, names.get(annotation, "TEXT"), False


def _common_parameters() -> list[inspect.Parameter]:
    panel = "Every command"

    def parameter(name: str, kind: Any, default: Any, *declarations: str, help: str, **more: Any) -> inspect.Parameter:
        info = typer.Option(*declarations, help=help, rich_help_panel=panel, **more)
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
        )

    return [
        parameter("config", Path | None, None, "--config", help="YAML file of options", show_default=False),
        parameter(
            "set_",
            list[str] | None,
            None,
            "--set",
            help="Override one option, e.g. a.b=c; repeatable",
            metavar="KEY=VALUE",
            show_default=False,
        ),
        parameter(
            "json_",
            bool,
            False,
            "--json",
            help="Print one JSON document on standard output",
            show_default=False,
        ),
        parameter("debug", bool, False, "--debug", help="Show tracebacks", show_default=False),
    ]
