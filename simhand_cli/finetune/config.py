"""Options of ``simhand finetune``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import option
from simhand_cli.finetune.options import AugmentOptions, FractionRule, LossOptions, Mix, Schedule, TargetOptions
from simhand_cli.models.options import Readout
from simhand_cli.training.config import TrainingConfig


class FinetuneConfig(TrainingConfig):
    """Options of ``simhand finetune``."""

    data: list[Path] = option(
        [], "Folder of a labelled set; give the flag once per set (default: the workspace's synthetic set)"
    )
    split: str = option("train", "Split of the sets to train on; part of it is set aside for validation")
    encoder: str = option(
        "latest", "latest (newest pre-training run), a run's name or folder, a weight file, none, or imagenet"
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet")
    backbone: str | None = option(
        None, "timm name of the encoder (default: what the weights are for, else resnet50)", min_length=1
    )
    name: str | None = option(
        None, "Name of the run: runs/finetune-NAME (default: as the encoder's run or file is called)", short="-n"
    )
    epochs: int = option(120, "Passes over the training samples", ge=1)
    patience: int = option(0, "Stop after so many epochs without a better validation error; 0 = never", ge=0)
    batch_size: int = option(128, "Crops per step, over all GPUs", ge=1)
    lr: float = option(1e-3, "Peak learning rate of the heads", gt=0)
    encoder_lr: float | None = option(None, "Peak learning rate of the encoder (default: as --lr)", ge=0)
    warmup_epochs: float = option(1.0, "Epochs of rising learning rate; then --schedule", ge=0)
    schedule: Schedule = option("cosine", "Learning rate after the warm-up: half a cosine, or steps down")
    step_epochs: float = option(60.0, "--schedule step: epochs between two divisions of the rate by 10", gt=0)
    ema: float = option(0.0, "Decay of a moving average of the weights, which is then the model; 0 = none", ge=0, lt=1)
    weight_decay: float = option(1e-4, "Decay of weights (not of biases and norms), AdamW", ge=0)
    grad_clip: float = option(0.0, "Largest norm of a step's gradient, 0 = no limit", ge=0)
    width: int = option(256, "Channels of the model's upsampling and heads", ge=8)
    input_px: int = option(128, "Side of the crops the model sees, pixels", ge=64, le=512, multiple_of=32)
    readout: Readout = option("average", "Joints from maps: mean around the peak, or the peak's cell as published")
    val_fraction: float = option(0.1, "Part of the samples to validate on, by whole people", ge=0, lt=1)
    label_fraction: float = option(1.0, "Part of the training samples to use", gt=0, le=1)
    fraction_rule: FractionRule = option(
        "random-frame", "That part: drawn by image, drawn evenly from all people, or the set's first as published"
    )
    mix: Mix = option("by-size", "Several sets: every sample once an epoch, or every set equally often")
    weak_2d: bool = option(False, "Also learn 2D joints from the workspace's unlabelled crops and their keypoints")
    weak_share: float = option(0.5, "Share of those crops in an epoch", gt=0, lt=1)
    augment: AugmentOptions = AugmentOptions()
    targets: TargetOptions = TargetOptions()
    loss: LossOptions = LossOptions()
    seed: int = option(0, "Seed of all random choices", ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = option("auto", "Number format")
    workers: int | None = option(None, "Loader processes per GPU (default: by the machine)", ge=0)
    max_steps: int | None = option(None, "End after so many steps, however many epochs were asked for", ge=1)
    micro_batch: int | None = option(None, "Crops each GPU computes at once, for large batches in little memory", ge=1)
    sync_bn: bool | None = option(None, "Batch-norm statistics over all GPUs")
    compile: bool = option(False, "Let torch.compile speed up one process's network")
    checkpoint_every: int | None = option(None, "Steps between checkpoints", ge=1)
    log_every: int | None = option(None, "Steps between lines of metrics", ge=1)
    log: list[Literal["tensorboard", "wandb"]] = option([], "Write metrics for TensorBoard or Weights & Biases as well")

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the encoder lies is replaced by what it holds; the rest is how to run."""
        inputs = {"data", "encoder", "encoder_weights"}
        return super().not_identity() | inputs | {"workers", "name", "compile", "checkpoint_every", "log_every", "log"}
