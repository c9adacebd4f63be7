"""Check a labelled set: what it is, what is missing or damaged, which labels are wrong."""

from simhand_cli.console import Console
from simhand_cli.labelled.config import DataConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand data check FreiHAND_pub_v2",
    "simhand data check simhand-workspace/synth/labelled --split test --samples-shown 24 --json",
    "simhand data check FreiHAND_pub_v2 --all-images --out freihand.png --strict",
)


def data(config: DataConfig, console: Console | None = None) -> Summary:
    """Check every label of a set, decode some of its pictures and draw a sheet of samples.

    Args:
        config: see :class:`DataConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        What each split holds, as facts; what is wrong with it, as ``dropped`` (nothing is changed or removed) and, with
        the numbers of all samples and the names of all files concerned, in ``data``.

    Raises:
        InputProblem: no labelled set simhand knows, no such split, or a label file that cannot be read.
        UsageProblem: a sheet of an unknown picture format.
    """
    from simhand_cli.labelled.checks.check_set import CheckSet
    from simhand_cli.stages.job import run_job

    return run_job(CheckSet(config), console)
