"""Help: one screen of the most used options, all of them under headings, every name whole."""

import importlib
import re

import pytest

from simhand_cli.cli import COMMANDS, config_class
from simhand_cli.config.help_page import SHARED, HelpPage
from simhand_cli.config.option_words import as_flag, extras, options_of

#: Lines of a terminal that many people have.
SCREEN = 45


@pytest.fixture
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HelpPage:
    monkeypatch.setenv("COLUMNS", "80")
    name = request.param
    module = importlib.import_module(f"simhand_cli.commands.{name}")
    return HelpPage(name, COMMANDS[name], config_class(module, name), module.EXAMPLES)


every_page = pytest.mark.parametrize("page", COMMANDS, indirect=True)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def words(text: str) -> set[str]:
    return set(re.split(r"[\s,/()]+", text))


@every_page
def test_help_is_one_screen_of_the_most_used_options(page: HelpPage) -> None:
    text = plain(page.text(everything=False))
    lines = text.splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    common = [(name, info) for name, info in options_of(page.model) if extras(info).get("common")]
    assert 4 <= len(common) <= 15
    for name, info in common:
        assert words(text) & {as_flag(name), extras(info).get("short")}, name
    assert "--workspace" in text
    assert f"{page.summary}." in " ".join(lines)
    assert f"simhand {page.name} --help-all shows" in text


@every_page
def test_help_all_has_every_option_whole(page: HelpPage) -> None:
    text = plain(page.text(everything=True))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    found = words(text)
    for name, info in options_of(page.model):
        extra = extras(info)
        wanted = name.upper() if extra.get("positional") else as_flag(name)
        assert wanted in {word.rstrip(".") for word in found}, wanted
        if "short" in extra:
            assert extra["short"] in found
        for old in extra.get("formerly", ()):
            assert as_flag(old) not in found
    assert set(SHARED) <= found


@every_page
def test_no_option_is_listed_twice_and_the_count_of_others_is_right(page: HelpPage) -> None:
    """An option's line begins with its name after two blanks."""
    option_line = re.compile(r"^  (?:-[a-z], )?(--[a-z0-9.-]+)", re.MULTILINE)
    some, everything = (
        option_line.findall(plain(page.text(everything=everything)).partition("\nExamples")[0])
        for everything in (False, True)
    )
    assert len(everything) == len(set(everything))
    assert set(some) < set(everything)
    told = re.search(r"shows (\d+) more options", plain(page.text(everything=False)))
    assert told is not None
    assert int(told[1]) == len(everything) - len(some)


@pytest.mark.parametrize("width", [40, 60, 200])
@pytest.mark.parametrize("page", ["pretrain"], indirect=True)
def test_names_stay_whole_at_any_width(page: HelpPage, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = words(plain(page.text(everything=True)))
    assert {as_flag(name) for name, _ in options_of(page.model)} <= found


def test_help_all_and_help_end_without_running_anything(run_cli) -> None:
    for flag in ("--help", "--help-all"):
        done = run_cli("ingest", flag)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Usage: simhand ingest PATHS...")
        assert "\x1b" not in done.stdout
