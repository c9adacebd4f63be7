"""A run's folder: new, to be resumed, or finished; never mixed from two configs."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simhand_cli.errors import UsageProblem
from simhand_cli.stages.checkpoint_folders import latest_complete, remove_partial_checkpoints
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.workspace.atomic import remove_leftovers, write_json
from simhand_cli.workspace.lock import LOCK_NAME

State = Literal["new", "resume", "finished", "redo"]

_IDENTITY, _RESULT, _REDONE = "identity.json", "result.json", "redone.json"
#: Files and folders of a run that has learned nothing yet.
_OF_A_START = {
    _IDENTITY, _REDONE, LOCK_NAME, "checkpoints", "config.yaml", "resolved.yaml", "environment.json", "metrics.jsonl",
    "pairs.png", "samples.json", "tensorboard", "wandb",
}  # fmt: skip
_WAYS_OUT = "--redo replaces it, --name keeps both"
#: What is said of :attr:`RunDir.replaced`.
REPLACED = "an earlier start of this name, with other options, had saved nothing and is replaced"


@dataclass(frozen=True)
class RunDir:
    """An opened run.

    Attributes:
        path: the folder, ``runs/<command>-<name>``.
        checkpoint: the newest complete checkpoint to resume from, or None to start.
        result: the content of result.json if the run is finished, else None.
        replaced: whether it takes the place of a start with other options that had saved nothing.
    """

    path: Path
    checkpoint: Path | None
    result: dict[str, Any] | None
    replaced: bool = False

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json, the last file of a run: from now on it counts as finished."""
        write_json(self.path / _RESULT, dict(result))
        return read_result(self.path) or {}


def open_run(path: Path, identity: Mapping[str, Any], *, redo: bool, job: str = "") -> RunDir:
    """Create a run's folder, or find where to go on in it; the caller holds its lock.

    Args:
        path: the folder.
        identity: all that determines the result (options, digests of the input), as plain values.
        redo: throw earlier work in the folder away, but not what this job has done since it did so.
        job: the same for every start of this job's processes (:attr:`simhand_cli.training.processes.ranks.Ranks.job`).

    Raises:
        UsageProblem: the folder holds a run with another identity that has a checkpoint or is finished; what differs is
            named.
    """
    path.mkdir(parents=True, exist_ok=True)
    # A restart of the same job repeats --redo's command line, but must not discard what the job has done since.
    if redo and not (job and _read_json(path / _REDONE) == {"job": job}):
        discard_run(path)
        if job:
            write_json(path / _REDONE, {"job": job})
    wanted = _plain(identity)
    known = _known(path, wanted)
    replaced = known is None and (path / _IDENTITY).exists()
    if replaced:
        discard_run(path)
    remove_leftovers(path)
    # What a killed writer left counts as nothing.
    remove_partial_checkpoints(path)
    if known is None:
        write_json(path / _IDENTITY, wanted)
    return RunDir(path, latest_complete(path), read_result(path), replaced)


def peek_run(path: Path, identity: Mapping[str, Any], *, redo: bool) -> State:
    """What :func:`open_run` would do, for ``--dry-run``: ``new``, ``resume``, ``finished`` or ``redo``.

    Raises:
        UsageProblem: it would refuse.
    """
    if redo and ((path / _IDENTITY).exists() or _is_begun(path)):
        return "redo"
    _known(path, _plain(identity))
    if read_result(path) is not None:
        return "finished"
    return "resume" if latest_complete(path) is not None else "new"


def _known(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The identity of the run in a folder; None where there is none, or only a start with another that saved nothing.

    Raises:
        UsageProblem: it is that of another run.
    """
    known = _read_json(path / _IDENTITY)
    if known is None and _is_begun(path):
        raise UsageProblem(f"{path} holds a run of unknown config; {_WAYS_OUT}")
    if known is not None and known != wanted and not _holds_work(path):  # a start that failed: nothing to mix
        return None
    refuse_changes(f"{path.name}", known, wanted, _WAYS_OUT)
    return known


def _is_begun(path: Path) -> bool:
    """Whether something was learned there."""
    return latest_complete(path) is not None or read_result(path) is not None


def _holds_work(path: Path) -> bool:
    """Whether there is more than what a start leaves that failed before its first checkpoint."""
    return _is_begun(path) or any(entry.name not in _OF_A_START for entry in path.iterdir())


def read_result(path: Path) -> dict[str, Any] | None:
    """The result of a finished run, None if it is not finished."""
    return _read_json(path / _RESULT)


def discard_run(path: Path) -> None:
    """Delete a run's files but its lock: result and checkpoints first, so that half a run is never gone on with."""
    last = (_IDENTITY, LOCK_NAME)
    # The identity last: killed in between, the folder is still known as that run's and is discarded again.
    for entry in sorted(path.iterdir(), key=lambda p: (p.name != _RESULT, not p.is_dir(), p.name in last)):
        if entry.name == LOCK_NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity as it reads back from JSON, so that tuples and paths compare equal."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity), default=str))
    return plain


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
