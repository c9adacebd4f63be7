"""The command to run next, as it works in this workspace."""

from pathlib import Path

from simhand_cli.workspace.paths import BACKBONE_FILE, Workspace


def finetune_call(root: Path, data: Path) -> str:
    """How to fine-tune on a set: from the newest pre-training run, or from random weights where none is finished.

    Args:
        root: the workspace.
        data: folder of the labelled set.
    """
    untrained = Workspace(root).latest_run("pretrain", BACKBONE_FILE) is None
    return f"simhand finetune --data {data}{' --encoder none' if untrained else ''}"
