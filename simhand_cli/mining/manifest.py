"""What the files in ``mining/`` were made from, so that finished work is skipped and changed options are noticed."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from simhand_cli.config.base import CommandConfig
from simhand_cli.errors import InputProblem
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.stages.run_folder import State
from simhand_cli.workspace.atomic import sha256_file, write_json
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace

SCHEMA: Final = "simhand.mine"
SCHEMA_VERSION: Final = 1
MANIFEST_NAME: Final = "mine.json"


class ManifestRecord:
    """The record of mining: its manifest, which is written last and removed first."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @contextmanager
    def held(self, *, dry_run: bool) -> Iterator[None]:  # noqa: ARG002 (crops are read in a dry run too)
        """Hold the workspace's lock: nothing may replace the crops meanwhile."""
        with workspace_lock(self._workspace.root, "mine"):
            yield

    def earlier(self) -> dict[str, Any] | None:
        """The options of the earlier pairs."""
        manifest = read_manifest(self._workspace.mining_dir)
        return manifest["config"] if manifest else None

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:
        """Whether there are pairs; whether they are still of these crops is :meth:`still_valid`'s to say.

        Raises:
            UsageProblem: they were mined with other options.
        """
        if redo:
            return "redo"
        before = self.earlier()
        refuse_changes("mine", before, identity, "--redo mines again", go_on=True)
        return "new" if before is None else "finished"

    def still_valid(self, inputs: str) -> dict[str, Any] | None:
        """The manifest, where it is of these inputs and every file is as it states; else None."""
        manifest = read_manifest(self._workspace.mining_dir)
        if manifest is None or manifest["inputs"] != inputs:
            return None
        return manifest if outputs_intact(self._workspace.mining_dir, manifest) else None

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """Nothing yet: earlier files are good until the new ones are computed."""


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of earlier results, or None if there is none that can be read.

    Raises:
        InputProblem: it comes from another version of simhand.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    # As good as none: mining anew replaces it.
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
    # By content and not by time: a clock set back, or a copy, must not matter.
    return all(path.is_file() and sha256_file(path) == digest for path, digest in paths.items())
