"""Estimate 21 joints in every crop."""

from simhand_cli.console import Console
from simhand_cli.hands.config import KeypointsConfig
from simhand_cli.summary import Summary

EXAMPLES = ("simhand keypoints", "simhand keypoints --workers 2 --dry-run", "simhand keypoints --json")


def keypoints(config: KeypointsConfig, console: Console | None = None) -> Summary:
    """Estimate joints for every video whose crops have none yet; one keypoints shard per video.

    Args:
        config: see :class:`KeypointsConfig`; an option left open takes the value of earlier keypoints.
        console: for messages and progress; a quiet one if absent.

    Returns:
        crops, where their joints come from, and what was dropped.

    Raises:
        InputProblem: there are no crops.
        UsageProblem: keypoints were estimated with other options, without ``--redo``.
    """
    from simhand_cli.hands.keypoints_stage import KeypointsStage
    from simhand_cli.stages.job import run_job

    return run_job(KeypointsStage(config), console)
