"""Commands that load torch and large sets say so before they do: nobody looks at an empty screen."""

import subprocess
import sys

import pytest

_CODE = """
import sys
from pathlib import Path
from simhand_cli.console import Console
from simhand_cli.errors import SimhandError
from simhand_cli.commands.{name} import {name}, {title}Config

class Heard(Console):
    def say(self, text):
        print("torch" in sys.modules, text)

try:
    {name}({title}Config(workspace=Path("nowhere"), dry_run=True), Heard())
except SimhandError as problem:
    print(problem)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate", "probe", "embed", "pretrain", "finetune"])
def test_the_first_word_comes_before_torch(name: str) -> None:
    code = _CODE.format(name=name, title=name.title())
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    first, *_, last = told.stdout.splitlines()
    assert first.startswith(f"False {name}: ")
    assert "nowhere" in last
