"""Learn an encoder by contrasting similar hands."""

from simhand_cli.console import Console
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.summary import Summary

EXAMPLES = (
    "simhand pretrain --epochs 100 --gpus 8 --batch-size 1024",
    "simhand pretrain --backbone resnet18 --epochs 2 --gpus 0",
    "simhand pretrain --method peclr --name peclr-seed1 --seed 1 --dry-run",
    "simhand pretrain --init resnet50-imagenet.pth --max-steps 1000",
    "simhand pretrain --recipe paper --weights nonlinear --name paper-nonlinear --dry-run",
)


def pretrain(config: PretrainConfig, console: Console | None = None) -> Summary:
    """Train an encoder on the mined pairs and write it as ``backbone.safetensors``.

    Called again, it goes on where it was stopped or killed, and does nothing if the run is finished.

    Raises:
        InputProblem: nothing mined yet, damaged crops, or a loss that is not finite.
        UsageProblem: unknown encoder, --compile on several processes, or a run with other options in the run's folder.
        EnvironmentProblem: GPUs asked for that are not there, or the run is in use by another process.
    """
    from simhand_cli.training.processes.cluster import speaks

    if console is not None and speaks():
        console.say("pretrain: loading torch")
    from simhand_cli.pretrain.run import Pretraining
    from simhand_cli.stages.job import run_job
    from simhand_cli.training.processes.launch import run_in_world

    return run_in_world(config, console, lambda told, world, board: run_job(Pretraining(config, world, board), told))
