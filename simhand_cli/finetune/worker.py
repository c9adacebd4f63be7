"""What every process of a fine-tuning run does: what it is given, and the engine that trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhand_cli.finetune.settings import FinetuneSettings
from simhand_cli.finetune.task import FinetuneTask
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.training import engine
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.task import RunPlace


@dataclass(frozen=True)
class FinetuneJob:
    """What every process of a run is given.

    Attributes:
        settings: what will be done.
        run_path: the run's folder.
        identity: what determines the result.
        data: the chosen samples.
        source: the encoder.
        workers: loader processes per rank.
        quiet: no progress.
    """

    settings: FinetuneSettings
    run_path: Path
    identity: dict[str, Any]
    data: TrainingData
    source: EncoderSource
    workers: int
    quiet: bool


def train(ranks: Ranks, job: FinetuneJob) -> dict[str, Any]:
    """Fine-tune, or go on with it; the worker of :func:`simhand_cli.training.processes.launch.launch`.

    See :func:`simhand_cli.training.engine.train`.

    Returns:
        on rank 0 the content of result.json (best epoch, its validation error, what could not be read), and ``skipped``
        True if the run was finished before; elsewhere nothing.
    """
    place = RunPlace(job.run_path, job.identity, job.settings.redo)
    task = FinetuneTask(ranks, place, job.settings, job.data, job.source, job.workers)
    return engine.train(ranks, task, quiet=job.quiet)
