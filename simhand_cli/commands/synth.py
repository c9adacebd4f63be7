"""Make synthetic hands: videos to learn from, or images with exact 3D labels."""

from simhand_cli.console import Console
from simhand_cli.summary import Summary
from simhand_cli.synth.config import SynthConfig

EXAMPLES: tuple[str, ...] = (
    "simhand synth --count 2000 --image-px 128",
    "simhand synth --format videos --count 8 --frames 60 --out synthetic-videos",
    "simhand synth --count 960 --cameras 8 --frames 4 --things 0.3 --out ring",
    "simhand synth --format freihand --count 500 --image-px 224 --out fake-freihand --dry-run",
    "simhand synth --format hanco --count 20 --image-px 224 --out fake-hanco --dry-run",
)


def synth(config: SynthConfig, console: Console | None = None) -> Summary:
    """Make a synthetic set, or go on with one that was interrupted.

    Args:
        config: see :class:`SynthConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        what was made and where it lies.

    Raises:
        UsageProblem: an unknown grasp; the folder holds a set made with other options or more videos, without
            ``--redo``; or files of another origin.
        InputProblem: the folder of backgrounds holds no usable picture.
        EnvironmentProblem: the folder is in use by another run or cannot be written.
    """
    from simhand_cli.stages.job import run_job
    from simhand_cli.synth.run import Synthesis

    return run_job(Synthesis(config), console)
