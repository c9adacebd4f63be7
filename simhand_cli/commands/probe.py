"""Compare encoders without fine-tuning: pose retrieval, a linear probe and a map of the features."""

from simhand_cli.console import Console
from simhand_cli.probes.config import ProbeConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand probe",
    "simhand probe --encoder latest --encoder imagenet --encoder-weights resnet50-imagenet.pth --encoder random",
    "simhand probe --limit 500 --gallery-limit 2000 --name quick --json",
)


def probe(config: ProbeConfig, console: Console | None = None) -> Summary:
    """Measure what frozen features know of hand poses, for one or several encoders on the same samples.

    Args:
        config: see :class:`ProbeConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        One table row an encoder, and the references; all figures in ``data`` and in ``metrics.json``.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: no finished pre-training run, or a set that cannot be probed.
        UsageProblem: the folder holds a probe made with other options.
    """
    console = console or Console(quiet=True)
    console.say("probe: loading torch, then opening the encoders and the labelled set")
    from simhand_cli.probes.run import Probe
    from simhand_cli.stages.job import run_job

    return run_job(Probe(config), console)
