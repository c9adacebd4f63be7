"""Run a hand model on a webcam, a video, an image or a folder of images."""

from simhand_cli.console import Console
from simhand_cli.demo.config import DemoConfig
from simhand_cli.summary import Summary

EXAMPLES: tuple[str, ...] = (
    "simhand demo webcam",
    "simhand demo clip.mp4 --output joints.mp4",
    "simhand demo photo.jpg --output joints.png --model mediapipe",
    "simhand demo 1 --output joints.mp4 --max-frames 300 --no-mirror",
)


def demo(config: DemoConfig, console: Console | None = None) -> Summary:
    """Follow hands through a source and show or write 21 joints and a 3D view of each.

    Args:
        config: see :class:`DemoConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        Frames, frames with a hand, and mean milliseconds a stage.

    Raises:
        InputProblem: a source that cannot be read, or no such model.
        EnvironmentProblem: no display and no ``--output``; no such camera; no hand detector model.
        UsageProblem: an output that is of the wrong kind, or there already.
        KeyboardInterrupt: stopped by Ctrl-C; what was written until then is complete and playable.
    """
    from simhand_cli.demo.run import Demo
    from simhand_cli.stages.job import run_job

    return run_job(Demo(config), console)
