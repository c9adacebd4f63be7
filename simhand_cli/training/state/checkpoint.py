"""Checkpoints: one folder per step, tensors in safetensors, the rest in JSON, visible only when complete.

``checkpoints/step-00001200/`` holds ``tensors.safetensors`` (weights, buffers, optimiser state, random states) and
``state.json`` (step, plain values, sizes of the files). It is written under a temporary name, every file and folder
fsynced, and renamed: a run killed at any moment leaves the previous checkpoint as the newest complete one.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from simhand_cli.errors import InputProblem
from simhand_cli.stages.checkpoint_folders import (
    CHECKPOINTS,
    PART,
    STATE_FILE,
    TENSORS_FILE,
    checkpoint_folders,
    is_complete,
    remove_partial_checkpoints,
)

SCHEMA = "simhand.checkpoint"
SCHEMA_VERSION = 1


def save_checkpoint(
    run_dir: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int = 2
) -> Path:
    """Write the checkpoint of a step and remove all but the newest ``keep``.

    Args:
        run_dir: the run's folder.
        step: optimiser steps done so far.
        tensors: name -> tensor, from any device.
        state: plain JSON values: epoch, position of the sampler, precision, ...
        keep: number of newest checkpoints that stay, at least 1.

    Returns:
        the checkpoint's folder.
    """
    final = run_dir / CHECKPOINTS / f"step-{step:08d}"
    # Nothing new since: a stop right after a save asks for the same step again.
    if is_complete(final):
        return final
    part = final.with_name(final.name + PART)
    # Of a process that was killed while writing; the run's lock keeps others away.
    remove_partial_checkpoints(run_dir)
    part.mkdir(parents=True)
    save_file(_storable(tensors), part / TENSORS_FILE, metadata={"schema": SCHEMA})
    (part / TENSORS_FILE).chmod(0o644)  # the library writes files only their owner can read
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "step": step,
        # Tells a file that is cut short without reading gigabytes.
        "files": {TENSORS_FILE: (part / TENSORS_FILE).stat().st_size},
        "state": dict(state),
    }
    (part / STATE_FILE).write_text(json.dumps(document, indent=2) + "\n")
    # Contents before the name: after a power cut a new name must not stand for an empty file.
    for path in (part / TENSORS_FILE, part / STATE_FILE, part):
        _fsync(path)
    if final.exists():
        shutil.rmtree(final)  # an incomplete one, e.g. of a disk that lost data
    part.rename(final)
    _fsync(final.parent)
    # Two stay: should the newest be damaged on disk, the one before goes on.
    for old in checkpoint_folders(run_dir)[: -max(keep, 1)]:
        shutil.rmtree(old, ignore_errors=True)  # a failed delete costs disk space, never the run
    return final


def load_checkpoint(folder: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on ``device``) and the state of a checkpoint; ``state["step"]`` is its step.

    Raises:
        InputProblem: the checkpoint is damaged or of an unknown version.
    """
    try:
        document = json.loads((folder / STATE_FILE).read_text())
        tensors = load_file(folder / TENSORS_FILE, device=device)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputProblem(f"{folder} is damaged ({error}); delete it to go on from the one before") from error
    if (document.get("schema"), document.get("schema_version")) != (SCHEMA, SCHEMA_VERSION):
        raise InputProblem(f"{folder} was written by another version of simhand; start over with --redo")
    return tensors, {**document["state"], "step": document["step"]}


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU copies that share no memory, as safetensors wants them."""
    # Tied weights share memory, and a copy also holds still while the next step changes the original.
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
