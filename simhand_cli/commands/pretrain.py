"""Learn an encoder by contrasting similar hands."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import EnvironmentProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.pretrain.pairs.pair_table import PairTable
    from simhand_cli.pretrain.settings import PretrainSettings
    from simhand_cli.training.processes.failures import ProblemBoard
    from simhand_cli.training.processes.world import World
    from simhand_cli.workspace.paths import Workspace
from simhand_cli.pretrain.config import PretrainConfig

EXAMPLES = (
    "simhand pretrain --epochs 100 --gpus 8 --batch-size 1024",
    "simhand pretrain --encoder resnet18 --epochs 2 --gpus 0",
    "simhand pretrain --method peclr --name peclr-seed1 --seed 1 --dry-run",
    "simhand pretrain --init resnet50-imagenet.pth --max-steps 1000",
    "simhand pretrain --recipe paper --weights nonlinear --name paper-nonlinear --dry-run",
)


def pretrain(config: PretrainConfig, console: Console | None = None) -> Summary:
    """Train an encoder on the mined pairs and write it as ``backbone.safetensors``.

    Called again, it goes on where it was stopped or killed, and does nothing if the run is finished.

    Raises:
        InputProblem: nothing mined yet, damaged crops, or a loss that is not finite.
        UsageProblem: unknown encoder, --compile on several processes, or a run with other options in the run's folder.
        EnvironmentProblem: GPUs asked for that are not there, or the run is in use by another process.
    """
    from simhand_cli.training.processes.launch import run_in_world

    return run_in_world(config, console, partial(_pretrain, config))


def _pretrain(config: PretrainConfig, console: Console, world: "World", board: "ProblemBoard | None") -> Summary:
    from simhand_cli.pretrain.pretrain_report import probe_facts
    from simhand_cli.pretrain.run import Job, load_table, train
    from simhand_cli.pretrain.run_notes import told_recipe, told_weights
    from simhand_cli.pretrain.settings import settle
    from simhand_cli.training.log.trackers import check_trackers
    from simhand_cli.training.processes.launch import launch
    from simhand_cli.training.step.compile import refuse_several
    from simhand_cli.workspace.paths import Workspace

    check_trackers(config.log)
    settings = settle(config)
    if config.decode == "gpu" and not world.use_gpu:
        raise EnvironmentProblem("--decode gpu needs a GPU; leave it out, or use --gpus 1 or more")
    if config.compile:
        refuse_several(world.size, joined=board is not None)
    workspace = Workspace.open(config.workspace)
    run_dir = workspace.run_dir("pretrain", settings.name)
    table = load_table(workspace, settings)
    if config.dry_run:
        if not world.is_main:  # rank 0 alone measures and is heard
            return Summary("pretrain", dropped=_dropped(table, config.method))
        return _dry_run(settings, workspace, table, world, console)
    result = launch(train, Job(config, console.quiet), world, name=run_dir.name, board=board, console=console)
    if result.get("skipped"):
        console.say(f"{run_dir} is finished already; --redo does it over, --name starts another")
    facts: dict[str, int | float | str] = {
        "method": config.method,
        "recipe": told_recipe(settings),
        "weights": told_weights(settings),
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
    settings: "PretrainSettings", workspace: "Workspace", table: "PairTable", world: "World", console: Console
) -> Summary:
    from simhand_cli.models.encoder import build_encoder, load_encoder_weights
    from simhand_cli.pretrain.dry_run import crop_bytes, estimate_step
    from simhand_cli.pretrain.online_probe import open_probe
    from simhand_cli.pretrain.plan import make_plan, run_identity
    from simhand_cli.pretrain.run_notes import told_recipe, told_weights
    from simhand_cli.pretrain.trial_step import network_kind
    from simhand_cli.stages.checkpoint_folders import saved_steps
    from simhand_cli.stages.run_folder import peek_run
    from simhand_cli.training.processes.group import memory_problems
    from simhand_cli.training.state.environment import ENVIRONMENT_FILE, recorded_precision
    from simhand_cli.training.step.compile import check_compiler
    from simhand_cli.training.step.precision import usual_precision

    plan = make_plan(settings, len(table), world.size)
    run_dir = workspace.run_dir("pretrain", settings.name)
    found = peek_run(run_dir, run_identity(settings, workspace, plan, world.size), redo=settings.redo)
    done = {"resume": saved_steps(run_dir), "finished": plan.total_steps}.get(found, 0)
    device = "cuda:0" if world.use_gpu else "cpu"
    if settings.init != "random" and found in ("new", "redo"):  # whether it can be read, and fits
        load_encoder_weights(build_encoder(settings.encoder), Path(settings.init))
    open_probe(settings, plan, table, workspace, console)
    if settings.compile:
        check_compiler(device)
    with memory_problems():
        kept = recorded_precision(run_dir / ENVIRONMENT_FILE) if found == "resume" else None
        precision = kept or settings.precision
        usual = usual_precision(run_dir.parent, network_kind(settings))
        views_at_once = 2 * plan.part_pairs
        costs = estimate_step(settings.encoder, settings.views.output_px, views_at_once, device, precision, usual)
    forward_twice = 4 / 3 if plan.part_pairs < plan.batch_size // world.size else 1.0
    same_image = settings.chosen_method.positive == "same-image"
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
            "method": settings.method,
            "recipe": told_recipe(settings),
            "weights": told_weights(settings),
            "encoder": settings.encoder,
            "pairs": plan.pairs,
            "pairs per step": plan.batch_size,
            "epochs": settings.epochs,
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
        dropped=_dropped(table, settings.method),
        data={"seconds": seconds, "bytes_per_process": memory, "warning": plan.warning},
    )
