"""Options of ``simhand finetune``."""

from pathlib import Path
from typing import Final

from simhand_cli.config.base import option
from simhand_cli.finetune.options import AugmentOptions, FractionRule, LossOptions, Mix, Schedule, TargetOptions
from simhand_cli.models.options import Readout
from simhand_cli.training.config import OPTIMISATION, TrainingConfig

_LABELS: Final = "Labels"
_MODEL: Final = "Model"


class FinetuneConfig(TrainingConfig):
    """Options of ``simhand finetune``."""

    data: list[Path] = option(
        [], "Folder of a labelled set, repeatable (default: the workspace's synthetic set)", common=True
    )
    split: str = option("train", "Split of the sets to train on; part of it is set aside for validation", panel=_LABELS)
    encoder: str = option(
        "latest",
        "latest (newest pre-training run), a run's name or folder, a weight file, random (or none), or imagenet",
        common=True,
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet", panel=_MODEL)
    backbone: str | None = option(
        None, "timm name of the encoder (default: what the weights are for, else resnet50)", min_length=1, common=True
    )
    name: str | None = option(
        None,
        "Name of the run: runs/finetune-NAME (default: as the encoder's run or file is called)",
        short="-n",
        common=True,
    )
    epochs: int = option(120, "Passes over the training samples", ge=1, common=True)
    patience: int = option(
        0, "Stop after so many epochs without a better validation error; 0 = never", ge=0, panel=OPTIMISATION
    )
    batch_size: int = option(128, "Crops per step over all GPUs together", ge=1, common=True)
    lr: float = option(1e-3, "Peak learning rate of the heads", gt=0, common=True)
    encoder_lr: float | None = option(
        None, "Peak learning rate of the encoder (default: as --lr)", ge=0, panel=OPTIMISATION
    )
    warmup_epochs: float = option(1.0, "Epochs of linear warm-up; then --schedule", ge=0, panel=OPTIMISATION)
    schedule: Schedule = option(
        "cosine", "Learning rate after the warm-up: half a cosine, or steps down", panel=OPTIMISATION
    )
    step_epochs: float = option(
        60.0, "--schedule step: epochs between two divisions of the rate by 10", gt=0, panel=OPTIMISATION
    )
    weight_decay: float = option(1e-4, "Weight decay of linear and convolution weights", ge=0, panel=OPTIMISATION)
    width: int = option(256, "Channels of the model's upsampling and heads", ge=8, panel=_MODEL)
    input_px: int = option(
        128, "Side of the crops the network sees, pixels", ge=64, le=512, multiple_of=32, panel=_MODEL
    )
    readout: Readout = option(
        "average", "Joints from maps: mean around the peak, or the peak's cell as published", panel=_MODEL
    )
    val_fraction: float = option(0.1, "Part of the samples to validate on, by whole people", ge=0, lt=1, panel=_LABELS)
    label_fraction: float = option(1.0, "Part of the training samples to use", gt=0, le=1, common=True)
    fraction_rule: FractionRule = option(
        "random-frame",
        "That part: drawn by image, drawn evenly from all people, or the set's first as published",
        panel=_LABELS,
    )
    mix: Mix = option("by-size", "Several sets: every sample once an epoch, or every set equally often", panel=_LABELS)
    weak_2d: bool = option(
        False, "Also learn 2D joints from the workspace's unlabelled crops and their keypoints", common=True
    )
    weak_share: float = option(0.5, "Share of those crops in an epoch", gt=0, lt=1, panel=_LABELS)
    augment: AugmentOptions = AugmentOptions()
    targets: TargetOptions = TargetOptions()
    loss: LossOptions = LossOptions()

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the encoder lies is replaced by what it holds; the rest is how to run."""
        inputs = {"data", "encoder", "encoder_weights"}
        return super().not_identity() | inputs
