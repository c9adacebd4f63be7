"""The labelled set a command takes when none is named."""

from pathlib import Path

from simhand_cli.errors import InputProblem
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
