"""Which labelled sets a command takes: those of ``--data``, or the newest own one when none is named."""

from collections.abc import Iterable
from pathlib import Path

from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.workspace.paths import Workspace


def newest_own_set(workspace: Workspace) -> Path:
    """The folder of the newest complete set that ``simhand synth`` made in the workspace.

    Raises:
        InputProblem: there is none.
    """
    found = [card.parent for card in workspace.synth_dir.glob("**/dataset.json")]
    if not found:
        raise InputProblem(
            f"no labelled set in {workspace.synth_dir}: give one with --data, or make one with 'simhand synth'"
        )
    return max(found, key=lambda p: ((p / "dataset.json").stat().st_mtime_ns, p.name))


def refuse_repeated(paths: Iterable[Path]) -> None:
    """Every folder of ``--data`` may be given once, however it is spelt.

    Raises:
        UsageProblem: one is given twice.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UsageProblem(f"--data {path} is given twice")
        seen.add(path.resolve())
