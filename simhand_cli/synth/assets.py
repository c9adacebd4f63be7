"""Data files of the synthetic hands, wherever the package lies (what they are: assets/PROVENANCE.md)."""

from importlib.resources import files
from pathlib import Path

from simhand_cli.errors import EnvironmentProblem


def asset_path(name: str) -> Path:
    """Path of a data file: in the installed package, or in a checkout beside it.

    Raises:
        EnvironmentProblem: it is at neither place.
    """
    package = Path(str(files("simhand_cli")))
    for folder in (package / "assets", package.parent / "assets"):
        if (folder / name).is_file():
            return folder / name
    raise EnvironmentProblem(f"simhand's data file {name} is not installed; install simhand again")
