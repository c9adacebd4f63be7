"""What pip builds works wherever it is put: a plain folder, and an environment of its own, seen from another folder."""

import json
import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*words: object, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows: nothing that only lies in this checkout may help."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("simhand_cli", "assets", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check",
        "-q", "-w", out, source, cwd=out,
    )  # fmt: skip
    (built,) = out.glob("simhand-*.whl")
    return built


def test_the_wheel_holds_everything(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"simhand_cli/assets/{file.name}" for file in (ROOT / "assets").iterdir()}
    wanted |= {"simhand_cli/py.typed", "simhand_cli/report/page.html"}
    assert wanted <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def make_two_pictures(python: Path | str, cwd: Path, **environment: str) -> None:
    """With the copy that is installed, not the checkout."""
    shown = "import simhand_cli; print(simhand_cli.__file__)"
    assert not Path(run(python, "-c", shown, cwd=cwd, **environment).strip()).is_relative_to(ROOT)
    assert "simhand pretrain" not in run(python, "-m", "simhand_cli", "--version", cwd=cwd, **environment)
    words = ("synth", "--count", 2, "--image-px", 32, "--subjects", 2, "--workers", 1, "--out", "hands", "--json")
    told = json.loads(run(python, "-m", "simhand_cli", *words, cwd=cwd, **environment))
    assert told["facts"]["pictures"] == 2
    assert (cwd / "hands" / "contact_sheet.png").is_file()


def test_installed_into_a_plain_folder(wheel, tmp_path):
    target = tmp_path / "packages"
    words = ("install", "--no-deps", "--no-index", "--disable-pip-version-check", "-q", "--target", target, wheel)
    run(sys.executable, "-m", "pip", *words, cwd=tmp_path)
    # The test environment's own packages are the dependencies; the folder stands before them.
    make_two_pictures(sys.executable, tmp_path, PYTHONPATH=str(target))


def test_installed_into_an_environment_of_its_own(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = ("install", "--no-deps", "--no-index", "--disable-pip-version-check", "-q", wheel)
    run(python, "-m", "pip", *words, cwd=tmp_path)
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # Dependencies from here instead of from the internet, but not this environment's link to the checkout: a .pth file
    # adds a folder at the end of the path and does not read the .pth files in it.
    (own / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    make_two_pictures(python, tmp_path)
    assert run(tmp_path / "venv" / "bin" / "simhand", "--version", cwd=tmp_path).startswith("simhand ")
