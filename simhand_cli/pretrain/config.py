"""Options of ``simhand pretrain``."""

from pathlib import Path
from typing import Final, Literal

from simhand_cli.config.base import option
from simhand_cli.pretrain.loss_options import LossOptions, MethodName
from simhand_cli.training.config import MACHINES, OPTIMISATION, RUN, TrainingConfig
from simhand_cli.views.options import ViewOptions

_PAIRS: Final = "Pairs"
_RECIPE: Final = "default: as the recipe says, for simhand"


class PretrainConfig(TrainingConfig):
    """Options of ``simhand pretrain``."""

    method: MethodName = option(
        "simhand",
        "simclr: same crop, colour and scale; peclr: same crop, T undone in features; tempclr: same hand a moment "
        "later; handclr: mined positive; simhand: mined positive and adaptive weights",
        common=True,
    )
    backbone: str = option(
        "resnet50",
        "timm name of the encoder, e.g. resnet18, resnet50, vit_small_patch16_224",
        formerly=("encoder",),
        common=True,
    )
    init: str = option("random", "Initial weights: 'random', a run's folder, a .safetensors or .pth file", common=True)
    name: str | None = option(
        None, "Name of the run: runs/pretrain-NAME (default: METHOD-BACKBONE)", short="-n", common=True
    )
    epochs: int = option(100, "Passes over all pairs", ge=1, common=True)
    batch_size: int = option(
        256, "Pairs per step over all GPUs together; more pairs are more negatives", ge=2, common=True
    )
    lr: float | None = option(
        None,
        f"Learning rate that --lr-rule starts from ({_RECIPE} 1e-4, as with any --lr-rule given without it; for lars "
        "0.3, with rule sqrt 0.075)",
        gt=0,
        common=True,
    )
    lr_rule: Literal["constant", "sqrt", "linear"] | None = option(
        None,
        f"Peak rate: lr itself, lr x sqrt(batch size), or lr x batch size / 256 ({_RECIPE} sqrt; for lars linear)",
        panel=OPTIMISATION,
    )
    warmup_epochs: float | None = option(
        None, f"Epochs of linear warm-up ({_RECIPE} a tenth of the run)", ge=0, panel=OPTIMISATION
    )
    optimiser: Literal["adam", "adamw", "lars", "adam-lars"] | None = option(
        None,
        f"lars: layer-wise rates on SGD; adam-lars: the released code's wrapper around Adam ({_RECIPE} adam)",
        panel=OPTIMISATION,
    )
    weight_decay: float = option(1e-6, "Weight decay of linear and convolution weights", ge=0, panel=OPTIMISATION)
    decay: Literal["kernels", "released"] | None = option(
        None,
        "What is decayed: these alone, or as released also the scales of the norms of stem, shortcuts and projection "
        f"head ({_RECIPE} kernels)",
        panel=OPTIMISATION,
    )
    sampling: Literal["shuffle", "replacement"] | None = option(
        None,
        "Order of the pairs: every pair once an epoch, or as released each draw among all pairs, so that an epoch sees "
        f"63 % of them ({_RECIPE} shuffle)",
        panel=_PAIRS,
    )
    positive_rank: int = option(1, "Which mined neighbour is the positive, 1 = the nearest", ge=1, panel=_PAIRS)
    positives: int = option(
        1, "Draw the positive anew every epoch among so many neighbours from that rank on", ge=1, panel=_PAIRS
    )
    temporal_gap: int = option(
        2, "tempclr: sampled frames without the hand that may lie between both views", ge=0, panel=_PAIRS
    )
    limit_crops: int | None = option(
        None,
        "Use only so many crops, drawn at random with --seed; positives are then mined among them",
        ge=2,
        panel=_PAIRS,
    )
    decode: Literal["auto", "workers", "gpu"] = option(
        "workers",
        "Where crops are decoded: by the loader's processes, on the GPU, or (auto) where it is measured faster",
        panel=MACHINES,
    )
    probe_every: int | None = option(
        None,
        "Epochs between k-NN probes of the encoder's poses, 0 = none (default: as often as takes 1 % of the time)",
        ge=0,
        panel=RUN,
    )
    probe_data: Path | None = option(None, "Labelled set that the k-NN probe is asked about too, in mm", panel=RUN)
    views: ViewOptions = ViewOptions()
    loss: LossOptions = LossOptions()

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where it runs, and what it shows and writes on the way, do not change what is learned."""
        return super().not_identity() | {"probe_every", "probe_data"}
