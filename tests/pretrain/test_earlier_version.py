"""Runs and saved options of the version before, which called the backbone "encoder"."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_workspace import TINY, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.config.resolve import resolve_config
from simhand_cli.console import Console
from simhand_cli.errors import UsageProblem
from simhand_cli.pretrain.config import PretrainConfig


def test_a_run_of_the_version_before_is_known_and_its_options_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make_workspace(tmp_path / "ws")
    config = PretrainConfig(workspace=workspace, name="a", max_steps=1, **TINY)
    pretrain(config, Console(quiet=True))
    run = workspace / "runs" / "pretrain-a"
    for file, read, write in (
        (run / "identity.json", json.loads, json.dumps),
        (run / "config.yaml", yaml.safe_load, yaml.safe_dump),
    ):
        options = read(file.read_text())
        options["encoder"] = options.pop("backbone")
        file.write_text(write(options))
    hints: list[str] = []
    again = resolve_config(PretrainConfig, run / "config.yaml", {"workspace": str(workspace)}, [], hint=hints.append)
    assert again == config
    assert hints == ["--encoder is now --backbone and goes away with the next version"]
    before = (run / "backbone.safetensors").stat().st_mtime_ns
    pretrain(again, Console())
    assert "is finished already" in capsys.readouterr().err
    assert (run / "backbone.safetensors").stat().st_mtime_ns == before
    other = again.model_copy(update={"backbone": "resnet18"})
    with pytest.raises(UsageProblem, match="backbone='test_resnet', now 'resnet18'"):
        pretrain(other, Console(quiet=True))
