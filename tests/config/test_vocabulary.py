"""One vocabulary: an option's name has one type, one meaning and one word for "not given" in all commands."""

import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from simhand_cli.cli import COMMANDS, config_class
from simhand_cli.config.base import CommandConfig, Section, option
from simhand_cli.config.earlier import Earlier
from simhand_cli.config.option_words import extras, is_section, options_of, value_type
from simhand_cli.config.resolve import resolve_config, save_config
from simhand_cli.stages.refuse_changes import NOT_GIVEN_WAS, RECORDED_AS, refuse_changes

#: Names whose type differs between commands, with the reason. All differ in "one, none or several", but for format.
TYPES_APART = {
    "backbone": "pre-training and the quick start build one; elsewhere the weights say what they are for",
    "data": "probe compares encoders on one set; the others take several",
    "encoder": "probe compares several",
    "format": "each command writes files of its own kinds",
    "frames": "the default of synth depends on its format",
    "limit": "probe has a limit by default",
    "lr": "pre-training's recipe says it",
    "split": "data checks all and evaluate follows the training set unless one is named",
    "warmup_epochs": "pre-training's recipe says it",
    "workers": "training decides by what a GPU needs, other stages use the machine's cores",
}
#: What the help of a name that several commands have must say in each of them, where the texts are not the same.
MEANINGS = {
    "backbone": r"^timm name of the encoder",
    "batch_size": r"^(Pairs|Crops|Samples) (per step over all GPUs together|a forward pass)",
    "data": r"^Folder of a labelled set",
    "encoder": r"^latest.*a run's name or folder, a weight file, random \(or none\), or imagenet",
    "epochs": r"^Passes over",
    "frames": r"^Frames of each",
    "limit": r"at most, drawn at random$",
    "model": r"^Name or folder of a 'simhand finetune' run, a model file",
    "name": r"^Name of the run: runs/[a-z]+-NAME \(default: ",
    "out": r"^(File|Folder) to write",
    "seed": r"^Seed of",
    "split": r"^Split",
    "val_fraction": r"^Part of .*by whole people",
    "warmup_epochs": r"^Epochs of linear warm-up",
    "workers": r"^(Loader p|P)rocesses",
    "workspace": r"^Folder",
}
#: Names that mean what their command makes of them.
MEANINGS_APART = {
    "format": "each command writes files of its own kinds",
    "fps": "frames a second: filmed by synth, sampled by ingest",
    "lr": "the rate that pre-training's rule starts from; of fine-tuning the heads' own",
    "min_confidence": "MediaPipe's threshold while finding hands and joints; of mining that of the stored joints",
    "samples_shown": "of each split, or of the best, median and worst",
}
#: Yes, no, or decided by something else.
OPEN_BOOLEANS = {"mirror": "by the source: cameras are mirrored", "sync_bn": "by the recipe"}


def model_of(name: str) -> type[CommandConfig]:
    model: type[CommandConfig] = config_class(importlib.import_module(f"simhand_cli.commands.{name}"), name)
    return model


@pytest.fixture(scope="module")
def named() -> dict[str, dict[str, FieldInfo]]:
    """Dotted option name -> command -> field."""
    found: dict[str, dict[str, FieldInfo]] = defaultdict(dict)
    for command in COMMANDS:
        for name, info in options_of(model_of(command)):
            found[name][command] = info
    return found


def every_option() -> Iterator[tuple[str, str, FieldInfo]]:
    for command in COMMANDS:
        for name, info in options_of(model_of(command)):
            yield command, name, info


def meaning(info: FieldInfo) -> str:
    return (info.description or "").partition(" (default")[0]


def test_a_name_has_one_type(named: dict[str, dict[str, FieldInfo]]) -> None:
    apart = {name for name, by in named.items() if len({str(info.annotation) for info in by.values()}) > 1}
    assert apart == set(TYPES_APART)
    for name, by in named.items():
        if name != "format":
            assert len({value_type(info.annotation)[:2] for info in by.values()}) == 1, name


def test_a_name_means_one_thing(named: dict[str, dict[str, FieldInfo]]) -> None:
    apart = {name for name, by in named.items() if len({meaning(info) for info in by.values()}) > 1}
    assert apart == set(MEANINGS) | set(MEANINGS_APART)
    for name, pattern in MEANINGS.items():
        for command, info in named[name].items():
            assert re.search(pattern, info.description or ""), f"{command} --{name}: {info.description}"


def test_a_name_has_one_short_flag_and_a_short_flag_one_name(named: dict[str, dict[str, FieldInfo]]) -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for name, by in named.items():
        shorts = {extras(info).get("short") for info in by.values()}
        assert len(shorts) == 1, name
        for short in shorts - {None}:
            names[short].add(name)
    assert {short for short in names if len(short) == 2} == {"-w", "-n", "-o", "-k"}
    assert all(len(found) == 1 for found in names.values())


def test_not_given_is_none_and_booleans_are_plain() -> None:
    for command, name, info in every_option():
        where = f"{command} {name}"
        assert info.default != "", where
        optional = NoneType in get_args(info.annotation)
        assert optional == (info.default is None), where
        if value_type(info.annotation)[0] is bool:
            assert optional == (name in OPEN_BOOLEANS), where


def test_help_texts_are_alike() -> None:
    for command, name, info in every_option():
        text = info.description or ""
        assert text, f"{command} {name}"
        assert not text.endswith("."), text
        assert text == " ".join(text.split()), text
        assert "none:" not in text, text  # what happens without it is "(default: ...)"


def test_what_both_trainings_have_is_the_same() -> None:
    pretrain, finetune = model_of("pretrain").model_fields, model_of("finetune").model_fields
    shared = {
        "max_steps", "micro_batch", "seed", "precision", "workers", "compile", "sync_bn", "grad_clip", "ema", "log",
        "log_every", "checkpoint_every", "gpus", "cpu_ranks", "nnodes", "rdzv_endpoint", "max_restarts",
    }  # fmt: skip
    for name in shared:
        assert pretrain[name].description == finetune[name].description, name
        assert pretrain[name].default == finetune[name].default, name


# -- words of the version before ---------------------------------------------------------------------------------------
class Inner(Section):
    depth: int = option(3, "Depth", formerly=("deep",))


class ExampleConfig(CommandConfig):
    rate: float | None = option(None, "Rate", none_was=0.0, gt=0)
    word: str | None = option(None, "Word", none_was="", min_length=1)
    steps: int | None = option(None, "Steps", replaces=("seconds",))
    many: list[str] = option([], "Many", formerly=("-m", "several"))
    inner: Inner = Inner()


def understood(file: Path | None = None, flags: dict[str, Any] | None = None, said: list[str] | None = None) -> Any:
    hints: list[str] = []
    return resolve_config(ExampleConfig, file, flags or {}, said or [], hint=hints.append), hints


def test_old_names_are_understood_with_one_hint_in_files_flags_and_set(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("several: [a]\nseconds: 60.0\nrate: 0.0\nword: ''\ninner:\n  deep: 5\n")
    config, hints = understood(file)
    assert (config.many, config.steps, config.rate, config.word, config.inner.depth) == (["a"], None, None, None, 5)
    assert hints == [
        "--several is now --many and goes away with the next version",
        "--seconds is not heeded: --steps takes its place",
        "--rate 0.0 is now said by leaving it out (null in a file) and goes away with the next version",
        "--word '' is now said by leaving it out (null in a file) and goes away with the next version",
        "--inner.deep is now --inner.depth and goes away with the next version",
    ]
    config, hints = understood(flags={"-m": ["b"], "rate": "0", "word": "", "inner.deep": "7"})
    assert (config.many, config.rate, config.word, config.inner.depth) == (["b"], None, None, 7)
    assert len(hints) == 4
    config, hints = understood(said=["several=[c]", "inner.deep=8", "inner.deep=9", "seconds=1"])
    assert (config.many, config.inner.depth) == (["c"], 9)
    assert len(hints) == 3


def test_later_words_win_whichever_name_they_use(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("several: [old]\n")
    assert understood(file, {"many": ["new"]})[0].many == ["new"]
    file.write_text("several: [old]\nmany: [new]\n")
    assert understood(file)[0].many == ["new"]
    file.write_text("many: [new]\n")
    assert understood(file, said=["several=[later]"])[0].many == ["later"]


def test_todays_words_give_no_hint(tmp_path: Path) -> None:
    config, hints = understood(flags={"rate": "0.5", "word": "x", "many": ["a"]}, said=["steps=3", "inner.depth=4"])
    save_config(config, tmp_path / "c.yaml")
    again, more = understood(tmp_path / "c.yaml")
    assert again == config
    assert hints == more == []


@pytest.mark.parametrize(
    ("command", "words", "name", "value"),
    [
        ("pretrain", ["--encoder", "resnet18"], "backbone", "resnet18"),
        ("quickstart", ["--encoder", "resnet18"], "backbone", "resnet18"),
        ("demo", ["webcam", "--output", "a.mp4"], "out", Path("a.mp4")),
        ("synth", ["-n", "8"], "count", 8),
        ("finetune", ["--grad-clip", "0"], "grad_clip", None),
        ("finetune", ["--checkpoint-every-s", "30"], "checkpoint_every", None),
        ("evaluate", ["--split", ""], "split", None),
        ("mine", ["--threads", "0"], "threads", None),
    ],
)
def test_old_flags_still_work(command: str, words: list[str], name: str, value: object) -> None:
    import typer
    from typer.testing import CliRunner

    from simhand_cli.config.flags import make_callback

    model, got, hints = model_of(command), [], []
    app = typer.Typer()
    app.command()(make_callback(model, got.append))
    assert CliRunner().invoke(app, words).exit_code == 0
    config = resolve_config(model, None, got[0].flags, [], hint=hints.append)
    assert getattr(config, name) == value
    assert len(hints) == 1


def test_old_words_are_no_words_of_today() -> None:
    for command in COMMANDS:
        model = model_of(command)
        earlier, today = Earlier.of(model), dict(options_of(model))
        assert not (earlier.renamed.keys() | earlier.replaced.keys()) & today.keys()
        shorts = {extras(info).get("short") for info in today.values()}
        assert not earlier.renamed.keys() & shorts


def test_recorded_runs_of_the_version_before_are_recognised() -> None:
    """The table of recorded names follows from the options that are part of an identity."""
    renamed, not_given = {}, {}
    for command in ("pretrain", "finetune", "quickstart"):
        model = model_of(command)
        counts = {n for n, i in model.model_fields.items() if not is_section(i.annotation)} - model.not_identity()
        earlier = Earlier.of(model)
        renamed |= {new: old for old, new in earlier.renamed.items() if new in counts and not old.startswith("-")}
        not_given |= {name: word for name, word in earlier.none_was.items() if name in counts}
    assert renamed == RECORDED_AS
    assert not_given == NOT_GIVEN_WAS


def test_an_earlier_identity_is_compared_under_todays_names() -> None:
    today = {"backbone": "resnet18", "lr": 0.1}
    refuse_changes("a", {"encoder": "resnet18", "lr": 0.1}, today, "--redo")
    with pytest.raises(Exception, match="backbone='resnet50', now 'resnet18'"):
        refuse_changes("a", {"encoder": "resnet50", "lr": 0.1}, today, "--redo")
    # Fine-tuning has both names, with meanings of their own.
    both = {"encoder": "a" * 64, "backbone": "resnet18", "grad_clip": None}
    refuse_changes("a", {**both, "grad_clip": 0.0}, both, "--redo")
    with pytest.raises(Exception, match="other data or another model"):
        refuse_changes("a", {**both, "encoder": "b" * 64}, both, "--redo")
