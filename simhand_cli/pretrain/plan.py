"""What a pre-training run will do, from its options and the number of pairs: batches, steps, learning rate."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simhand_cli.errors import InputProblem
from simhand_cli.training.schedule import scaled_lr

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig

#: A run writes at most about so many lines of metrics unless told otherwise.
_METRIC_LINES = 5000
#: With fewer optimiser steps the encoder hardly moves from where it started.
_FEW_STEPS = 100


@dataclass(frozen=True)
class Plan:
    """The numbers of a run.

    Attributes:
        pairs: pairs to learn from.
        batch_size: pairs per step over all processes.
        part_pairs: pairs of a process computed at once; its whole share of a batch unless --micro-batch is smaller.
        steps_per_epoch: full batches in an epoch.
        total_steps: optimiser steps of the whole run.
        warmup_steps: steps until the peak learning rate.
        peak_lr: that rate.
        log_every: steps between two lines of metrics.
        warning: what the user should know, or empty.
    """

    pairs: int
    batch_size: int
    part_pairs: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    peak_lr: float
    log_every: int
    warning: str


def make_plan(config: "PretrainConfig", pairs: int, processes: int) -> Plan:
    """Turn epochs into steps; a batch larger than all pairs, or not divisible by the processes, is made smaller.

    Args:
        config: the run's options.
        pairs: usable pairs.
        processes: over which every batch is divided.

    Raises:
        InputProblem: fewer than two pairs for each process.
    """
    wanted = min(config.batch_size, pairs)
    batch_size = wanted - wanted % processes
    if batch_size < 2 * processes:
        raise InputProblem(
            f"batches of {wanted} pairs are too small for {processes} processes, which need 2 each; "
            "use fewer --gpus, a larger --batch-size or more crops"
        )
    warning = ""
    if batch_size < config.batch_size:
        why = f"there are only {pairs} pairs" if pairs < config.batch_size else f"divided over {processes} processes"
        warning = f"--batch-size {config.batch_size} reduced to {batch_size}: {why}"
    steps_per_epoch = pairs // batch_size
    total_steps = steps_per_epoch * config.epochs
    if config.max_steps is not None:
        total_steps = min(total_steps, config.max_steps)
    if total_steps < _FEW_STEPS and config.max_steps is None:
        few = f"only {total_steps} steps in all, too few to learn much: ingest more videos or raise --epochs"
        warning = f"{warning}; {few}" if warning else few
    if config.warmup_epochs is None:
        warmup_steps = round(total_steps / 10)
    else:
        warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    return Plan(
        pairs=pairs,
        batch_size=batch_size,
        part_pairs=min(config.micro_batch or batch_size, batch_size // processes),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        peak_lr=scaled_lr(config.lr, config.lr_rule, batch_size),
        log_every=config.log_every or max(1, total_steps // _METRIC_LINES),
        warning=warning,
    )
