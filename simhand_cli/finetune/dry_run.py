"""What a fine-tuning run would do and cost, for ``--dry-run``: time from a short measurement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.finetune.settings import FinetuneSettings
from simhand_cli.finetune.step import TrialStep, build_net, network_kind
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.stages.checkpoint_folders import saved_steps
from simhand_cli.stages.run_folder import peek_run
from simhand_cli.summary import Summary
from simhand_cli.training.processes.group import memory_problems
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World
from simhand_cli.training.step.precision import choose_precision, shortest_s, usual_precision
from simhand_cli.training.step.step_time import step_seconds
from simhand_cli.workspace.cores import busy_cores, busy_words

#: Crops that are measured first.
_FIRST_CROPS = 16


def dry_run(
    settings: FinetuneSettings,
    data: TrainingData,
    source: EncoderSource,
    path: Path,
    identity: Mapping[str, Any],
    world: World,
    console: Console,
) -> Summary:
    """Samples, time and disk space of a run; nothing is written.

    Raises:
        InputProblem: weights that cannot be used.
        UsageProblem: the run's folder holds a run with other options.
    """
    found = peek_run(path, identity, redo=settings.redo)
    epoch_crops = sum(data.quotas)
    # A batch is at most an epoch.
    batch = max(1, min(settings.batch_size, epoch_crops) // world.size)
    part = min(settings.micro_batch or batch, batch)
    console.say(f"finetune: measuring a step of {part} crops of {settings.input_px} px")
    net, _ = build_net(source, settings)
    device = "cuda:0" if world.use_gpu else "cpu"
    first = min(_FIRST_CROPS, part)
    others = busy_words(busy_cores())
    disturbed = f" {others}" if others else ""
    with memory_problems():
        precision = choose_precision(
            settings.precision,
            Ranks(device=device),
            TrialStep(net, device, first, settings),
            usual=usual_precision(path.parent, network_kind(net, settings)),
        )
        seconds, measured = step_seconds(
            lambda crops: shortest_s(TrialStep(net, device, crops, settings), precision, repeats=2), first, part
        )
    # CPU processes share the cores on which one was measured.
    per_crop = seconds / part / (world.size if world.use_gpu else 1)
    epochs = float(settings.epochs)
    if settings.max_steps is not None:
        epochs = min(epochs, settings.max_steps * batch * world.size / max(epoch_crops, 1))
    if found == "finished":
        epochs = 0.0
    elif found == "resume":
        epochs = max(epochs - saved_steps(path) * batch * world.size / max(epoch_crops, 1), 0.0)
    # A validation crop has no backward pass: about a third of the work.
    crops = epochs * (epoch_crops + len(data.val) / 3)
    weights = sum(p.numel() for p in net.parameters()) * 4
    summary = Summary("finetune")
    summary.facts = {
        "run": f"{path} ({found})",
        "processes": str(world),
        "encoder": source.described,
        **data.counts(),
        "validation": "; ".join(data.validation),
        "epochs": settings.epochs,
        "precision": precision.name,
        "time, roughly": f"{format_duration(per_crop * crops)}, measured on {measured} crops{disturbed}",
        # model.safetensors; two checkpoints of weights, best weights and two optimiser moments.
        "disk space": format_bytes(weights * (1 + 2 * 4)),
    }
    return summary
