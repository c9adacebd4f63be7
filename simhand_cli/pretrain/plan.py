"""What a pre-training run will do in numbers: batches, steps, learning rate, probes; and what tells it from others."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simhand_cli.crops.crop_set import crop_set_fingerprint
from simhand_cli.errors import InputProblem
from simhand_cli.mining.manifest import read_manifest
from simhand_cli.models.encoder import weight_file
from simhand_cli.pretrain.run_notes import idle_options
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.training.step.schedule import scaled_lr
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.paths import Workspace

#: A run writes at most about so many lines of metrics unless told otherwise.
_METRIC_LINES = 5000
#: Pictures of a k-NN probe at most: crops of the workspace, and test and training hands of a labelled set.
PROBE_CROPS: Final = 2000
PROBE_TEST: Final = 500
PROBE_GALLERY: Final = 1500
#: Of the run's time, what probes may take unless --probe-every says otherwise.
_PROBE_SHARE = 0.01
#: A picture of a probe takes about a third of a training view's time: the forward pass alone.
_FORWARD_SHARE = 1 / 3
#: A probe computes in float32; a run that does not, or may not (auto), is taken to be so many times as fast.
_REDUCED_GAIN = 2
#: With fewer optimiser steps the encoder hardly moves from where it started.
_FEW_STEPS = 100
#: In a run shorter than this mined positives need a start that knows pictures: from random weights, weights of the
#: pairs follow T rather than the pose, and nothing is learned (benchmarks/miniature/README.md).
_LONG_STEPS = 10_000
#: What does not fill a batch is left out of an epoch; more than this share of the pairs is worth a word.
_NOTED_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """The numbers of a run.

    Attributes:
        pairs: pairs to learn from.
        batch_size: pairs per step over all processes.
        compared_pairs: pairs whose features are compared with each other: the batch, or with negatives of the own rank
            only a process's share of it.
        part_pairs: pairs of a process computed at once; its whole share of a batch unless --micro-batch is smaller.
        steps_per_epoch: full batches in an epoch.
        total_steps: optimiser steps of the whole run.
        warmup_steps: steps until the peak learning rate.
        peak_lr: that rate.
        log_every: steps between two lines of metrics.
        probe_every: epochs between two k-NN probes; 0 = none.
        warning: what the user should know, or empty.
    """

    pairs: int
    batch_size: int
    compared_pairs: int
    part_pairs: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    peak_lr: float
    log_every: int
    probe_every: int
    warning: str

    @property
    def top1_chance(self) -> float:
        """How often a positive would be the nearest if features were random."""
        return 1 / (2 * self.compared_pairs - 1)

    def probes_after(self, step: int) -> bool:
        """Whether there is a probe after so many steps: at the start, every so many epochs, and at the end."""
        if self.probe_every == 0:
            return False
        return step % (self.probe_every * self.steps_per_epoch) == 0 or step == self.total_steps


def make_plan(settings: PretrainSettings, pairs: int, processes: int) -> Plan:
    """Turn epochs into steps; a batch larger than all pairs, or not divisible by the processes, is made smaller.

    Args:
        settings: of the run.
        pairs: usable pairs.
        processes: over which every batch is divided.

    Raises:
        InputProblem: fewer than two pairs for each process.
    """
    # Smaller rather than refused: a small trial then works with the defaults of a large run.
    wanted = min(settings.batch_size, pairs)
    # Equal parts: every rank's mean then counts alike, as DDP averages.
    batch_size = wanted - wanted % processes
    # A single pair has no negatives, and batch norm no variance.
    if batch_size < 2 * processes:
        raise InputProblem(
            f"batches of {wanted} pairs are too small for {processes} processes, which need 2 each; "
            "use fewer --gpus, a larger --batch-size or more crops"
        )
    notes = []
    if batch_size < settings.batch_size:
        why = f"there are only {pairs} pairs" if pairs < settings.batch_size else f"divided over {processes} processes"
        notes.append(f"--batch-size {settings.batch_size} reduced to {batch_size}: {why}")
    steps_per_epoch = pairs // batch_size
    left = pairs - steps_per_epoch * batch_size
    if left > _NOTED_SHARE * pairs:
        notes.append(f"every epoch leaves out {left} of the {pairs} pairs, others each time, as they fill no batch")
    total_steps = steps_per_epoch * settings.epochs
    if settings.max_steps is not None:
        if settings.max_steps > total_steps:
            notes.append(
                f"--max-steps {settings.max_steps} is more than {settings.epochs} epochs have, which end after "
                f"{total_steps} steps: see --epochs"
            )
        total_steps = min(total_steps, settings.max_steps)
    elif total_steps < _FEW_STEPS:
        notes.append(f"only {total_steps} steps in all, too few to learn much: ingest more videos or raise --epochs")
    warmup_epochs = settings.warmup_epochs
    warmup_steps = round(total_steps / 10 if warmup_epochs is None else warmup_epochs * steps_per_epoch)
    if warmup_steps > total_steps:
        notes.append(
            f"a warm-up of {warmup_epochs:g} epochs is longer than the run and shortened to it: see --warmup-epochs"
        )
        warmup_steps = total_steps
    if settings.init == "random" and settings.chosen_method.positive == "mined" and total_steps < _LONG_STEPS:
        notes.append(
            "mined positives teach little in a short run from random weights: start from trained ones with --init FILE"
        )
    notes += idle_options(settings)
    return Plan(
        pairs=pairs,
        batch_size=batch_size,
        compared_pairs=batch_size // processes if settings.loss.negatives == "rank" else batch_size,
        # Of a process: --micro-batch says what one GPU computes at once.
        part_pairs=min(settings.micro_batch or batch_size, batch_size // processes),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        peak_lr=scaled_lr(settings.lr, settings.lr_rule, batch_size),
        # Reports draw every line; millions would make them huge and their curves black.
        log_every=settings.log_every or max(1, total_steps // _METRIC_LINES),
        probe_every=_probe_every(settings, pairs, batch_size, total_steps, processes),
        warning="; ".join(notes),
    )


def _probe_every(settings: PretrainSettings, pairs: int, batch_size: int, total_steps: int, processes: int) -> int:
    """Epochs between probes: as asked for, else so many that all probes together take a hundredth of the time.

    The first process alone measures and the others wait, so a probe takes as long however many share the training.
    Where not even a probe at the start and one at the end are so cheap there is none, unless a labelled set for it was
    named: then there are these two.
    """
    if settings.probe_every is not None:
        return settings.probe_every
    pictures = min(PROBE_CROPS, pairs) + (PROBE_TEST + PROBE_GALLERY if settings.probe_data else 0)
    slower = 1 if settings.precision in ("fp32", "fp64") else _REDUCED_GAIN
    views = 2 * batch_size * total_steps / processes  # of one process
    allowed = int(_PROBE_SHARE * views / (_FORWARD_SHARE * slower * pictures))
    epochs = math.ceil(total_steps / (pairs // batch_size))
    if allowed < 2:
        return epochs if settings.probe_data else 0
    return math.ceil(epochs / (allowed - 1))


def run_identity(settings: PretrainSettings, workspace: Workspace, plan: Plan, processes: int) -> dict[str, Any]:
    """All that determines the weights: options, the mined pairs, the initial weights.

    Options that were left open are in it as method and recipe fill them, so that a run is not continued by a version
    of simhand whose recipe says something else.

    The number of processes is part of it only where they do not act as one: with negatives of the own rank only,
    batch statistics that are not synchronised, or statistics of parts of a batch, which are of as many pairs as all
    processes compute at once.

    Raises:
        InputProblem: ``--init`` names a file that is not there, or the pairs are not those of today's crops.
    """
    _check_mined(workspace)
    identity: dict[str, Any] = {**settings.identity(), "batch_size": plan.batch_size}
    # By content: mining again with the same result must not refuse a resume.
    identity["mined"] = {name: sha256_file(workspace.mining_dir / name) for name in ("embeddings.h5", "pairs.h5")}
    if settings.init != "random":
        file = weight_file(Path(settings.init))
        if not file.is_file():
            raise InputProblem(f"--init {settings.init} is not there; give a run's folder, a weight file or 'random'")
        identity["init"] = sha256_file(file)
    in_parts = plan.part_pairs * processes < plan.batch_size
    if settings.loss.negatives == "rank" or not settings.sync_bn or in_parts:
        identity["processes"] = processes
    return identity


def _check_mined(workspace: Workspace) -> None:
    """Refuse pairs that point at crops that are no longer there: rows of another detection show other hands."""
    manifest = read_manifest(workspace.mining_dir)
    if manifest is None:
        raise InputProblem(f"mining in {workspace.root} was not finished: run 'simhand mine' again")
    if manifest.get("inputs") != crop_set_fingerprint(workspace):
        raise InputProblem("the crops changed since 'simhand mine' ran; run 'simhand mine' again")
