"""Measure a 3D hand model: MPJPE and PCK-AUC in every alignment."""

from simhand_cli.console import Console
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand evaluate",
    "simhand evaluate --data FreiHAND_pub_v2 --limit 500 --name freihand",
    "simhand evaluate --model mediapipe",
    "simhand evaluate --model mean-pose --json",
    "simhand evaluate --against evaluate-mean-pose",
    "simhand evaluate --data FreiHAND_pub_v2 --leaderboard",
)


def evaluate(config: EvaluateConfig, console: Console | None = None) -> Summary:
    """Predict every sample of the sets and measure the errors.

    Args:
        config: see :class:`EvaluateConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        One table row an alignment for each set; the full figures in ``data`` and in ``metrics.json``.

    Raises:
        InputProblem: no model, no data, an unknown split or an empty one; nothing finished to compare with.
        UsageProblem: the folder holds an evaluation made with other options, or ``leaderboard`` asks for a file that
            cannot be whole.
    """
    console = console or Console(quiet=True)
    console.say("evaluate: opening the model and the labelled sets")
    from simhand_cli.evaluation.run import Evaluation
    from simhand_cli.stages.job import run_job

    return run_job(Evaluation(config), console)
