"""Write tests/helpers/golden_losses.json: the first losses of every method, kind of weights and recipe.

Usage: python tools/build_golden_losses.py

To be run only after a change that is meant to change what is learned; say in the commit why the curves moved.
"""

import sys
import tempfile
from pathlib import Path

import torch

from simhand_cli.workspace.atomic import write_json

TESTS = Path(__file__).parents[1] / "tests" / "helpers"


def main() -> None:
    """Run them all and store their losses."""
    sys.path.insert(0, str(TESTS))
    import golden_run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = golden_run.make_golden_workspace(Path(folder) / "workspace")
        losses = {golden_run.key(*run): golden_run.losses(workspace, *run) for run in golden_run.runs()}
    write_json(golden_run.GOLDEN, {"precision": "fp64", "losses": losses})


if __name__ == "__main__":
    main()
