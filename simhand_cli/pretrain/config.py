"""Options of ``simhand pretrain``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import option
from simhand_cli.pretrain.loss_options import LossOptions, MethodName
from simhand_cli.training.config import TrainingConfig
from simhand_cli.views.options import ViewOptions

_RECIPE = "default: as the recipe says, for simhand"


class PretrainConfig(TrainingConfig):
    """Options of ``simhand pretrain``."""

    method: MethodName = option(
        "simhand",
        "simclr: same crop, colour and scale; peclr: same crop, T undone in features; tempclr: same hand a moment "
        "later; handclr: mined positive; simhand: mined positive and adaptive weights",
    )
    encoder: str = option("resnet50", "Any model of timm, e.g. resnet18, resnet50, vit_small_patch16_224")
    init: str = option("random", "Initial weights: 'random', a run's folder, a .safetensors or .pth file")
    name: str | None = option(None, "Name of the run: runs/pretrain-NAME (default: METHOD-ENCODER)")
    epochs: int = option(100, "Passes over all pairs", ge=1)
    max_steps: int | None = option(None, "End after so many steps, however many epochs were asked for", ge=1)
    batch_size: int = option(256, "Pairs per step over all GPUs together; more pairs are more negatives", ge=2)
    micro_batch: int | None = option(
        None,
        "Pairs each GPU computes at once, for large batches in little memory; the gradient is exactly the batch's, but "
        "for batch norm, which sees parts",
        ge=1,
    )
    lr: float | None = option(
        None,
        f"Learning rate that --lr-rule starts from ({_RECIPE} 1e-4, as with any --lr-rule given without it; for lars "
        "0.3, with rule sqrt 0.075)",
        gt=0,
    )
    lr_rule: Literal["constant", "sqrt", "linear"] | None = option(
        None,
        f"Peak rate: lr itself, lr x sqrt(batch size), or lr x batch size / 256 ({_RECIPE} sqrt; for lars linear)",
    )
    warmup_epochs: float | None = option(None, f"Epochs of linear warm-up ({_RECIPE} a tenth of the run)", ge=0)
    optimiser: Literal["adam", "adamw", "lars", "adam-lars"] | None = option(
        None,
        f"lars: layer-wise rates on SGD; adam-lars: the released code's wrapper around Adam ({_RECIPE} adam)",
    )
    weight_decay: float = option(1e-6, "Weight decay of linear and convolution weights", ge=0)
    decay: Literal["kernels", "released"] | None = option(
        None,
        "What is decayed: these alone, or as released also the scales of the norms of stem, shortcuts and projection "
        f"head ({_RECIPE} kernels)",
    )
    grad_clip: float | None = option(None, "Largest norm of the gradient; longer ones are shortened", gt=0)
    ema: float = option(
        0.0, "Decay of a moving average of the weights, then the encoder that is kept; 0 = none", ge=0, lt=1
    )
    sampling: Literal["shuffle", "replacement"] | None = option(
        None,
        "Order of the pairs: every pair once an epoch, or as released each draw among all pairs, so that an epoch sees "
        f"63 % of them ({_RECIPE} shuffle)",
    )
    positive_rank: int = option(1, "Which mined neighbour is the positive, 1 = the nearest", ge=1)
    positives: int = option(1, "Draw the positive anew every epoch among so many neighbours from that rank on", ge=1)
    temporal_gap: int = option(2, "tempclr: sampled frames without the hand that may lie between both views", ge=0)
    limit_crops: int | None = option(
        None, "Use only so many crops, drawn at random with --seed; positives are then mined among them", ge=2
    )
    seed: int = option(0, "Of weights, order and views", ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = option(
        "auto", "auto: bf16 where the GPU has it, or where it is measured to be faster on the CPU; else fp32"
    )
    compile: bool = option(
        False, "Let torch.compile speed up one process's network; the first step then takes a minute or more"
    )
    sync_bn: bool | None = option(
        None,
        f"Batch-norm statistics over all GPUs, so that their number does not change the result ({_RECIPE} yes)",
    )
    decode: Literal["auto", "workers", "gpu"] = option(
        "workers",
        "Where crops are decoded: by the loader's processes, on the GPU, or (auto) where it is measured faster",
    )
    workers: int | None = option(None, "Processes per GPU that decode crops (default: by the machine's cores)", ge=0)
    checkpoint_every: int | None = option(
        None,
        "Steps between checkpoints (default: 500, or more where writing takes over 1 % of the time); one is written "
        "every ten minutes in any case",
        ge=1,
    )
    log_every: int | None = option(None, "Steps between lines of metrics (default: about 5,000 lines a run)", ge=1)
    log: list[Literal["tensorboard", "wandb"]] = option(
        [], "Write metrics for TensorBoard or Weights & Biases as well; repeatable, needs the extra of that name"
    )
    probe_every: int | None = option(
        None,
        "Epochs between k-NN probes of the encoder's poses, 0 = none (default: as often as takes 1 % of the time)",
        ge=0,
    )
    probe_data: Path | None = option(None, "Labelled set that the k-NN probe is asked about too, in mm")
    views: ViewOptions = ViewOptions()
    loss: LossOptions = LossOptions()

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where it runs, and what it shows and writes on the way, do not change what is learned."""
        shown = {"checkpoint_every", "log_every", "log", "probe_every", "probe_data"}
        return super().not_identity() | {"name", "workers", "compile"} | shown
