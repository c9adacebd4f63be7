"""Learn an encoder by contrasting similar hands."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simhand_cli.config.base import option
from simhand_cli.config.training import TrainingConfig
from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import EnvironmentProblem
from simhand_cli.pretrain.options import LossOptions
from simhand_cli.summary import Dropped, Summary
from simhand_cli.views.options import ViewOptions

if TYPE_CHECKING:
    from simhand_cli.pretrain.data import PairTable
    from simhand_cli.training.problems import ProblemBoard
    from simhand_cli.training.ranks import Ranks
    from simhand_cli.training.world import World
    from simhand_cli.workspace.paths import Workspace

EXAMPLES = (
    "simhand pretrain --epochs 100 --gpus 8 --batch-size 1024",
    "simhand pretrain --encoder resnet18 --epochs 2 --gpus 0",
    "simhand pretrain --method peclr --name peclr-seed1 --seed 1 --dry-run",
    "simhand pretrain --init resnet50-imagenet.pth --max-steps 1000",
    "simhand pretrain --recipe paper --weights nonlinear --name paper-nonlinear --dry-run",
)
_RECIPE = "default: as the recipe says, for simhand"
#: Decoding a crop and waiting for a worker cost little beside a GPU's step up to about this many workers a GPU.
_WORKERS_PER_GPU = 8


class PretrainConfig(TrainingConfig):
    """Options of ``simhand pretrain``."""

    method: Literal["simclr", "peclr", "tempclr", "handclr", "simhand"] = option(
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

    def run_name(self) -> str:
        """The run's name, given or made up."""
        return self.name or f"{self.method}-{self.encoder}"

    def loader_workers(self, ranks: "Ranks") -> int:
        """Decoding processes for each training process."""
        if self.workers is not None:
            return self.workers
        from simhand_cli.training.cores import own_cores

        cores = own_cores(ranks.local_world_size)
        if ranks.device == "cpu":  # the cores are needed for the step; one worker decodes far more than it uses
            return min(1, cores - 1)
        return min(_WORKERS_PER_GPU, cores)


def pretrain(config: PretrainConfig, console: Console | None = None) -> Summary:
    """Train an encoder on the mined pairs and write it as ``backbone.safetensors``.

    Called again, it goes on where it was stopped or killed, and does nothing if the run is finished.

    Raises:
        InputProblem: nothing mined yet, damaged crops, or a loss that is not finite.
        UsageProblem: unknown encoder, --compile on several processes, or a run with other options in the run's folder.
        EnvironmentProblem: GPUs asked for that are not there, or the run is in use by another process.
    """
    from simhand_cli.training.command import run_in_world

    return run_in_world(config, console, partial(_pretrain, config))


def _pretrain(config: PretrainConfig, console: Console, world: "World", board: "ProblemBoard | None") -> Summary:
    from simhand_cli.pretrain.loop import Job, load_table, train
    from simhand_cli.pretrain.report import probe_facts
    from simhand_cli.pretrain.resolved import told_recipe, told_weights
    from simhand_cli.training.compiler import refuse_several
    from simhand_cli.training.launch import launch
    from simhand_cli.training.trackers import check_trackers
    from simhand_cli.workspace.paths import Workspace

    check_trackers(config.log)
    if config.decode == "gpu" and not world.use_gpu:
        raise EnvironmentProblem("--decode gpu needs a GPU; leave it out, or use --gpus 1 or more")
    if config.compile:
        refuse_several(world.size, joined=board is not None)
    workspace = Workspace.open(config.workspace)
    run_dir = workspace.run_dir("pretrain", config.run_name())
    table = load_table(workspace, config)
    if config.dry_run:
        if not world.is_main:  # rank 0 alone measures and is heard
            return Summary("pretrain", dropped=_dropped(table, config.method))
        return _dry_run(config, workspace, table, world, console)
    result = launch(train, Job(config, console.quiet), world, name=run_dir.name, board=board, console=console)
    if result.get("skipped"):
        console.say(f"{run_dir} is finished already; --redo does it over, --name starts another")
    facts: dict[str, int | float | str] = {
        "method": config.method,
        "recipe": told_recipe(config),
        "weights": told_weights(config),
        "encoder": config.encoder,
        "pairs": int(result["pairs"]),
        "steps": int(result["steps"]),
        "pairs per step": int(result["batch_size"]),
        "precision": str(result.get("precision", "unknown")),
    }
    figures = {
        "final loss": result["loss"],
        "positives that are the nearest": result["top1"],
        "the same by chance": result.get("top1_chance"),
        "similarity of positives": result["positive_similarity"],
        "similarity of negatives": result["negative_similarity"],
        **probe_facts(result),
        "views/s": result["views_per_s"],
    }
    outputs = {
        "encoder": run_dir / "backbone.safetensors",
        "report": run_dir / "report.html",
        "pairs": run_dir / "pairs.png",
        "metrics": run_dir / "metrics.jsonl",
    }
    return Summary(
        "pretrain",
        facts={**facts, **{name: value for name, value in figures.items() if value is not None}},
        dropped=_dropped(table, config.method),
        outputs=outputs,
        data={"result": result},
        hint=f"simhand finetune --encoder {run_dir} (labels: --data YOUR_SET, or run simhand synth first)",
    )


def _dropped(table: "PairTable", method: str) -> list[Dropped]:
    dropped = []
    if table.without_positive:
        why = ("no positive in another video", "more videos, or a smaller --positive-rank")
        if method == "tempclr":
            why = (
                "the hand is not found again a moment later",
                "ingest with more --fps, or a larger --temporal-gap",
            )
        dropped.append(Dropped("crops", table.without_positive, *why))
    if table.beyond_limit:
        dropped.append(Dropped("crops", table.beyond_limit, "beyond the limit", "--limit-crops"))
    return dropped


def _dry_run(
    config: PretrainConfig, workspace: "Workspace", table: "PairTable", world: "World", console: Console
) -> Summary:
    from simhand_cli.models.encoder import build_encoder, load_encoder_weights
    from simhand_cli.pretrain.estimate import crop_bytes, estimate_step
    from simhand_cli.pretrain.identity import run_identity
    from simhand_cli.pretrain.loop import network_kind, open_probe
    from simhand_cli.pretrain.methods import METHODS
    from simhand_cli.pretrain.plan import make_plan
    from simhand_cli.pretrain.resolved import told_recipe, told_weights
    from simhand_cli.training.checkpoint import saved_steps
    from simhand_cli.training.compiler import check_compiler
    from simhand_cli.training.environment import ENVIRONMENT_FILE, recorded_precision
    from simhand_cli.training.launch import memory_problems
    from simhand_cli.training.run_dir import peek_run
    from simhand_cli.training.usual_precision import usual_precision

    plan = make_plan(config, len(table), world.size)
    run_dir = workspace.run_dir("pretrain", config.run_name())
    found = peek_run(run_dir, run_identity(config, workspace, plan, world.size), redo=config.redo)
    done = {"resume": saved_steps(run_dir), "finished": plan.total_steps}.get(found, 0)
    device = "cuda:0" if world.use_gpu else "cpu"
    if config.init != "random" and found in ("new", "redo"):  # whether it can be read, and fits
        load_encoder_weights(build_encoder(config.encoder), Path(config.init))
    open_probe(config, plan, table, workspace, console)
    if config.compile:
        check_compiler(device)
    with memory_problems():
        kept = recorded_precision(run_dir / ENVIRONMENT_FILE) if found == "resume" else None
        precision = kept or config.precision
        usual = usual_precision(run_dir.parent, network_kind(config))
        views_at_once = 2 * plan.part_pairs
        costs = estimate_step(config.encoder, config.views.output_px, views_at_once, device, precision, usual)
    forward_twice = 4 / 3 if plan.part_pairs < plan.batch_size // world.size else 1.0
    same_image = METHODS[config.method].positive == "same-image"
    crops = (1 if same_image else 2) * (plan.batch_size // world.size)
    crops *= 1 if world.use_gpu else 2  # the batch in use, and where it is the same memory the one that lies ready
    memory = costs.bytes_per_process + crops * crop_bytes(table.crop_size_px)
    views = 2 * plan.batch_size * max(plan.total_steps - done, 0)
    seconds = forward_twice * costs.seconds_per_view * views / (world.size if world.use_gpu else 1)
    return Summary(
        "pretrain",
        facts={
            "run": str(run_dir),
            "found there": found,
            **({"steps done": done} if found == "resume" else {}),
            "processes": str(world),
            "method": config.method,
            "recipe": told_recipe(config),
            "weights": told_weights(config),
            "encoder": config.encoder,
            "pairs": plan.pairs,
            "pairs per step": plan.batch_size,
            "epochs": config.epochs,
            "steps": plan.total_steps,
            "warm-up steps": plan.warmup_steps,
            "peak learning rate": plan.peak_lr,
            "k-NN probe": f"every {plan.probe_every} epochs" if plan.probe_every else "none",
            "precision": costs.precision,
            f"time of the steps to do, measured on {costs.images} images": format_duration(seconds),
            "memory per process, by a formula": format_bytes(memory),
            "size of a checkpoint": format_bytes(costs.checkpoint_bytes),
            **({"note": plan.warning} if plan.warning else {}),
        },
        dropped=_dropped(table, config.method),
        data={"seconds": seconds, "bytes_per_process": memory, "warning": plan.warning},
    )
