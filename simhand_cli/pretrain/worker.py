"""What every process of a pre-training run does: its pairs, its settings, and the engine that trains."""

from dataclasses import dataclass
from typing import Any

from simhand_cli.pretrain.pairs.pair_table import PairTable, load_pair_table
from simhand_cli.pretrain.plan import make_plan, run_identity
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.pretrain.task import PretrainTask
from simhand_cli.training import engine
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.task import RunPlace
from simhand_cli.workspace.paths import Workspace


@dataclass(frozen=True)
class Job:
    """What the command hands to every process: what will be done, and whether to keep silent."""

    settings: PretrainSettings
    quiet: bool = False


def train(ranks: Ranks, job: Job) -> dict[str, Any]:
    """Train, or go on with, one run; the worker of :func:`simhand_cli.training.processes.launch.launch`.

    See :func:`simhand_cli.training.engine.train`; what cannot be used of the workspace is an InputProblem, too.
    """
    settings = job.settings
    workspace = Workspace.open(settings.workspace)
    # Every process maps the files for itself; passing arrays on would copy them.
    table = load_table(workspace, settings)
    plan = make_plan(settings, len(table), ranks.world_size)
    path = workspace.run_dir("pretrain", settings.name)
    # Rank 0 alone opens runs; the others need no digests of large files.
    identity = run_identity(settings, workspace, plan, ranks.world_size) if ranks.is_main else {}
    place = RunPlace(path, identity, settings.redo)
    task = PretrainTask(ranks, place, settings, plan, table, workspace)
    return engine.train(ranks, task, quiet=job.quiet)


def load_table(workspace: Workspace, settings: PretrainSettings) -> PairTable:
    """The pairs that a run trains on."""
    return load_pair_table(
        workspace,
        settings.chosen_method.positive,
        positive_rank=settings.positive_rank,
        drawn_among=settings.positives,
        temporal_gap=settings.temporal_gap,
        limit_crops=settings.limit_crops,
        seed=settings.seed,
        with_embeddings=settings.loss.needs_embeddings,
    )
