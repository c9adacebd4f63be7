"""The folders of a run's checkpoints: which are complete, which is the newest, what killed writers left."""

import json
import shutil
from pathlib import Path

#: In a run's folder; and in each of its folders ``step-00001200``: weights, buffers and random states; the rest.
CHECKPOINTS, TENSORS_FILE, STATE_FILE = "checkpoints", "tensors.safetensors", "state.json"
#: A checkpoint that is being written.
PART = ".part"


def checkpoint_folders(run_dir: Path) -> list[Path]:
    """All complete checkpoints of a run, oldest first."""
    found = [p for p in (run_dir / CHECKPOINTS).glob("step-*") if is_complete(p)]
    # By number: a step of nine digits sorts before one of eight as text.
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def remove_partial_checkpoints(run_dir: Path) -> None:
    """Delete what killed writers left of checkpoints; the caller holds the run's lock."""
    for stale in (run_dir / CHECKPOINTS).glob(f"*{PART}"):
        shutil.rmtree(stale, ignore_errors=True)


def latest_complete(run_dir: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    found = checkpoint_folders(run_dir)
    return found[-1] if found else None


def saved_steps(run_dir: Path) -> int:
    """The step of a run's newest complete checkpoint; 0 without one."""
    found = latest_complete(run_dir)
    return int(found.name.removeprefix("step-")) if found else 0


def is_complete(folder: Path) -> bool:
    """Whether a folder has its final name and every file in the size its state tells."""
    if not folder.name.removeprefix("step-").isdigit():
        return False
    try:
        sizes = json.loads((folder / STATE_FILE).read_text())["files"]
        # Sizes and no digests: gigabytes are not read at every start, and a file cut short is what happens.
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
