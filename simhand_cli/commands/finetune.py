"""Train the 3D hand model on labelled hands, starting from a pre-trained encoder."""

from simhand_cli.console import Console
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.summary import Summary

EXAMPLES = (
    "simhand finetune",
    "simhand finetune --data FreiHAND_pub_v2 --label-fraction 0.1 --name freihand-10",
    "simhand finetune --weak-2d --ema 0.999 --name weak",
    "simhand finetune --encoder none --backbone resnet18 --epochs 20 --batch-size 64 --dry-run",
)


def finetune(config: FinetuneConfig, console: Console | None = None) -> Summary:
    """Train DetNet and keep the epoch that is best on people it has not seen.

    Returns:
        counts, errors of the kept epoch on the validation samples, and the run's files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: unusable labels or weights.
        UsageProblem: the run's folder holds a run with other options.
    """
    from simhand_cli.training.processes.cluster import speaks

    if console is not None and speaks():
        console.say("finetune: loading torch")
    from simhand_cli.finetune.run import Finetuning
    from simhand_cli.stages.job import run_job
    from simhand_cli.training.processes.launch import run_in_world

    return run_in_world(config, console, lambda told, world, board: run_job(Finetuning(config, world, board), told))
