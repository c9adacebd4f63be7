"""Export an encoder's features of a workspace's crops or of labelled pictures."""

from simhand_cli.console import Console
from simhand_cli.embed.config import EmbedConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand embed",
    "simhand embed --data FreiHAND_pub_v2 --split test --format safetensors --name freihand-test",
    "simhand embed --encoder random --backbone resnet18 --limit 200 --dry-run",
)


def embed(config: EmbedConfig, console: Console | None = None) -> Summary:
    """Write the pooled features of every picture, and the projection head's output where the run still has the head.

    Args:
        config: see :class:`EmbedConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        counts, lengths of the features, and the files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: no finished pre-training run, no crops, or an unusable set.
        UsageProblem: the folder holds an export made with other options.
    """
    console = console or Console(quiet=True)
    console.say("embed: loading torch, then opening the encoder and the pictures")
    from simhand_cli.embed.run import Embedding
    from simhand_cli.stages.job import run_job

    return run_job(Embedding(config), console)
