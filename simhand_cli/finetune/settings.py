"""A fine-tuning run's settings: what a person said, turned once into what will be done, with nothing left open."""

from simhand_cli.finetune.config import FinetuneConfig
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


def settle(config: FinetuneConfig, source: EncoderSource) -> FinetuneSettings:
    """Fill what the user left open: names as the encoder's, its rate as that of the heads."""
    filled = {
        "backbone": source.backbone,
        "name": config.name or source.run_name,
        "encoder_lr": config.lr if config.encoder_lr is None else config.encoder_lr,
        "sync_bn": True if config.sync_bn is None else config.sync_bn,
    }
    return FinetuneSettings.model_construct(**{**dict(config), **filled})
