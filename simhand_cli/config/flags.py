"""A command's flags, generated from its config model, so that CLI and config cannot drift apart."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.earlier import Earlier
from simhand_cli.config.help_page import SHARED, HelpPage
from simhand_cli.config.option_words import as_flag, extras, negated, options_of, value_type


@dataclass(frozen=True)
class Invocation:
    """What the user typed: where values come from and how the result is to be shown."""

    flags: dict[str, Any]
    config_file: Path | None
    assignments: list[str]
    as_json: bool
    debug: bool


def make_callback(
    model: type[CommandConfig], run: Callable[[Invocation], None], page: HelpPage | None = None
) -> Callable[..., None]:
    """A function for ``typer.Typer.command`` whose parameters are the fields of ``model`` and the shared options.

    Args:
        model: the command's config class.
        run: called with what the user typed.
        page: what ``--help-all`` shows.
    """
    named: dict[str, tuple[str, FieldInfo]] = {}  # parameter -> option, in today's words or former ones
    parameters = [*_former_parameters(model, named), *_field_parameters(model, named)]

    def callback(**given: Any) -> None:
        flags = {
            named[key][0]: _choice(named[key][1], list(value) if isinstance(value, tuple) else value)
            for key, value in given.items()
            # What was not typed stays out, so that files and defaults keep their say.
            if key in named and value is not None and value != []
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

    everything = [*parameters, *_shared_parameters(page)]
    # typer reads signatures; a made one spares a hand-written parameter for each option.
    callback.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]  # a function may have one
    callback.__annotations__ = {p.name: p.annotation for p in everything}
    return callback


def command_line(name: str, config: CommandConfig) -> str:
    """What a user would type to get this config: only what differs from the defaults."""
    words = ["simhand", name]
    flags: list[str] = []
    for dotted, info in options_of(type(config)):
        value: Any = config
        for part in dotted.split("."):
            value = getattr(value, part)
        items = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        if extras(info).get("positional"):
            words += items
        # Only what differs: the line is for people to copy.
        elif value is not None and (info.is_required() or value != info.get_default(call_default_factory=True)):
            flag = as_flag(dotted)
            if isinstance(value, bool):
                flags.append(flag if value else negated(flag))
            else:
                flags += [word for item in items for word in (flag, item)]
    return shlex.join(words + flags)


def _choice(field: FieldInfo, value: Any) -> Any:
    """A typed choice such as ``9`` of ``Literal[0, 9]``, which arrives from the command line as text."""
    if get_origin(field.annotation) is Literal:
        return next((choice for choice in get_args(field.annotation) if str(choice) == value), value)
    return value


def _field_parameters(model: type[CommandConfig], named: dict[str, tuple[str, FieldInfo]]) -> list[inspect.Parameter]:
    found = []
    for name, info in options_of(model):
        key = name.replace(".", "__")
        named[key] = (name, info)
        if extras(info).get("positional"):
            declared: Any = typer.Argument(help=info.description, show_default=False)
        else:
            flag, short = as_flag(name), extras(info).get("short")
            kind = value_type(info.annotation)[0]
            # --no-redo and --no-dry-run would say nothing.
            two_ways = kind is bool and name not in CommandConfig.model_fields
            spellings = [f"{flag}/{negated(flag)}" if two_ways else flag, *([str(short)] if short else [])]
            declared = typer.Option(*spellings, help=info.description, show_default=False)
        found.append(_parameter(key, info, declared))
    return found


def _former_parameters(model: type[CommandConfig], named: dict[str, tuple[str, FieldInfo]]) -> list[inspect.Parameter]:
    """Hidden flags of the version before; what they say is noted under the old name, for the config to translate.

    They come first, so that a flag of today wins.
    """
    earlier, today, found = Earlier.of(model), dict(options_of(model)), []
    for old, new in {**earlier.renamed, **earlier.replaced}.items():
        key = f"former__{old.replace('.', '__').replace('-', '_')}"
        named[key] = (old, today[new])
        found.append(_parameter(key, today[new], typer.Option(as_flag(old), hidden=True, show_default=False)))
    return found


def _parameter(key: str, info: FieldInfo, declared: Any) -> inspect.Parameter:
    """A parameter for typer, None where it was not given."""
    kind, _, many = value_type(info.annotation)
    value: Any = Optional[list[kind]] if many else Optional[kind]  # type: ignore[valid-type]  # noqa: UP045  # made here
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value, declared])


def _shared_parameters(page: HelpPage | None) -> list[inspect.Parameter]:
    """Those that every command takes and no config holds."""

    def show_all(asked: bool) -> None:
        # Eager, so that it answers before a missing argument is complained of.
        if asked and page is not None:
            typer.echo(page.text(everything=True))
            raise typer.Exit

    def parameter(key: str, kind: Any, default: Any, flag: str, **more: Any) -> inspect.Parameter:
        declared = typer.Option(flag, help=SHARED[flag][1], show_default=False, **more)
        return inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
        )

    return [
        parameter("config", Path | None, None, "--config"),
        parameter("set_", list[str] | None, None, "--set"),
        parameter("json_", bool, False, "--json"),
        parameter("debug", bool, False, "--debug"),
        parameter("help_all", bool, False, "--help-all", is_eager=True, callback=show_all),
    ]
