"""What the training commands share: their place among all processes of the run, and who of these talks."""

from collections.abc import Callable

from simhand_cli.config.training import TrainingConfig
from simhand_cli.console import Console
from simhand_cli.summary import Summary
from simhand_cli.training.problems import ProblemBoard, told_once
from simhand_cli.training.world import World, find_world, place_of


def run_in_world(
    config: TrainingConfig, console: Console | None, work: Callable[[Console, World, ProblemBoard | None], Summary]
) -> Summary:
    """Do a training command's work as the process of the run that this one is; only the main one is heard.

    Args:
        config: says which processes there are, unless another program has started them.
        console: of the command; None is quiet.
        work: the command, given its console, the run's processes and, in a job that is joined, its problems.

    Raises:
        SimhandError: what the work raises, told by one process of a joined job.
    """
    with told_once(place_of(config)) as board:
        world = find_world(config, board.place if board else None)
        summary = work(console if console is not None and world.is_main else Console(quiet=True), world, board)
        summary.silent = not world.is_main
        return summary
