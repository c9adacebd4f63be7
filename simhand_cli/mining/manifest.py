"""What the files in ``mining/`` were made from, so that finished work is skipped and changed options are noticed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from simhand_cli.errors import InputProblem
from simhand_cli.workspace.atomic import sha256_file, write_json

SCHEMA: Final = "simhand.mine"
SCHEMA_VERSION: Final = 1
MANIFEST_NAME: Final = "mine.json"


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of earlier results, or None if there is none that can be read.

    Raises:
        InputProblem: it comes from another version of simhand.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        return None
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise InputProblem(
            f"{path} has version {manifest.get('schema_version')}; this simhand reads {SCHEMA_VERSION}: use --redo"
        )
    return manifest


def write_manifest(
    directory: Path,
    config: Mapping[str, Any],
    inputs: str,
    outputs: Mapping[str, str],
    summary: Mapping[str, Any],
) -> None:
    """Write the manifest; to be called when every output is in its place.

    Args:
        directory: the mining folder.
        config: options that determine the result.
        inputs: :func:`simhand_cli.crops.crop_set.crop_set_fingerprint`.
        outputs: file name -> sha256.
        summary: facts and dropped items, to be shown again when the work is skipped.
    """
    content = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "config": dict(config),
        "inputs": inputs,
        "outputs": dict(outputs),
        "summary": dict(summary),
    }
    write_json(directory / MANIFEST_NAME, content)


def remove_manifest(directory: Path) -> None:
    """Forget earlier results before their files are replaced."""
    (directory / MANIFEST_NAME).unlink(missing_ok=True)


def outputs_intact(directory: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether every output is there with the content the manifest states."""
    paths = {directory / name: digest for name, digest in manifest["outputs"].items()}
    return all(path.is_file() and sha256_file(path) == digest for path, digest in paths.items())
