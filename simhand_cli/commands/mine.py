"""Find, for every hand, similar hands in other videos."""

from simhand_cli.console import Console
from simhand_cli.mining.config import MineConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand mine",
    "simhand mine --topk 10 --min-confidence 0.5",
    "simhand mine --search exact --dry-run",
)


def mine(config: MineConfig, console: Console | None = None) -> Summary:
    """Pair every crop with the most similar hands of other videos and show the pairs.

    Args:
        config: see :class:`MineConfig`; an option left open takes the value of earlier pairs.
        console: for messages and progress; a quiet one if absent.

    Returns:
        counts, variance kept, recall and where the files lie.

    Raises:
        InputProblem: no keypoints yet, or fewer than two videos with usable crops.
        UsageProblem: earlier results were made with other options, without ``--redo``.
        EnvironmentProblem: the workspace is in use, or a file could not be written.
    """
    from simhand_cli.mining.run import Mining
    from simhand_cli.stages.job import run_job

    return run_job(Mining(config), console)
