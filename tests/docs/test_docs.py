"""README and docs say what the code does: pages, command lines, flags, defaults, recipes, links, Python examples."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simhand_cli import cli
from simhand_cli.config.base import CommandConfig
from simhand_cli.config.option_words import is_section
from simhand_cli.config.resolve import flat_fields, resolve_config

ROOT = Path(__file__).parents[2]
COMMAND_PAGES = {name: ROOT / "docs" / "commands" / f"{name}.md" for name in cli.COMMANDS}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]
COMMON_FLAGS = frozenset({"--config", "--set", "--json", "--strict", "--debug", "--help", "--help-all", "--version"})
OTHER_PROGRAMS_FLAGS = frozenset({"--build-arg"})
every_page = pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
every_command = pytest.mark.parametrize("name", cli.COMMANDS)


# -- reading pages -----------------------------------------------------------------------------------------------------
def _split(text: str) -> tuple[str, str, list[str]]:
    """(prose, lines of shell blocks, Python blocks) of a page; indented blocks count as shell."""
    prose, shell, python = [], [], []
    fence: str | None = None
    in_block = True  # an indented block can begin after a blank line, or go on
    for line in text.splitlines():
        if line.startswith("```"):
            fence = None if fence is not None else line[3:].strip()
            python += [""] if fence == "python" else []
        elif fence == "python":
            python[-1] += line + "\n"
        elif fence is not None or (line.startswith("    ") and in_block):
            shell.append(line)
        else:
            prose.append(line)
            in_block = not line.strip()
    return "\n".join(prose), "\n".join(shell).replace("\\\n", " "), python


def _calls(shell: str) -> Iterator[list[str]]:
    """The words after ``simhand`` of every call of it, from lines with ``&&``, a leading ``$`` and comments."""
    for line in shell.splitlines():
        if "simhand" not in line:
            continue
        for part in re.split(r"&&|;|\|", line):
            words = shlex.split(part, comments=True)
            words = words[1:] if words[:1] == ["$"] else words
            names = [Path(word).name for word in words]
            if names[:1] == ["simhand"]:
                yield words[1:]
            elif "simhand" in names:  # docker run ... simhand ingest videos/
                rest = words[names.index("simhand") + 1 :]
                if rest[:1] and rest[0] in cli.COMMANDS:
                    yield rest


def _inline(prose: str) -> list[str]:
    """The code spans of the prose."""
    return re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose)


def _flags(name: str) -> set[str]:
    return set(_fields(name)) | {f"--{part}" for part in _negated(name)} | COMMON_FLAGS


def _model(name: str) -> type[CommandConfig]:
    model: type[CommandConfig] = cli.config_class(importlib.import_module(f"simhand_cli.commands.{name}"), name)
    return model


def _fields(name: str) -> dict[str, Any]:
    """Flag -> default of every option of a command, under both its spellings where it has two."""
    defaults = flat_fields(_model(name))
    both = {"--" + dotted.replace("_", "-"): default for dotted, default in defaults.items()}
    return both | {flag: defaults[dotted] for flag, dotted in _second_spellings(name).items()}


def _second_spellings(name: str) -> dict[str, str]:
    """Words that stand for an option as its own name does, such as ``--weights`` -> ``loss.weights``."""

    def visit(model: Any, prefix: str) -> Iterator[tuple[str, str]]:
        for field_name, field in model.model_fields.items():
            if is_section(field.annotation):
                yield from visit(field.annotation, f"{prefix}{field_name}.")
            elif isinstance(field.json_schema_extra, dict) and "short" in field.json_schema_extra:
                yield str(field.json_schema_extra["short"]), prefix + field_name

    return {flag: dotted for flag, dotted in visit(_model(name), "") if flag.startswith("--")}


def _negated(name: str) -> Iterator[str]:
    for flag in _fields(name):
        head, dot, last = flag.removeprefix("--").rpartition(".")
        yield f"{head}{dot}no-{last}"


def _tables(prose: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(header, rows) of every table."""
    block: list[list[str]] = []
    for line in [*prose.splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip() for cell in line.strip("|").split(" |")])
        elif block:
            yield block[0], block[2:]
            block = []


# -- pages -------------------------------------------------------------------------------------------------------------
@every_command
def test_every_command_has_a_page_linked_from_the_readme(name: str) -> None:
    page = COMMAND_PAGES[name]
    assert page.is_file(), f"write docs/commands/{name}.md"
    assert page.read_text().startswith(f"# simhand {name}\n")
    assert f"](docs/commands/{name}.md)" in (ROOT / "README.md").read_text()


@every_command
def test_a_commands_examples_are_on_its_page(name: str) -> None:
    shell = _split(COMMAND_PAGES[name].read_text())[1]
    lines = {line.strip() for line in shell.splitlines()}
    module = importlib.import_module(f"simhand_cli.commands.{name}")
    missing = [example for example in module.EXAMPLES if example not in lines]
    assert not missing, f"docs/commands/{name}.md lacks examples of 'simhand {name} --help'"


@every_command
def test_both_spellings_of_an_option_are_on_the_page(name: str) -> None:
    words = " ".join(_inline(_split(COMMAND_PAGES[name].read_text())[0])).split()
    for flag, dotted in _second_spellings(name).items():
        assert {flag, "--" + dotted.replace("_", "-")} <= set(words), f"docs/commands/{name}.md: {flag}, {dotted}"


# -- command lines -----------------------------------------------------------------------------------------------------
@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[CommandConfig]:
    """Makes the command line stop once a config is built; the configs it built."""
    configs: list[CommandConfig] = []

    def only_resolve(_module: object, _name: str, model: Any, given: Any) -> int:
        configs.append(resolve_config(model, None, given.flags, given.assignments))
        return 0

    monkeypatch.setattr(cli, "_execute", only_resolve)
    return configs


def _parse(words: list[str]) -> None:
    """Parse a call as the command line would, down to the validated config; raises what it would complain about."""
    if words[:1] in ([], ["COMMAND"]) or words == ["--help"]:
        return
    name = words[0]
    assert name in cli.COMMANDS, f"no command {name!r}"
    rest = [word for word in words[1:] if word not in ("...", "…")]
    assert cli.build_app({name})([name, *rest], standalone_mode=False) == 0, words


@every_page
def test_command_lines_parse(page: Path, resolved: list[CommandConfig]) -> None:
    calls = list(_calls(_split(page.read_text())[1]))
    for words in calls:
        _parse(words)
    assert bool(resolved) == any(words[0] in cli.COMMANDS for words in calls if words)


@every_page
def test_command_lines_in_the_text_parse(page: Path, resolved: list[CommandConfig]) -> None:
    for span in _inline(_split(page.read_text())[0]):
        if not span.startswith("simhand "):
            continue
        for words in _calls(span.replace("\n", " ")):
            if words[0] in ("COMMAND", "--help"):
                continue
            assert words[0] in cli.COMMANDS, span
            if "--help" in words:
                continue
            last_is_flag = words[-1].startswith("--")  # "simhand mine --topk": an option is named, no value given
            unknown = {w.partition("=")[0] for w in words if w.startswith("--")} - _flags(words[0])
            assert not unknown, span
            if len(words) > 1 and not last_is_flag:
                _parse(words)


@every_page
def test_flags_in_the_text_exist(page: Path) -> None:
    own = page.stem if page.parent.name == "commands" and page.stem in cli.COMMANDS else None
    anywhere = set().union(*(_flags(name) for name in cli.COMMANDS))
    for span in _inline(_split(page.read_text())[0]):
        words = span.partition("simhand")[0].split()  # an error message may name another command's flags
        if not words or not words[0].startswith("--"):
            continue
        known = (_flags(own) if own else anywhere) | OTHER_PROGRAMS_FLAGS
        unknown = {word for word in words if re.fullmatch(r"--[a-z][a-z0-9._-]*", word)} - known
        assert not unknown, f"`{span}`: no such flag{f' of simhand {own}' if own else ''}"


# -- defaults and tables -----------------------------------------------------------------------------------------------
def _default_in_words(default: object) -> str | None:
    """How a page writes a default; None where it may be described freely (a default that depends on something)."""
    if default is None or default in ("", []):
        return None
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, list):
        return " ".join(map(str, default))
    return str(default)


@every_command
def test_defaults_in_option_tables(name: str) -> None:
    checked = 0
    fields = _fields(name)
    for header, rows in _tables(_split(COMMAND_PAGES[name].read_text())[0]):
        if header[:2] != ["option", "default"]:
            continue
        for row in rows:
            flags = re.findall(r"`(--[^` ]+)`", row[0])
            assert flags, row
            stated = row[1].split(", ") if len(flags) > 1 else [row[1]]
            assert len(stated) == len(flags), row
            for flag, words in zip(flags, stated, strict=True):
                assert flag in fields, f"{flag} is no option of simhand {name}"
                if flag == "--workers":
                    continue
                expected = _default_in_words(fields[flag])
                assert expected in (None, words), f"{flag}: the page says {words}, the code {expected}"
                checked += 1
    assert checked or name == "doctor"


def _recipe_table() -> tuple[list[str], list[list[str]]]:
    for header, rows in _tables(_split(COMMAND_PAGES["pretrain"].read_text())[0]):
        if header[0] == "option" and header[1:3] == ["paper", "official"]:
            return [cell.split()[0] for cell in header[1:]], rows
    raise AssertionError("docs/commands/pretrain.md has no table of recipes")


def test_recipes_are_as_the_page_says() -> None:
    from simhand_cli.pretrain.loss_options import RECIPES

    recipes, rows = _recipe_table()
    stated = {row[0].strip("`"): dict(zip(recipes, row[1:], strict=True)) for row in rows}
    for option in RECIPES["simhand"]:
        flag = "--loss." + option.replace("_", "-")
        assert stated[flag] == {recipe: RECIPES[recipe][option] for recipe in recipes}, flag


def test_optimisation_recipes_are_as_the_page_says() -> None:
    from dataclasses import asdict

    from simhand_cli.pretrain.recipe import OPTIMISATION

    recipes, rows = _recipe_table()
    stated = {row[0].strip("`"): dict(zip(recipes, row[1:], strict=True)) for row in rows}
    for option in asdict(OPTIMISATION["simhand"]):
        in_words = {
            recipe: _default_in_words(getattr(how, option)) or "a tenth of the run"
            for recipe, how in OPTIMISATION.items()
        }
        assert stated["--" + option.replace("_", "-")] == in_words, option


def test_view_recipes_are_as_the_page_says() -> None:
    from simhand_cli.pretrain.methods.table import METHODS
    from simhand_cli.views.options import ViewOptions

    def limits(text: str) -> tuple[float, float]:
        numbers = [part.partition("/") for part in text.split(" to ")]
        values = [float(over) / float(under or 1) for over, _, under in numbers]
        return values[0], values[-1]

    recipes, rows = _recipe_table()
    for row in rows:
        found = re.fullmatch(r"`--views\.([a-z-]+)`( of simclr)?", row[0])
        if found is None:
            continue
        method = METHODS["simclr" if found[2] else "simhand"]
        for recipe, text in zip(recipes, row[1:], strict=True):
            value = getattr(method.settle_views(recipe, ViewOptions()), found[1].replace("-", "_"))
            expected = text if isinstance(value, str) else pytest.approx(limits(text))
            assert value == expected, (row[0], recipe)


def test_methods_are_as_the_page_says() -> None:
    from simhand_cli.pretrain.methods.table import METHODS

    prose = _split(COMMAND_PAGES["pretrain"].read_text())[0]
    rows = next(rows for header, rows in _tables(prose) if header[0] == "`--method`")
    assert [row[0].strip("`") for row in rows] == list(METHODS)
    for (_, positive, view, undone, weights), method in zip(rows, METHODS.values(), strict=True):
        assert positive.startswith("same crop") == (method.positive == "same-image")
        assert ("rotation" in view) == method.geometric == ("rotation" in undone)
        assert weights == method.weights


# -- links and Python --------------------------------------------------------------------------------------------------
def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", _split(page.read_text())[0], flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _split(page.read_text())[0]):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), f"{page.name}: {target}"


@every_page
def test_python_examples_compile_and_import(page: Path) -> None:
    for block in _split(page.read_text())[2]:
        compile(block, str(page), "exec")
        for module, names in re.findall(r"^from (simhand_cli[\w.]*) import (.+)$", block, flags=re.MULTILINE):
            folder = ROOT / module.replace(".", "/")
            path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            text = path.read_text()
            for name in names.split(", "):
                assert re.search(rf"^(def|class) {name}\b|^{name}\b", text, flags=re.MULTILINE), f"{module}: {name}"


@every_command
def test_lines_are_short(name: str) -> None:
    page = COMMAND_PAGES[name]
    long = [n for n, line in enumerate(page.read_text().splitlines(), 1) if len(line) > 125 and line[0] != "|"]
    assert not long, f"lines longer than 125 characters: {long}"
