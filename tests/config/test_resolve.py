"""Configs: precedence, one-line errors, suggestions, and CLI = config for every command."""

import importlib
import inspect
from pathlib import Path
from typing import Literal

import pytest

from simhand_cli.cli import COMMANDS, config_class
from simhand_cli.config.base import CommandConfig, Section, option
from simhand_cli.config.flags import make_callback
from simhand_cli.config.resolve import flat_fields, resolve_config, save_config
from simhand_cli.errors import UsageProblem
from simhand_cli.hands.config import DetectConfig


class Inner(Section):
    depth: int = option(3, "Depth", ge=1)
    names: list[str] = option([], "Names")


class ExampleConfig(CommandConfig):
    topk: int = option(1, "Neighbours", ge=1)
    rate: float = option(0.5, "Rate")
    inner: Inner = Inner()


def test_file_then_flags_then_set(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("topk: 2\nrate: 0.1\ninner:\n  depth: 7\n")
    config = resolve_config(ExampleConfig, file, {"rate": "0.2", "inner.names": ["a"]}, ["inner.depth=9"])
    assert (config.topk, config.rate, config.inner.depth, config.inner.names) == (2, 0.2, 9, ["a"])


def test_workspace_from_the_environment_comes_after_file_and_flags(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SIMHAND_WORKSPACE", "from-environment")
    file = tmp_path / "c.yaml"
    file.write_text("workspace: from-file\n")
    assert resolve_config(ExampleConfig, None, {}, []).workspace == Path("from-environment")
    assert resolve_config(ExampleConfig, file, {}, []).workspace == Path("from-file")
    assert resolve_config(ExampleConfig, file, {"workspace": "from-flag"}, []).workspace == Path("from-flag")


def test_saved_config_is_portable(tmp_path: Path) -> None:
    save_config(resolve_config(DetectConfig, None, {"model_file": "x.task", "workspace": "w"}, []), tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text()
    assert f"model_file: {Path('x.task').absolute()}" in text
    assert "workspace" not in text


def test_number_choices_from_the_command_line() -> None:
    import typer
    from typer.testing import CliRunner

    got: list[object] = []

    class ChoiceConfig(CommandConfig):
        root: Literal[0, 9] = option(0, "Root")

    app = typer.Typer()
    app.command()(make_callback(ChoiceConfig, lambda invocation: got.append(invocation.flags["root"])))
    assert CliRunner().invoke(app, ["--root", "9"]).exit_code == 0
    assert got == [9]


def test_an_option_of_a_group_can_have_a_spelling_without_it(tmp_path: Path) -> None:
    import typer
    from typer.testing import CliRunner

    got: list[dict[str, object]] = []

    class Group(Section):
        kind: str | None = option(None, "Kind", short="--kind")

    class GroupConfig(CommandConfig):
        group: Group = Group()

    app = typer.Typer()
    app.command()(make_callback(GroupConfig, lambda invocation: got.append(invocation.flags)))
    for flag in ("--kind", "--group.kind"):
        assert CliRunner().invoke(app, [flag, "a"]).exit_code == 0
    assert got == [{"group.kind": "a"}] * 2
    config = resolve_config(GroupConfig, None, got[0], [])
    save_config(config, tmp_path / "c.yaml")
    assert "group:\n  kind: a" in (tmp_path / "c.yaml").read_text()
    assert resolve_config(GroupConfig, tmp_path / "c.yaml", {}, []) == config
    with pytest.raises(UsageProblem, match=r"unknown option 'kind'; did you mean 'group\.kind'"):
        resolve_config(GroupConfig, None, {}, ["kind=a"])


@pytest.mark.parametrize("name", COMMANDS)
def test_no_two_options_share_a_flag(name: str) -> None:
    model = config_class(importlib.import_module(f"simhand_cli.commands.{name}"), name)
    callback = make_callback(model, lambda invocation: None)
    declared = []
    for parameter in inspect.signature(callback).parameters.values():
        information = parameter.annotation.__metadata__[0]
        declared += [word for flag in getattr(information, "param_decls", None) or () for word in flag.split("/")]
    assert len(declared) == len(set(declared))


def test_saved_config_loads_again(tmp_path: Path) -> None:
    config = resolve_config(ExampleConfig, None, {"topk": "4"}, ["inner.depth=2"])
    save_config(config, tmp_path / "config.yaml")
    assert resolve_config(ExampleConfig, tmp_path / "config.yaml", {}, []) == config


@pytest.mark.parametrize(
    ("flags", "assignments", "expected"),
    [
        ({}, ["topkk=3"], "unknown option 'topkk'; did you mean 'topk' (default 1)?"),
        ({}, ["inner.dpeth=3"], "unknown option 'inner.dpeth'; did you mean 'inner.depth' (default 3)?"),
        ({"topk": "0"}, [], "'topk': should be greater than or equal to 1, got '0'"),
        ({"topk": "x"}, [], "'topk': should be a valid integer"),
        ({}, ["rate=.inf"], "'rate': should be a finite number"),
        ({}, ["topk"], "--set needs key=value"),
        ({}, ["topk=[1"], "not valid YAML"),
        ({}, ["topk.deeper=1", "topk=2"], None),
        ({}, ["topk=2", "topk.deeper=1"], "'topk' is a value, not a group"),
    ],
)
def test_mistakes_are_one_line(flags: dict[str, str], assignments: list[str], expected: str | None) -> None:
    if expected is None:
        assert resolve_config(ExampleConfig, None, flags, assignments).topk == 2
        return
    with pytest.raises(UsageProblem) as caught:
        resolve_config(ExampleConfig, None, flags, assignments)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "\xff\xfe"])
def test_unusable_config_files(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageProblem, match=r"bad\.yaml"):
        resolve_config(ExampleConfig, file, {}, [])


def test_missing_config_file() -> None:
    with pytest.raises(UsageProblem, match="No such file"):
        resolve_config(ExampleConfig, Path("nowhere.yaml"), {}, [])


def test_identity_leaves_out_what_cannot_change_results() -> None:
    assert DetectConfig(workers=1).identity() == DetectConfig(workers=9, workspace=Path("x"), redo=True).identity()
    assert DetectConfig(max_hands=1).identity() != DetectConfig().identity()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_function_config_and_flags_agree(name: str) -> None:
    module = importlib.import_module(f"simhand_cli.commands.{name}")
    model = config_class(module, name)
    function = getattr(module, name)
    signature = inspect.signature(function)
    assert list(signature.parameters) == ["config", "console"]
    assert signature.parameters["config"].annotation in (model, model.__name__)
    given: dict[str, object] = {}
    callback = make_callback(model, lambda invocation: given.update(invocation.flags))
    parameters = inspect.signature(callback).parameters
    common = {"config", "set_", "json_", "debug", "help_all"}
    assert {p.replace("__", ".") for p in parameters if p not in common and not p.startswith("former__")} == set(
        flat_fields(model)
    )
    for field_name, field in model.model_fields.items():
        assert field.description or hasattr(field.annotation, "model_fields"), f"{field_name} has no help"
    assert module.EXAMPLES, "a command needs examples"
    assert all(example.startswith(f"simhand {name}") for example in module.EXAMPLES)
