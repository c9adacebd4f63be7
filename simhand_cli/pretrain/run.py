"""A pre-training run of one process, from the first step or from a checkpoint to the finished run."""

import copy
import json
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.models.encoder import load_encoder_weights
from simhand_cli.pretrain.loss.methods import METHODS
from simhand_cli.pretrain.model import PairLoss, build_model, released_scales
from simhand_cli.pretrain.online_probe import CropProbe, LabelledProbe, PoseProbe
from simhand_cli.pretrain.outcome import finish_run, picture_pairs
from simhand_cli.pretrain.pairs.decoding import DecodePlace, Decoding, choose_decoding
from simhand_cli.pretrain.pairs.pair_table import PairDataset, PairTable, load_pair_table
from simhand_cli.pretrain.plan import Plan, make_plan, run_identity
from simhand_cli.pretrain.recipe import optimisation_of, resolved
from simhand_cli.pretrain.trainer import Trainer
from simhand_cli.stages.run_folder import REPLACED, RunDir, open_run
from simhand_cli.training.loader_workers import single_threaded_opencv
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.environment import ENVIRONMENT_FILE, record_start, recorded_decoding, recorded_precision
from simhand_cli.training.state.training_state import TrainingState, seed_generators
from simhand_cli.training.step.compile import check_compiler, compile_model
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups
from simhand_cli.training.step.precision import (
    Precision,
    PrecisionName,
    choose_precision,
    keep_usual_precision,
    shortest_s,
    usual_precision,
)
from simhand_cli.training.step.sync_batch_norm import synchronise_batch_norm
from simhand_cli.views.counter_rng import combine
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.pretrain.config import PretrainConfig

#: Images of the trial step that decides on bf16 on a CPU.
_TRIAL_IMAGES = 8
#: Crops, and images, of the trial that decides where to decode on a GPU: enough to keep it busy.
_TRIAL_CROPS = 256

#: At the top of resolved.yaml, which would override another method or recipe.
_READ_ONLY = "All options as method and recipe fill them, to be read; for another run use config.yaml."


@dataclass(frozen=True)
class Job:
    """What the command hands to every process: the options, and whether to keep silent."""

    config: "PretrainConfig"
    quiet: bool = False


def train(ranks: Ranks, job: Job) -> dict[str, Any]:
    """Train, or go on with, one run; the worker of :func:`simhand_cli.training.processes.launch.launch`.

    Every process calls it with its own ``ranks``; rank 0 alone writes files, which all must be able to read.

    Returns:
        on rank 0 the content of result.json, and ``skipped`` True if the run was finished before; elsewhere nothing.

    Raises:
        SimhandError: unusable input, another process in this run, a loss that is not finite.
        KeyboardInterrupt: stopped by a signal, after saving.
    """
    config = job.config
    with ExitStack() as held:
        held.enter_context(single_threaded_opencv())
        console = Console(quiet=job.quiet or not ranks.is_main)
        workspace = Workspace.open(config.workspace)
        table = load_table(workspace, config)
        plan = make_plan(config, len(table), ranks.world_size)
        run, chosen = _open_on_main(ranks, config, workspace, plan, held)
        if run.replaced:
            console.say(REPLACED)
        if run.result is not None:
            return {**run.result, "skipped": True} if ranks.is_main else {}
        probe = open_probe(config, plan, table, workspace, console) if ranks.is_main else None
        dataset, encoded = (PairDataset(table, workspace.crops_dir, config.seed, encoded=e) for e in (False, True))
        trainer, decoding = _prepare(ranks, config, plan, run, chosen, console, encoded)
        if ranks.is_main and trainer.step == 0:
            picture_pairs(run.path, dataset, trainer.loss)
        trainer.run(encoded if decoding.name == "gpu" else dataset, config, console, probe)
        result = finish_run(run, config, plan, trainer.learned, table) if ranks.is_main else {}
        ranks.barrier()
        return result


def load_table(workspace: Workspace, config: "PretrainConfig") -> PairTable:
    """The pairs that a config trains on."""
    method = METHODS[config.method]
    return load_pair_table(
        workspace,
        method.positive,
        positive_rank=config.positive_rank,
        drawn_among=config.positives,
        temporal_gap=config.temporal_gap,
        limit_crops=config.limit_crops,
        seed=config.seed,
        with_embeddings=config.loss.needs_embeddings(method.weights),
    )


def open_probe(
    config: "PretrainConfig", plan: Plan, table: PairTable, workspace: Workspace, console: Console
) -> PoseProbe | None:
    """What is measured while training, or None.

    Raises:
        InputProblem: the labelled set cannot be opened or probed.
    """
    if plan.probe_every == 0:
        return None
    size_px = config.views.output_px
    crops = CropProbe(table, workspace.crops_dir, size_px, config.seed)
    if crops.videos < 2:
        console.say("no k-NN probe of the crops: they are of one video, and neighbours are looked for in others")
    try:
        labelled = LabelledProbe(config.probe_data, size_px, config.seed) if config.probe_data else None
    except InputProblem as problem:  # told as of simhand probe, whose option it is
        raise InputProblem(re.sub("^--data ", "--probe-data ", str(problem))) from problem
    probe = PoseProbe(crops if crops.videos > 1 else None, labelled)
    return probe if probe.crops or probe.labelled else None


@dataclass(frozen=True)
class _Chosen:
    """What the start of a run that goes on has chosen."""

    precision: PrecisionName | None = None
    decoding: DecodePlace | None = None


def _open_on_main(
    ranks: Ranks, config: "PretrainConfig", workspace: Workspace, plan: Plan, held: ExitStack
) -> tuple[RunDir, _Chosen]:
    """Lock and open the run's folder on rank 0 and tell the others what was found: they might see older files."""
    path = workspace.run_dir("pretrain", config.run_name())
    found = ""
    if ranks.is_main:
        held.enter_context(workspace_lock(path, "pretrain"))
        run = open_run(path, run_identity(config, workspace, plan, ranks.world_size), redo=config.redo, job=ranks.job)
        known = path / ENVIRONMENT_FILE
        chosen = _Chosen(recorded_precision(known), recorded_decoding(known)) if run.checkpoint else _Chosen()
        found = json.dumps({
            "checkpoint": run.checkpoint and str(run.checkpoint), "result": run.result, "replaced": run.replaced,
            "chosen": asdict(chosen),
        })  # fmt: skip
    told = json.loads(ranks.from_main(found))
    checkpoint = told["checkpoint"] and Path(told["checkpoint"])
    return RunDir(path, checkpoint, told["result"], told["replaced"]), _Chosen(**told["chosen"])


def _prepare(
    ranks: Ranks,
    config: "PretrainConfig",
    plan: Plan,
    run: RunDir,
    chosen: _Chosen,
    console: Console,
    encoded: PairDataset,
) -> tuple[Trainer, Decoding]:
    """Model, optimiser and everything a checkpoint brings back; and where crops are to be decoded."""
    if plan.warning:
        console.warn(plan.warning)
    if config.compile:
        check_compiler(ranks.device)
    model = build_model(config.encoder, config.seed)
    if config.init != "random" and run.checkpoint is None:
        report = load_encoder_weights(model.encoder, Path(config.init))
        console.say(f"initial weights from {config.init}" + _described(report.missing, report.unexpected))
    model.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trial, network = TrialStep(model, config.views.output_px), network_kind(config)
    usual = usual_precision(run.path.parent, network)
    precision = choose_precision(config.precision, ranks, trial, chosen.precision, usual)
    if ranks.is_main and ranks.device == "cpu" and config.precision == "auto":
        keep_usual_precision(run.path.parent, network, precision)
    decoding = choose_decoding(
        config.decode,
        ranks,
        config.loader_workers(ranks),
        lambda: encoded.files_of(_TRIAL_CROPS),
        lambda: _crops_per_s(model, precision, config, min(_TRIAL_CROPS, 2 * plan.part_pairs)),
        chosen.decoding,
    )
    how = optimisation_of(config)
    if how.sync_bn:  # only now: rank 0 alone runs the trial steps, and would wait for the others' statistics
        synchronise_batch_norm(model, ranks)
    model.to(precision.dtype)
    wrapped = DistributedDataParallel(model) if ranks.grouped else model
    also_decayed = released_scales(model) if how.decay == "released" else []
    groups = parameter_groups([model], config.weight_decay, also_decayed=also_decayed)
    optimiser = build_optimiser(how.optimiser, groups, plan.peak_lr)
    average = MovingAverage(model, config.ema) if config.ema else None
    modules: dict[str, nn.Module] = {"model": model, **({"average": average.net} if average else {})}
    state = TrainingState(modules, optimiser, precision.scaler(ranks.device))
    if config.compile:
        compile_model(wrapped)
    loss = PairLoss.of(config, precision, ranks.device)
    trainer = Trainer(ranks, plan, run.path, model, wrapped, loss, optimiser, state, precision, average)
    seed_generators(combine(config.seed, ranks.rank, 1))
    if run.checkpoint is not None:
        trainer.step = int(state.load(run.checkpoint, ranks)["step"])
        console.say(f"going on after step {trainer.step} of {plan.total_steps} ({run.path})")
    if ranks.is_main:
        save_config(config, run.path / "config.yaml")
        save_config(resolved(config), run.path / "resolved.yaml", _READ_ONLY)
        record_start(run.path / ENVIRONMENT_FILE, ranks, precision, trainer.step, decoding)
    return trainer, decoding


def network_kind(config: "PretrainConfig") -> str:
    """What the speed of a number format depends on."""
    return f"{config.encoder} at {config.views.output_px} px"


def _crops_per_s(model: nn.Module, precision: Precision, config: "PretrainConfig", images: int) -> float:
    """How fast steps use crops up; two views are of one crop where an image is contrasted with itself."""
    crops_per_view = 0.5 if METHODS[config.method].positive == "same-image" else 1.0
    seconds = shortest_s(TrialStep(model, config.views.output_px, images), precision)
    torch.cuda.empty_cache()
    return crops_per_view * images / seconds


class TrialStep:
    """Forward and backward of a few images on a copy of a model, to time it; leaves no trace."""

    def __init__(self, model: nn.Module, image_px: int, images: int = _TRIAL_IMAGES) -> None:
        self._model, self._image_px, self._images = model, image_px, images
        self._made: tuple[nn.Module, Tensor] | None = None

    def __call__(self, precision: Precision) -> None:
        """One step in a precision."""
        if self._made is None:
            self._made = self._make()
        copied, images = self._made
        with torch.random.fork_rng(devices=[]):
            with precision.autocast(images.device.type):
                projections = copied(images)
            projections.float().square().mean().backward()
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    def _make(self) -> tuple[nn.Module, Tensor]:
        """The copy, and images on its device: made once, so that the host's work is not timed."""
        copied = copy.deepcopy(self._model).train()
        like = next(copied.parameters())
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self._images, 3, self._image_px, self._image_px, generator=generator)
        return copied, images.to(like.device, like.dtype).contiguous(memory_format=torch.channels_last)


def _described(missing: list[str], unexpected: list[str]) -> str:
    parts = [
        f"{len(names)} {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for what, names in (("tensors missing in it", missing), ("of its tensors not used", unexpected))
        if names
    ]
    return "; " + "; ".join(parts) if parts else ""
