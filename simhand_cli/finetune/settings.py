"""A fine-tuning run's settings: what a person said, turned once into what will be done, with nothing left open."""

from typing import Any

from pydantic import PrivateAttr

from simhand_cli.errors import UsageProblem
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.models.encoder_source import EncoderSource


class FinetuneSettings(FinetuneConfig):
    """The options of a run with those filled that follow from others; made by :func:`settle` alone.

    What may still be None has no value by choice: no limit of steps or of the gradient, no parts of a batch, a figure
    that depends on the machine.
    """

    backbone: str
    name: str
    encoder_lr: float
    sync_bn: bool
    _said: FinetuneConfig = PrivateAttr()

    @property
    def said(self) -> FinetuneConfig:
        """The options as they were given."""
        return self._said


def settle(config: FinetuneConfig, source: EncoderSource) -> FinetuneSettings:
    """Fill what the user left open: names as the encoder's, its rate as that of the heads.

    Raises:
        UsageProblem: parts of a batch with a loss that is of the whole batch alone.
    """
    if config.micro_batch is not None and config.loss.form == "frobenius":
        raise UsageProblem("--micro-batch does not go with --loss.form frobenius, which is one norm over a whole batch")
    filled = {
        "backbone": source.backbone,
        "name": config.name or source.run_name,
        "encoder_lr": config.lr if config.encoder_lr is None else config.encoder_lr,
        "sync_bn": True if config.sync_bn is None else config.sync_bn,
    }
    settings = FinetuneSettings.model_construct(**{**dict(config), **filled})
    settings._said = config
    return settings


def run_identity(
    settings: FinetuneSettings, data: TrainingData, source: EncoderSource, processes: int
) -> dict[str, Any]:
    """All that determines the weights: options, labels, the choice of samples, the encoder.

    The number of processes is part of it only where batch norm tells them apart: not synchronised, or of parts of a
    batch.
    """
    identity = {
        **settings.said.identity(),
        # What was said and what follows without a word are one run; None, as runs of earlier versions have it.
        "sync_bn": None if settings.sync_bn else False,
        "encoder_lr": None if settings.encoder_lr == settings.lr else settings.encoder_lr,
        "labels": data.digests,
        "samples": data.choice_sha256,
        "backbone": source.backbone,
        # By content and not by path: a run may be moved, and a file be overwritten.
        "encoder": source.sha256,
    }
    if not settings.sync_bn or settings.micro_batch is not None:
        identity["processes"] = processes
    return identity
