"""The command line itself: help without heavy imports, exit codes, one-line errors, JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simhand_cli.cli import COMMANDS

HEAVY = ("torch", "mediapipe", "cv2", "timm", "h5py", "numpy", "av", "hnswlib", "scipy", "numba", "matplotlib")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['simhand', '--help']\n"
        "from simhand_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    assert all(name in done.stdout for name in COMMANDS)


def test_the_display_is_looked_at_without_importing_anything_heavy() -> None:
    code = (
        "import sys\n"
        "from simhand_cli.health.checks import _display\n"
        "print(_display().finding)\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    environment = os.environ | {"DISPLAY": ":4711", "WAYLAND_DISPLAY": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "the display cannot be opened" in done.stdout
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_help_works_with_broken_libraries(name: str, tmp_path: Path, run_cli) -> None:
    for module in HEAVY:
        (tmp_path / f"{module}.py").write_text("raise ImportError('broken on purpose')")
    done = run_cli(name, "--help", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert done.returncode == 0, done.stderr
    assert "Examples" in done.stdout


def test_broken_library_is_one_line_and_exit_4(tmp_path: Path, run_cli) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('broken on purpose')")
    video = tmp_path / "x.mp4"
    video.write_bytes(b"x")
    done = run_cli("ingest", video, "-w", tmp_path / "w", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert done.returncode == 4
    assert "broken on purpose" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_doctor_reports_a_broken_library(tmp_path: Path, run_cli) -> None:
    (tmp_path / "timm.py").write_text("raise ImportError('broken on purpose')")
    done = run_cli("doctor", "--json", "-w", tmp_path, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert done.returncode == 5
    facts = json.loads(done.stdout)["facts"]
    assert "broken on purpose" in facts["timm"]
    assert "PROBLEM" not in facts["h5py"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["detct"], 2, "Did you mean 'detect'"),
        (["detect", "--max-hand", "1"], 2, "--max-hands"),
        (["detect", "--set", "max_hand=1"], 2, "did you mean 'max_hands' (default 2)"),
        (["detect", "--max-hands", "many"], 2, "valid integer"),
        (["detect"], 3, "simhand ingest"),
        (["ingest", "nowhere.mp4"], 3, "no such file"),
        (["ingest"], 2, "PATHS must be given"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], code: int, expected: str, tmp_path: Path, run_cli) -> None:
    done = run_cli(*words, cwd=tmp_path, PYTHONPATH=str(Path(__file__).parents[2]))
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_json_error_is_a_document(tmp_path: Path, run_cli) -> None:
    done = run_cli("detect", "--json", "-w", tmp_path / "none")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 3
    assert "simhand ingest" in document["error"]


def test_json_of_a_mistyped_flag_is_a_document(run_cli) -> None:
    done = run_cli("detect", "--json", "--max-hand", "1")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2
    assert "--max-hands" in document["error"]


def test_version(run_cli) -> None:
    from simhand_cli import __version__

    assert run_cli("--version").stdout.strip() == f"simhand {__version__}"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["doctor", "--json"], ["doctor"], ["detect", "--json", "-w", "nowhere"]])
def test_a_reader_that_ends_first_is_no_error(words: list[str], tmp_path: Path) -> None:
    """As ``| head -0``: the pipe's other end is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "simhand_cli", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=environment, cwd=tmp_path
    )
    os.close(write)
    assert done.returncode == 141
    assert "pipe" not in done.stderr.lower()
    assert "Exception ignored" not in done.stderr


def test_another_broken_pipe_is_still_reported(capfd: pytest.CaptureFixture[str]) -> None:
    from simhand_cli.cli import _report

    assert _report(BrokenPipeError(32, "Broken pipe"), "pretrain", as_json=False, debug=False) == 4
    assert "simhand pretrain: Broken pipe" in capfd.readouterr().err
