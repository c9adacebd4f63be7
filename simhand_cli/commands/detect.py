"""Find hands in the sampled frames and store right-handed crops."""

from simhand_cli.console import Console
from simhand_cli.hands.config import DetectConfig
from simhand_cli.summary import Summary

EXAMPLES = (
    "simhand detect",
    "simhand detect --max-hands 1 --no-balance --dry-run",
    "simhand detect --workers 2 --json",
)


def detect(config: DetectConfig, console: Console | None = None) -> Summary:
    """Detect hands in every video that has not been done yet; one crops shard per video.

    Args:
        config: see :class:`DetectConfig`; an option left open takes the value of earlier crops.
        console: for messages and progress; a quiet one if absent.

    Returns:
        frames, hands and crops, and what was dropped.

    Raises:
        InputProblem: no workspace, or no hand in any video.
        UsageProblem: crops were made with other options, without ``--redo``.
    """
    from simhand_cli.hands.detect_stage import DetectStage
    from simhand_cli.stages.job import run_job

    return run_job(DetectStage(config), console)
