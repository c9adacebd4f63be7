"""``--help`` and ``--help-all`` of a command: the options that most people need, and all of them under headings.

Names stand whole at any width: one that is too long for its column has the text below it, indented.
"""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.option_words import (
    as_flag,
    choices,
    default_in_words,
    extras,
    is_section,
    negated,
    options_of,
    value_type,
)

EVERY_COMMAND: Final = "Every command"
_MOST_USED: Final = "Most used"
_OTHERS: Final = "Further options"
#: Options that no config holds: name with value, help.
SHARED: Final[dict[str, tuple[str, str]]] = {
    "--config": ("PATH", "YAML file of options"),
    "--set": ("KEY=VALUE", "Override one option, e.g. a.b=c; repeatable"),
    "--json": ("", "Print one JSON document on standard output"),
    "--debug": ("", "Show tracebacks"),
    "--help": ("", "Show the most used options and exit"),
    "--help-all": ("", "Show all options and exit"),
}
#: Columns: of a page at most, of names beside their text at most, of that text at least.
_WIDEST, _NAME_COLUMN, _NARROWEST = 100, 30, 20


@dataclass(frozen=True)
class _Entry:
    """An option in words.

    Attributes:
        names: as typed, with the kind of its value.
        help: what it does, the words it takes, its default.
        panel: the heading it stands under.
        common: whether ``--help`` shows it.
    """

    names: str
    help: str
    panel: str
    common: bool = False


@dataclass(frozen=True)
class HelpPage:
    """A command's help.

    Attributes:
        name: of the command.
        summary: what it does, one line.
        model: its options.
        examples: calls of it.
    """

    name: str
    summary: str
    model: type[CommandConfig]
    examples: Sequence[str]

    def text(self, *, everything: bool) -> str:
        """All of it, for the terminal's width, headings bold and names coloured."""
        width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
        return "\n".join(self._lines(width, everything=everything))

    def _lines(self, width: int, *, everything: bool) -> Iterator[str]:
        positional = [(n, info) for n, info in options_of(self.model) if extras(info).get("positional")]
        words = " ".join(_argument(name, info) for name, info in positional)
        yield f"Usage: simhand {self.name} {f'{words} ' if words else ''}[OPTIONS]"
        yield ""
        yield from _wrapped(f"{self.summary}.", width)
        if positional:
            arguments = [_Entry(_argument(name, info), info.description or "", "") for name, info in positional]
            yield from _panel("Arguments", arguments, width)
        entries = list(self._entries())
        yield from _panel(_MOST_USED, [entry for entry in entries if entry.common], width)
        panels = list(dict.fromkeys(entry.panel for entry in entries if not entry.common))
        if everything:
            for panel in panels:
                yield from _panel(panel, [e for e in entries if e.panel == panel and not e.common], width)
        yield ""
        yield typer.style("Examples", bold=True)
        for example in self.examples:
            yield from _wrapped(example, width, "  ", "      ")
        if not everything:
            more = sum(not entry.common for entry in entries)
            headings = ", ".join(panel.partition(":")[0] for panel in panels)
            yield ""
            yield from _wrapped(f"simhand {self.name} --help-all shows {more} more options: {headings}", width)

    def _entries(self) -> Iterator[_Entry]:
        """All options in the order of their headings: the command's own, groups, those of every command."""
        own: dict[str, list[_Entry]] = {}
        bases = [base for base in self.model.__mro__[1:] if issubclass(base, CommandConfig)]
        own_first = sorted(options_of(self.model), key=lambda option: sum(option[0] in b.model_fields for b in bases))
        for name, info in own_first:
            if not extras(info).get("positional"):
                common = bool(extras(info).get("common"))
                entry = _Entry(_names(name, info), _help(name, info), self._panel_of(name, info), common)
                own.setdefault(entry.panel, []).append(entry)
        last = own.pop(EVERY_COMMAND, [])
        for panel in sorted(own, key=lambda title: ":" in title):  # groups after all others
            yield from own[panel]
        yield from last
        for flag, (value, text) in SHARED.items():
            yield _Entry(f"{flag} {value}".rstrip(), text, EVERY_COMMAND)

    def _panel_of(self, name: str, info: FieldInfo) -> str:
        if name in CommandConfig.model_fields:
            return EVERY_COMMAND
        group = name.partition(".")[0]
        if group != name:
            section = self.model.model_fields[group].annotation
            assert is_section(section)
            about = " ".join((section.__doc__ or "").split()).partition(".")[0]
            return f"{group.capitalize()}: {about[:1].lower()}{about[1:]}"
        return str(extras(info).get("panel", _OTHERS))


def paged_command(page: HelpPage) -> type[TyperCommand]:
    """A command of typer's whose ``--help`` is that page."""

    class PagedCommand(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            del ctx
            formatter.write(page.text(everything=False))

    return PagedCommand


def _wrapped(text: str, width: int, first: str = "", other: str = "") -> list[str]:
    """Lines of whole words and flags, however narrow."""
    # A flag that is broken at its hyphen cannot be copied.
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    )


def _panel(title: str, entries: Sequence[_Entry], width: int) -> Iterator[str]:
    yield ""
    yield from (typer.style(line, bold=True) for line in _wrapped(title, width))
    column = max((len(e.names) for e in entries if len(e.names) <= _NAME_COLUMN), default=_NAME_COLUMN) + 4
    for entry in entries:
        texts = _wrapped(entry.help, max(width - column, _NARROWEST)) or [""]
        head = f"  {entry.names}"
        if len(head) + 2 > column:
            yield typer.style(head, fg="cyan")
        else:
            yield typer.style(head.ljust(column), fg="cyan") + texts.pop(0)
        yield from (" " * column + text for text in texts)


def _argument(name: str, info: FieldInfo) -> str:
    return name.upper() + ("..." if value_type(info.annotation)[2] else "")


def _names(name: str, info: FieldInfo) -> str:
    """All spellings of an option, a single letter first, and the kind of its value."""
    flag, short = as_flag(name), str(extras(info).get("short", ""))
    kind, value, _ = value_type(info.annotation)
    if kind is bool and name not in CommandConfig.model_fields:
        flag = f"{flag}/{negated(flag)}"
    # A short word of a group's option stands alone; its full name is in the help.
    spellings = [flag] if not short else [short, flag] if len(short) == 2 else [short]
    return f"{', '.join(spellings)} {value}".rstrip()


def _help(name: str, info: FieldInfo) -> str:
    """What an option does, its full name where it is known by a shorter one, the words it takes, its default."""
    text, words, short = info.description or "", choices(info.annotation), str(extras(info).get("short", ""))
    full = f"(in full {as_flag(name)})" if len(short) > 2 else ""
    # Words that the help explains one by one need no list.
    told = all(f"{word}:" in text for word in words)  # one by one, by the text
    taken = "" if told else f"[{' | '.join(words)}]"
    return " ".join(filter(None, [text, full, taken, default_in_words(info)]))
