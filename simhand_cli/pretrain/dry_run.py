"""What a run would do and cost, for ``--dry-run``: time from a short measurement, memory from a formula."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.models.encoder import build_encoder, load_encoder_weights
from simhand_cli.pretrain.model import build_model
from simhand_cli.pretrain.online_probe import open_probe
from simhand_cli.pretrain.pairs.pair_table import PairTable
from simhand_cli.pretrain.plan import make_plan, run_identity
from simhand_cli.pretrain.run_notes import told_recipe, told_weights
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.pretrain.trial_step import TrialStep, network_kind
from simhand_cli.stages.checkpoint_folders import saved_steps
from simhand_cli.stages.run_folder import peek_run
from simhand_cli.summary import Summary
from simhand_cli.training.processes.group import memory_problems
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World
from simhand_cli.training.state.environment import ENVIRONMENT_FILE, recorded_precision
from simhand_cli.training.step.compile import check_compiler
from simhand_cli.training.step.precision import (
    PrecisionName,
    PrecisionOption,
    choose_precision,
    shortest_s,
    usual_precision,
)
from simhand_cli.training.step.step_time import step_seconds
from simhand_cli.workspace.cores import busy_cores, busy_words
from simhand_cli.workspace.paths import Workspace

#: Images that are measured first; of a GPU enough to keep it busy.
_CPU_IMAGES, _GPU_IMAGES = 8, 256
#: Copies of the weights in memory: weights, gradients, two moments of Adam.
_WEIGHT_COPIES = 4


def dry_run(
    settings: PretrainSettings, workspace: Workspace, table: PairTable, world: World, console: Console
) -> Summary:
    """Steps, time and memory of a run; nothing is written.

    Raises:
        InputProblem: initial weights or a labelled set that cannot be used, too few pairs.
        UsageProblem: the run's folder holds a run with other options.
        EnvironmentProblem: no such device, or torch.compile does not work.
    """
    plan = make_plan(settings, len(table), world.size)
    run_dir = workspace.run_dir("pretrain", settings.name)
    found = peek_run(run_dir, run_identity(settings, workspace, plan, world.size), redo=settings.redo)
    done = {"resume": saved_steps(run_dir), "finished": plan.total_steps}.get(found, 0)
    device = "cuda:0" if world.use_gpu else "cpu"
    if settings.init != "random" and found in ("new", "redo"):  # whether it can be read, and fits
        load_encoder_weights(build_encoder(settings.backbone), Path(settings.init))
    console.say(f"pretrain: measuring a step of {2 * plan.part_pairs} views of {settings.views.output_px} px")
    # Only to refuse a labelled set that cannot be probed: it would end the real run.
    open_probe(settings, plan, table, workspace, console)
    if settings.compile:
        check_compiler(device)
    others = busy_words(busy_cores())
    disturbed = f" {others}" if others else ""
    with memory_problems():
        kept = recorded_precision(run_dir / ENVIRONMENT_FILE) if found == "resume" else None
        precision = kept or settings.precision
        usual = usual_precision(run_dir.parent, network_kind(settings))
        views_at_once = 2 * plan.part_pairs
        costs = estimate_step(settings.backbone, settings.views.output_px, views_at_once, device, precision, usual)
    # Parts of a batch are projected once more without gradient: a forward pass is about a third of a step.
    forward_twice = 4 / 3 if plan.part_pairs < plan.batch_size // world.size else 1.0
    same_image = settings.chosen_method.positive == "same-image"
    crops = (1 if same_image else 2) * (plan.batch_size // world.size)
    crops *= 1 if world.use_gpu else 2  # the batch in use, and where it is the same memory the one that lies ready
    memory = costs.bytes_per_process + crops * crop_bytes(table.crop_size_px)
    views = 2 * plan.batch_size * max(plan.total_steps - done, 0)
    # CPU processes share the cores on which one was measured, so that more of them are not faster.
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
            "encoder": settings.backbone,
            "pairs": plan.pairs,
            "pairs per step": plan.batch_size,
            "epochs": settings.epochs,
            "steps": plan.total_steps,
            "warm-up steps": plan.warmup_steps,
            "peak learning rate": plan.peak_lr,
            "k-NN probe": f"every {plan.probe_every} epochs" if plan.probe_every else "none",
            "precision": costs.precision,
            f"time of the steps to do, measured on {costs.images} images{disturbed}": format_duration(seconds),
            "memory per process, by a formula": format_bytes(memory),
            "size of a checkpoint": format_bytes(costs.checkpoint_bytes),
            **({"note": plan.warning} if plan.warning else {}),
        },
        data={"seconds": seconds, "bytes_per_process": memory, "warning": plan.warning},
    )


@dataclass(frozen=True)
class Estimate:
    """Costs of a step.

    Attributes:
        seconds_per_view: forward and backward in the run's precision; loading and the update left out.
        images: on which that was measured.
        precision: that precision.
        bytes_per_process: weights, gradients, optimiser and stored activations.
        checkpoint_bytes: of one checkpoint.
    """

    seconds_per_view: float
    images: int
    precision: PrecisionName
    bytes_per_process: int
    checkpoint_bytes: int


def estimate_step(
    encoder: str,
    image_px: int,
    views_per_process: int,
    device: str,
    requested: PrecisionOption,
    usual: PrecisionName | None = None,
) -> Estimate:
    """Measure a step on this device, of as many views as the run's own unless that would take long.

    Args:
        encoder: timm's name.
        image_px: side of the views.
        views_per_process: views of a step that one process computes at once.
        device: where to measure.
        requested: the run's precision; ``auto`` is decided as the run would.
        usual: see :func:`simhand_cli.training.step.precision.choose_precision`.
    """
    model = build_model(encoder, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
    first = min(_CPU_IMAGES if device == "cpu" else _GPU_IMAGES, views_per_process)
    precision = choose_precision(requested, Ranks(device=device), TrialStep(model, image_px, first), usual=usual)
    model.to(precision.dtype)
    seconds, images = step_seconds(
        lambda count: shortest_s(TrialStep(model, image_px, count), precision, repeats=2), first, views_per_process
    )
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    # Half of it under autocast, which stores activations in 16 bits; weights stay in 32.
    stored = _activation_bytes(model, image_px, device) // (2 if precision.name in ("bf16", "fp16") else 1)
    memory = _WEIGHT_COPIES * weights + stored * views_per_process
    # A checkpoint holds the weights and Adam's two moments.
    return Estimate(seconds / views_per_process, images, precision.name, memory, 3 * weights)


def crop_bytes(size_px: int) -> int:
    """Of one fetched crop: three bytes a pixel."""
    return 3 * size_px**2


def _activation_bytes(model: nn.Module, image_px: int, device: str) -> int:
    """Bytes of all layers' outputs for one image: what backward needs, to a factor of about two."""
    total = 0

    def add(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    # Outputs of containers are those of their last layer, and would count twice.
    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(add) for m in leaves]
    # One image has no batch statistics.
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, image_px, image_px, device=device, dtype=next(model.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    return total
