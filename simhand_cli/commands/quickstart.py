"""The whole pipeline on synthetic hands in a few minutes, with a report to look at."""

import os
from pathlib import Path

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.console import Console, format_duration
from simhand_cli.summary import Summary

EXAMPLES = ("simhand quickstart", "simhand quickstart --workspace try --people 4 --epochs 2 --dry-run")


class QuickstartConfig(CommandConfig):
    """Options of ``simhand quickstart``; the defaults fit eight minutes on two cores."""

    workspace: Path = option(Path("quickstart"), "Folder for all of it", short="-w")
    people: int = option(16, "Synthetic people, one video each", ge=3, le=1000)
    frames: int = option(30, "Frames of each video", ge=5, le=100_000)
    labelled: int = option(4000, "Labelled synthetic images for fine-tuning and testing", ge=60)
    encoder: str = option("resnet10t", "timm name of the encoder")
    epochs: int = option(8, "Epochs of pre-training", ge=1)
    finetune_epochs: int = option(9, "Epochs of fine-tuning", ge=1)
    seed: int = option(0, "Seed of everything", ge=0)
    workers: int = option(os.cpu_count() or 1, "Processes", ge=1, le=1024)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Workers only change the speed."""
        return frozenset({"workers"})


def quickstart(config: QuickstartConfig, console: Console | None = None) -> Summary:
    """Make synthetic videos of several people, run every command on them, and write one report.

    Each step is the ordinary command with ordinary options, so the workspace can be looked into and gone on with. Run
    again, it goes on where it was stopped.
    """
    from simhand_cli.quickstart.plan import expected_seconds, make_steps
    from simhand_cli.quickstart.run import run_steps

    console = console or Console(quiet=True)
    steps = make_steps(config)
    expected = format_duration(expected_seconds(config))
    if config.dry_run:
        facts: dict[str, int | float | str] = {
            f"{n}. {step.title}": step.command_line for n, step in enumerate(steps, 1)
        }
        return Summary("quickstart", facts=facts | {"time, roughly": expected})
    console.say(f"{len(steps)} steps, about {expected} on {config.workers} cores; a report is written at the end")
    return run_steps(config, steps, console)
