"""Train the 3D hand model on labelled hands, starting from a pre-trained encoder."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simhand_cli.config.base import option
from simhand_cli.config.training import TrainingConfig
from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.finetune.options import (
    AugmentOptions,
    FractionRule,
    LossOptions,
    Mix,
    Readout,
    Schedule,
    TargetOptions,
)
from simhand_cli.summary import Dropped, Summary, refuse_dropped

if TYPE_CHECKING:
    from simhand_cli.finetune.data import TrainingData
    from simhand_cli.finetune.encoder_source import EncoderSource
    from simhand_cli.training.problems import ProblemBoard
    from simhand_cli.training.world import World

EXAMPLES = (
    "simhand finetune",
    "simhand finetune --data FreiHAND_pub_v2 --label-fraction 0.1 --name freihand-10",
    "simhand finetune --weak-2d --ema 0.999 --name weak",
    "simhand finetune --encoder none --backbone resnet18 --epochs 20 --batch-size 64 --dry-run",
)

#: Trial steps for --dry-run's estimate of time.
_TRIAL_SAMPLES = 16


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
    checkpoint_every_s: float = option(60.0, "Seconds between checkpoints, taken at the ends of epochs", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the encoder lies is replaced by what it holds; the rest is how to run."""
        inputs = {"data", "encoder", "encoder_weights"}
        return super().not_identity() | inputs | {"workers", "checkpoint_every_s", "name"}


def finetune(config: FinetuneConfig, console: Console | None = None) -> Summary:
    """Train DetNet and keep the epoch that is best on people it has not seen.

    Returns:
        counts, errors of the kept epoch on the validation samples, and the run's files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: unusable labels or weights.
        UsageProblem: the run's folder holds a run with other options.
    """
    from simhand_cli.training.command import run_in_world

    return run_in_world(config, console, partial(_finetune, config))


def _finetune(config: FinetuneConfig, console: Console, world: "World", board: "ProblemBoard | None") -> Summary:
    from simhand_cli.finetune.data import choose_samples
    from simhand_cli.finetune.encoder_source import find_encoder
    from simhand_cli.finetune.loop import FinetuneJob, train
    from simhand_cli.finetune.weak_2d import WeakCrops
    from simhand_cli.labelled.own_set import newest_own_set, refuse_repeated
    from simhand_cli.training.launch import launch
    from simhand_cli.workspace.paths import Workspace

    workspace = Workspace(config.workspace)
    source = find_encoder(config.encoder, workspace, config.backbone, config.encoder_weights)
    refuse_repeated(config.data)
    paths = config.data or [newest_own_set(workspace)]
    data = choose_samples(
        paths,
        split=config.split,
        val_fraction=config.val_fraction,
        label_fraction=config.label_fraction,
        fraction_rule=config.fraction_rule,
        mix=config.mix,
        seed=config.seed,
        loss=config.loss,
    )
    if config.weak_2d:
        data = data.with_weak(WeakCrops(workspace), config.weak_share)
    identity = {
        **config.identity(),
        "labels": data.digests,
        "samples": data.choice_sha256,
        "backbone": source.backbone,
        "encoder": source.sha256,
    }
    path = workspace.run_dir("finetune", config.name or source.run_name)
    if config.dry_run:
        return _dry_run(config, data, source, path, identity, world)
    validation = "; ".join(data.validation)
    refuse_dropped(data.dropped, config.strict)
    console.say(f"encoder {source.described}; {data.labelled} labelled samples; validation on {validation}")
    if data.dropped:
        count, first = sum(one.count for one in data.dropped), data.dropped[0]
        console.warn(
            f"{count} samples are left out; {first.count} of them: {first.why} ('simhand data check' shows them)"
        )
    job = FinetuneJob(config, path, identity, data, source, _workers(config.workers, world), console.quiet)
    result = launch(train, job, world, name=path.name, board=board, console=console)
    if result.pop("skipped", False):
        console.say(f"{path} is finished already; --redo does it over, --name starts another")
    return _summary(data, paths, source, path, result)


def _workers(asked: int | None, world: "World") -> int:
    """Loader processes per rank: on a CPU one is enough, since the model is far slower than the loader."""
    from simhand_cli.training.cores import own_cores

    if asked is not None:
        return asked
    return min(8, own_cores(world.processes)) if world.use_gpu else 1


def _counts(data: "TrainingData") -> dict[str, int | float | str]:
    weak = len(data.train) - data.labelled
    flat = {"of them with 2D labels only": data.labelled_2d} if data.labelled_2d else {}
    return {"training samples": data.labelled, **flat, **({"unlabelled crops": weak} if weak else {})}


def _dry_run(
    config: FinetuneConfig,
    data: "TrainingData",
    source: "EncoderSource",
    path: Path,
    identity: dict[str, Any],
    world: "World",
) -> Summary:
    import time

    from simhand_cli.finetune.step import TrialStep, build_net, network_kind
    from simhand_cli.training.launch import memory_problems
    from simhand_cli.training.precision import choose_precision
    from simhand_cli.training.ranks import Ranks
    from simhand_cli.training.run_dir import peek_run
    from simhand_cli.training.usual_precision import usual_precision

    net, _ = build_net(source, config)
    ranks = Ranks(device="cuda:0" if world.use_gpu else "cpu")
    with memory_problems():
        trial = TrialStep(net, ranks.device, _TRIAL_SAMPLES, config)
        precision = choose_precision(
            config.precision, ranks, trial, usual=usual_precision(path.parent, network_kind(net, config))
        )
        trial(precision)
        start = time.perf_counter()
        trial(precision)
        per_crop = (time.perf_counter() - start) / _TRIAL_SAMPLES / (world.size if world.use_gpu else 1)
    # A validation crop has no backward pass: about a third of the work.
    crops = config.epochs * (sum(data.quotas) + len(data.val) / 3)
    weights = sum(p.numel() for p in net.parameters()) * 4
    summary = Summary("finetune", dropped=data.dropped, problems=sum(d.count for d in data.dropped))
    summary.facts = {
        "run": f"{path} ({peek_run(path, identity, redo=config.redo)})",
        "processes": str(world),
        "encoder": source.described,
        **_counts(data),
        "validation": "; ".join(data.validation),
        "epochs": config.epochs,
        "precision": precision.name,
        "time, roughly": format_duration(per_crop * crops),
        # model.safetensors; two checkpoints of weights, best weights and two optimiser moments.
        "disk space": format_bytes(weights * (1 + 2 * 4)),
    }
    return summary


def _summary(
    data: "TrainingData", paths: list[Path], source: "EncoderSource", path: Path, result: dict[str, Any]
) -> Summary:
    broken = [Dropped(message, 1, "cannot be read") for message in result["broken"]]
    summary = Summary("finetune", dropped=[*data.dropped, *broken])
    summary.problems = sum(dropped.count for dropped in summary.dropped)
    summary.facts = {
        "encoder": source.described,
        **_counts(data),
        "validation": "; ".join(data.validation),
        "best epoch": f"{result['best_epoch']} of {result['epochs']}",
    }
    if "precision" in result:
        summary.facts["precision"] = result["precision"]
    # Results of earlier versions have no val_px.
    if (px := result.get("val_px")) is not None:
        summary.facts["validation error of 2D joints, px of the crop"] = round(px, 2)
    if result["val_root_bone_mpjpe_mm"] is not None:
        summary.facts["validation MPJPE, wrist + bone length aligned, mm"] = round(result["val_root_bone_mpjpe_mm"], 2)
    summary.outputs = {"model": path / "model.safetensors", "report": path / "report.html"}
    summary.data = dict(result)
    summary.hint = _next_step(data, paths)
    return summary


def _next_step(data: "TrainingData", paths: list[Path]) -> str:
    """How this model is measured on labels it has not seen, and shown where it has hands in 3D."""
    from simhand_cli.labelled.splits import held_out_split, matching_test_split

    demo = "" if data.bone_length_mm is None else "; simhand demo shows it on a video"
    trained = [one.split for one in data.sets[: len(paths)]]
    held_out = [held_out_split(one.name, one.split) for one in data.sets[: len(paths)]]
    unseen = [(path, h) for path, h, t in zip(paths, held_out, trained, strict=True) if h != t]
    if not unseen:
        return f"simhand evaluate --data ANOTHER_SET measures it on people it has not seen{demo}"
    if any(h == matching_test_split(t) != t for h, t in zip(held_out, trained, strict=True)):
        return f"simhand evaluate measures it on test people{demo}"
    path, split = unseen[0]
    return f"simhand evaluate --data {path} --split {split} measures it{demo}"
