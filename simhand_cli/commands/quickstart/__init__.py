"""The whole pipeline on synthetic hands in a few minutes, with a report to look at."""

from simhand_cli.commands.quickstart.config import QuickstartConfig
from simhand_cli.console import Console, format_duration
from simhand_cli.summary import Summary

EXAMPLES = ("simhand quickstart", "simhand quickstart --workspace try --people 4 --epochs 2 --dry-run")


def quickstart(config: QuickstartConfig, console: Console | None = None) -> Summary:
    """Make synthetic videos of several people, run every command on them, and write one report.

    Each step is the ordinary command with ordinary options, so the workspace can be looked into and gone on with. Run
    again, it goes on where it was stopped.
    """
    from simhand_cli.commands.quickstart.plan import expected_seconds, make_steps
    from simhand_cli.commands.quickstart.run import run_steps

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
