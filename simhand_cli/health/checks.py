"""What ``simhand doctor`` looks at.

Nothing heavy is imported in this process: a broken library must not stop the rest.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from simhand_cli import __version__
from simhand_cli.errors import SimhandError
from simhand_cli.workspace.cores import busy_cores, busy_words, usable_cores

_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "mediapipe": "mediapipe",
    "opencv-python": "cv2",
    "av": "av",
    "h5py": "h5py",
    "hnswlib": "hnswlib",
    "numba": "numba",
    "numpy": "numpy",
}
_IMPORT_TIMEOUT_S = 120
_LOW_DISK_BYTES = 5e9


@dataclass(frozen=True)
class Check:
    """One finding; ``remedy`` says what to do when it is not ok."""

    name: str
    ok: bool
    finding: str
    remedy: str = ""


def all_checks(workspace: Path) -> list[Check]:
    """Every check, in the order they are shown; a check that breaks becomes a finding itself."""
    checks = [
        Check("simhand", True, f"{__version__} at {Path(__file__).parents[1]}"),
        Check("python", True, f"{platform.python_version()} on {platform.platform()}"),
        _processors(),
    ]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        checks += pool.map(_import_check, _PACKAGES.keys(), _PACKAGES.values())
    rest: list[tuple[str, Callable[[], Check]]] = [
        ("cv2 builds", _cv2_builds),
        ("gpu", _gpu),
        ("hand model", _hand_model),
        ("codecs", _codecs),
        ("display", _display),
        ("disk", lambda: _disk(workspace)),
    ]
    for name, check in rest:
        try:
            checks.append(check())
        except Exception as error:  # a check must never hide the others
            checks.append(Check(name, False, f"{type(error).__name__}: {error}", "reinstall simhand"))
    return checks


def _processors() -> Check:
    """How many there are, how many simhand may use, and whether others use them: then every figure of time is off."""
    there, usable = os.cpu_count() or 1, usable_cores()
    limited = f", {usable} usable here" if usable < there else ""
    others = busy_words(busy_cores(0.5))
    return Check("processors", True, f"{there} ({platform.machine()}){limited}" + (f", {others}" if others else ""))


def _run_python(code: str) -> tuple[bool, str]:
    """Run a snippet in a fresh interpreter: native crashes and hangs stay there."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {_IMPORT_TIMEOUT_S} s"
    if done.returncode == 0:
        return True, done.stdout.strip()
    last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    return False, last[0]


def _import_check(name: str, module: str) -> Check:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")
    ok, output = _run_python(f"import {module}")
    if ok:
        return Check(name, True, version)
    return Check(
        name, False, f"{version} does not import: {output}", f"pip install --force-reinstall {name}=={version}"
    )


def _cv2_builds() -> Check:
    found = {}
    for name in ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    same = len(set(found.values())) <= 1
    return Check("cv2 builds", same, text or "none", "they share one folder: install the same version of each")


def _gpu() -> Check:
    code = (
        "import torch; n = torch.cuda.device_count(); "
        "print(f'{n} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}' if n else 'none; training runs on "
        "the CPU')"
    )
    ok, output = _run_python(code)
    return Check("gpu", ok, output, "see torch above")


def _hand_model() -> Check:
    from simhand_cli.hands.landmarker_file import find_landmarker

    try:
        return Check("hand model", True, f"{find_landmarker()} (sha256 as expected)")
    except SimhandError as problem:
        return Check("hand model", False, str(problem), "see the message")


def _codecs() -> Check:
    code = (
        "import av; c = av.codecs_available; "
        "print('decode', ' '.join(n for n in ('h264', 'hevc', 'vp9', 'av1', 'mpeg4') if n in c), "
        "'; encode', 'libx264' if 'libx264' in c else 'mpeg4')"
    )
    ok, output = _run_python(code)
    return Check("codecs", ok, output, "pip install --force-reinstall av")


def _display() -> Check:
    from simhand_cli.demo.display import display_problem

    problem = display_problem()
    # Not having one is normal on a server: the demo then writes a file.
    return Check("display", True, problem or "available")


def _disk(workspace: Path) -> Check:
    folder = next(p for p in (workspace.absolute(), *workspace.absolute().parents) if p.is_dir())
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / 1e9:.1f} GB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Check("disk", False, f"{folder} is not writable", "choose another --workspace")
    return Check("disk", usage.free > _LOW_DISK_BYTES, text, "free some space or choose another --workspace")
