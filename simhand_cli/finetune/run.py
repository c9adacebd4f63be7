"""The fine-tuning loop of one process: best epoch by validation, resumable to the bit on a CPU."""

import copy
import json
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.finetune.crop_dataset import CropBatch, CropDataset, StepSampler, training_loader, validation_loader
from simhand_cli.finetune.report import write_report
from simhand_cli.finetune.step import TrialStep, batch_losses, build_net, network_kind
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.finetune.validate import ValidationErrors, validate
from simhand_cli.models.detnet import DetNet
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.models.hand_model import MODEL_FILE, ModelFacts, save_model
from simhand_cli.stages.run_folder import REPLACED, RunDir, open_run
from simhand_cli.training.loader_workers import killed_workers, single_threaded_opencv
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.environment import record_start, recorded_precision
from simhand_cli.training.state.training_state import TrainingState
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups, set_lr
from simhand_cli.training.step.precision import choose_precision, keep_usual_precision, usual_precision
from simhand_cli.training.step.schedule import warmup_cosine, warmup_step
from simhand_cli.training.step.stop import StopSignals, Verdict, refuse_non_finite
from simhand_cli.training.step.sync_batch_norm import synchronise_batch_norm
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.lock import workspace_lock

if TYPE_CHECKING:
    from simhand_cli.finetune.config import FinetuneConfig

METRICS_FILE, ENVIRONMENT_FILE = "metrics.jsonl", "environment.json"
#: Crops of the batch that measures which precision is faster.
_TRIAL_CROPS = 8


@dataclass(frozen=True)
class FinetuneJob:
    """What every process of a run is given.

    Attributes:
        config: the command's options.
        run_path: the run's folder.
        identity: what determines the result.
        data: the chosen samples.
        source: the encoder.
        workers: loader processes per rank.
        quiet: no progress.
    """

    config: "FinetuneConfig"
    run_path: Path
    identity: dict[str, Any]
    data: TrainingData
    source: EncoderSource
    workers: int
    quiet: bool


def train(ranks: Ranks, job: FinetuneJob) -> dict[str, Any]:
    """Fine-tune, or go on with it; the worker function of :func:`simhand_cli.training.processes.launch.launch`.

    Every process calls it; rank 0 alone writes files.

    Returns:
        on rank 0 the content of result.json (best epoch, its validation error, what could not be read), and ``skipped``
        True if the run was finished before; elsewhere nothing.

    Raises:
        SimhandError: another process in this run, other options, a loss that is not finite, no readable sample, a
            loader process that was killed.
        KeyboardInterrupt: stopped by a signal, after saving.
    """
    with ExitStack() as held:
        held.enter_context(single_threaded_opencv())
        held.enter_context(killed_workers())
        run = _open_on_main(ranks, job, held)
        console = Console(quiet=job.quiet or not ranks.is_main)
        if run.replaced:
            console.say(REPLACED)
        if run.result is not None:
            return {**run.result, "skipped": True} if ranks.is_main else {}
        trainer = Finetuner(ranks, job, run)
        trainer.run(console)
        broken = trainer.all_broken()
        if trainer.best_epoch == 0:
            raise InputProblem(f"{run.path}: no epoch of it could be measured; --redo does it over")
        result: dict[str, Any] = {}
        if ranks.is_main:
            facts = trainer.facts()
            save_model(run.path / MODEL_FILE, trainer.best, facts)
            write_report(run.path, job.config, job.data, job.source)
            result = run.finish({**facts.training, "precision": trainer.precision.name, "broken": broken})
        ranks.barrier()
        return result


def _open_on_main(ranks: Ranks, job: FinetuneJob, held: ExitStack) -> RunDir:
    """Lock and open the run's folder on rank 0 and tell the others what was found."""
    found = ""
    if ranks.is_main:
        held.enter_context(workspace_lock(job.run_path, "finetune"))
        run = open_run(job.run_path, job.identity, redo=job.config.redo, job=ranks.job)
        if run.result is None:
            save_config(job.config, run.path / "config.yaml")
            write_json(run.path / "samples.json", job.data.record())
        found = json.dumps(
            {"checkpoint": run.checkpoint and str(run.checkpoint), "result": run.result, "replaced": run.replaced}
        )
    told = json.loads(ranks.from_main(found))
    return RunDir(job.run_path, told["checkpoint"] and Path(told["checkpoint"]), told["result"], told["replaced"])


class Finetuner:
    """A run in progress on one process.

    Attributes:
        net: the model being trained, unwrapped.
        best: a copy of it as it was after the best epoch.
        best_epoch: that epoch, counted from 1; without validation the last one.
        best_error: its validation error, infinite without validation; mm, or px of the crop where labels are 2D only.
        precision: number format.
        steps_done: optimiser steps so far.
    """

    def __init__(self, ranks: Ranks, job: FinetuneJob, run: RunDir) -> None:
        self._ranks, self._job, self._config, self._path = ranks, job, job.config, run.path
        torch.manual_seed(job.config.seed)
        net, self._loaded = build_net(job.source, job.config)
        environment = run.path / ENVIRONMENT_FILE
        earlier = recorded_precision(environment) if run.checkpoint else None
        trial = TrialStep(net, ranks.device, _TRIAL_CROPS, job.config)
        usual = usual_precision(run.path.parent, network_kind(net, job.config))
        self.precision = choose_precision(job.config.precision, ranks, trial, earlier, usual)
        if ranks.is_main and ranks.device == "cpu" and job.config.precision == "auto":
            keep_usual_precision(run.path.parent, network_kind(net, job.config), self.precision)
        synchronise_batch_norm(net, ranks)
        net.to(device=ranks.device, dtype=self.precision.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net, self.best = net, copy.deepcopy(net)
        self._average = MovingAverage(net, job.config.ema) if job.config.ema else None
        self._wrapped = DistributedDataParallel(net) if ranks.grouped else net
        self._make_optimiser()
        self._make_loaders()
        self.steps_done, self.best_error, self.best_epoch = 0, math.inf, 0
        #: Sums of the losses of the epoch's steps so far, and their number.
        self._sums, self._counted = torch.zeros(4, dtype=torch.float64), 0
        self._broken: set[str] = set()
        torch.manual_seed(job.config.seed + 1 + ranks.rank)
        if run.checkpoint is not None:
            values = self._state.load(run.checkpoint, ranks)
            self.steps_done, self.best_epoch = int(values["step"]), int(values["best_epoch"])
            self.best_error = math.inf if values["best_error"] is None else float(values["best_error"])
            self._broken.update(values["broken"])
            self._sums, self._counted = torch.tensor(values["loss_sums"], dtype=torch.float64), int(values["counted"])
        self._saved_step, self._saved_at = self.steps_done, time.monotonic()
        if ranks.is_main:
            record_start(environment, ranks, self.precision, self.steps_done)

    def _make_optimiser(self) -> None:
        config = self._config
        encoder_lr = config.lr if config.encoder_lr is None else config.encoder_lr
        heads = [module for name, module in self.net.named_children() if name != "encoder"]
        groups = [
            *parameter_groups([self.net.encoder], config.weight_decay, encoder_lr / config.lr),
            *parameter_groups(heads, config.weight_decay),
        ]
        self._optimiser = build_optimiser("adamw", groups, config.lr)
        self._scaler = self.precision.scaler(self._ranks.device)
        modules = {"net": self.net, "best": self.best}
        if self._average is not None:
            modules["average"] = self._average.net
        self._state = TrainingState(modules, self._optimiser, self._scaler)

    def _make_loaders(self) -> None:
        config, data, ranks = self._config, self._job.data, self._ranks
        train_set = CropDataset(data.sets, data.train, config.input_px, config.augment, config.seed)
        place = (ranks.rank, ranks.world_size)
        self._sampler = StepSampler(data.sizes, config.batch_size, config.epochs, config.seed, *place, data.quotas)
        self._train_loader = training_loader(train_set, self._sampler, self._job.workers, ranks.device)
        self._val_loaders = {}
        for number in np.unique(data.val[:, 0]).tolist():
            rows = data.val[data.val[:, 0] == number]
            held_out = CropDataset(data.sets, rows, config.input_px, None, config.seed)
            loader = validation_loader(held_out, self._sampler.share, self._job.workers, ranks.device, *place)
            self._val_loaders[number] = loader

    def run(self, console: Console) -> None:
        """All remaining epochs."""
        sampler = self._sampler
        if self.steps_done == 0 and self._loaded is not None and self._loaded.missing:
            missing = self._loaded.missing
            console.warn(f"{len(missing)} tensors of the encoder are not in its file, e.g. {missing[0]}; left random")
        if self.steps_done:
            console.say(f"going on after epoch {self.steps_done / sampler.steps_per_epoch:.3g} ({self._path})")
        if self._finished():
            return
        sampler.first_step = self.steps_done
        crops = sampler.share * self._ranks.world_size
        with ExitStack() as held:
            signals = held.enter_context(StopSignals())
            log = MetricsLog(self._path / METRICS_FILE, self.steps_done) if self._ranks.is_main else None
            if log is not None:
                held.enter_context(log)
            ticker = held.enter_context(console.progress("fine-tuning", len(sampler) * crops, "crops"))
            self._epochs(log, ticker, signals, crops)
        if self.steps_done < sampler.total_steps:
            epoch = self.steps_done // sampler.steps_per_epoch
            console.say(
                f"stopped after epoch {epoch}: {self._config.patience} epochs brought nothing better (--patience)"
            )

    def _epochs(self, log: MetricsLog | None, ticker: Ticker, signals: StopSignals, crops: int) -> None:
        per_epoch, note, steps, started = self._sampler.steps_per_epoch, "", 0, time.monotonic()
        for batch in self._train_loader:
            losses, stop = self._learn(batch, signals)
            self._sums, self._counted, steps = self._sums + losses, self._counted + 1, steps + 1
            ticker.advance(crops, f"epoch {self.steps_done / per_epoch:.1f}, loss {float(losses[0]):.3g}{note}")
            if self.steps_done % per_epoch == 0:
                errors = self._end_epoch(log, steps * crops / max(time.monotonic() - started, 1e-9))
                note = f", validation {self._deciding(errors):.1f} {self._unit}" if errors else ""
                ticker.advance(0, f"epoch {self.steps_done // per_epoch}{note}")
                if self._finished():
                    return
                steps, started = 0, time.monotonic()
            if stop:
                self._save(log)
                raise KeyboardInterrupt(f"saved after step {self.steps_done}")

    def _finished(self) -> bool:
        """Whether all epochs are done, or enough of them brought nothing better (--patience)."""
        epoch, within = divmod(self.steps_done, self._sampler.steps_per_epoch)
        patience = self._config.patience
        gave_up = bool(patience) and within == 0 and epoch - self.best_epoch >= patience
        return self.steps_done == self._sampler.total_steps or gave_up

    def _learn(self, batch: CropBatch, signals: StopSignals) -> tuple[Tensor, bool]:
        """One update; returns this rank's (4,) losses and whether all ranks are to stop."""
        config = self._config
        self._broken.update(batch.broken)
        if len(batch) == 0:
            raise InputProblem(f"no sample of a whole batch can be read, e.g. {batch.broken[0]}")
        set_lr(self._optimiser, self._lr())
        self._optimiser.zero_grad(set_to_none=True)
        self._wrapped.train()
        losses = batch_losses(
            self._wrapped, batch.to(self._ranks.device), self.net.map_px, self.precision, config, self._ranks
        )
        self._scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.grad_clip or math.inf)
        parts = (losses.total, losses.heat, losses.location, losses.delta, norm)
        values = torch.stack([part.detach().double() for part in parts]).cpu()
        # fp16's loss scaler skips steps with infinite gradients by itself.
        good = bool(torch.isfinite(values[0])) and (bool(torch.isfinite(values[4])) or self._scaler.is_enabled())
        verdict = Verdict(stop=signals.requested, bad=not good).agreed(self._ranks)
        if verdict.bad:
            raise refuse_non_finite(self.steps_done + 1, float(values[0]), float(values[4]))
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.steps_done += 1
        if self._average is not None:
            self._average.update(self.net, self.steps_done)
        return values[:4], verdict.stop

    def _lr(self) -> float:
        config, per_epoch = self._config, self._sampler.steps_per_epoch
        warmup = round(config.warmup_epochs * per_epoch)
        if config.schedule == "step":
            return warmup_step(self.steps_done, max(round(config.step_epochs * per_epoch), 1), warmup, config.lr)
        return warmup_cosine(self.steps_done, self._sampler.total_steps, warmup, config.lr)

    @property
    def _judged(self) -> DetNet:
        """The model that is validated and kept: the average where there is one."""
        return self.net if self._average is None else self._average.net

    def _end_epoch(self, log: MetricsLog | None, crops_per_s: float) -> ValidationErrors | None:
        """Validate, keep the best weights, log, and save now and then."""
        epoch = self.steps_done // self._sampler.steps_per_epoch
        errors = self._validate()
        deciding = math.inf if errors is None else self._deciding(errors)
        if errors is not None and not math.isfinite(deciding):
            self._refuse_unmeasured(errors)
        if errors is None or deciding < self.best_error:
            self.best.load_state_dict(self._judged.state_dict())
            self.best_epoch = epoch
            self.best_error = deciding
        shared = self._ranks.mean((self._sums / self._counted).to(self._ranks.device)).tolist()
        self._sums, self._counted = torch.zeros(4, dtype=torch.float64), 0
        values: dict[str, Any] = {"epoch": epoch, "lr": self._optimiser.param_groups[-1]["lr"]}
        values |= dict(zip(("loss", "heat", "location", "delta"), shared, strict=True))
        if errors is not None:
            values |= {
                "val_root_bone_mpjpe_mm": errors.root_bone_mm,
                "val_root_mpjpe_mm": errors.root_mm,
                "val_px": errors.px,
            }
            if len(errors.by_set_mm) > 1:
                values["val_root_bone_mpjpe_mm_by_set"] = [
                    mm if math.isfinite(mm) else None for mm in errors.by_set_mm.values()
                ]
        if log is not None:
            log.write(self.steps_done, {**values, "crops_per_s": round(crops_per_s, 1)})
        overdue = time.monotonic() - self._saved_at >= self._config.checkpoint_every_s
        if Verdict(save=overdue or self._finished()).agreed(self._ranks).save:
            self._save(log)
        return errors

    def _refuse_unmeasured(self, errors: ValidationErrors) -> NoReturn:
        """End the run: without a figure no epoch can be the best."""
        everyone = self.all_broken()  # asked of all ranks, whatever this one has
        broken = errors.broken or everyone
        if not broken:
            raise InputProblem("the model's predictions on validation samples are not finite; try --precision fp32")
        raise InputProblem(
            f"none of the validation samples that decide which epoch is best can be read, e.g. {broken[0]}; mend "
            "them, or use --val-fraction 0"
        )

    def _deciding(self, errors: ValidationErrors) -> float:
        """The error that decides which epoch is kept."""
        return errors.root_bone_mm if self._job.data.judged_in_3d else errors.px

    @property
    def _unit(self) -> str:
        return "mm" if self._job.data.judged_in_3d else "px"

    def _finite_best(self) -> float | None:
        return self.best_error if math.isfinite(self.best_error) else None

    def _validate(self) -> ValidationErrors | None:
        if len(self._job.data.val) == 0:
            return None
        errors = validate(
            self._judged,
            self._val_loaders,
            bone_length_mm=math.nan if self._job.data.bone_length_mm is None else self._job.data.bone_length_mm,
            average=self._config.readout == "average",
            precision=self.precision,
            ranks=self._ranks,
            equally=self._config.mix == "equal",
        )
        self._broken.update(errors.broken)
        return errors

    def _save(self, log: MetricsLog | None) -> None:
        if self._saved_step == self.steps_done:
            return
        if log is not None:
            log.sync()
        # With the samples that could not be read: a resumed epoch does not come to them again.
        values = {
            "best_epoch": self.best_epoch,
            "best_error": self._finite_best(),
            "broken": self.all_broken(),
            "loss_sums": self._ranks.mean(self._sums.to(self._ranks.device)).tolist(),
            "counted": self._counted,
        }
        self._state.save(self._path, self.steps_done, self._ranks, values)
        self._saved_step, self._saved_at = self.steps_done, time.monotonic()

    def all_broken(self) -> list[str]:
        """Messages of samples that could not be read, of all ranks."""
        everyone: list[set[str]] = [self._broken]
        if self._ranks.grouped:
            everyone = [set() for _ in range(self._ranks.world_size)]
            dist.all_gather_object(everyone, self._broken)
        return sorted(set().union(*everyone))

    def facts(self) -> ModelFacts:
        """What is written beside the weights of the best epoch."""
        config, data = self._config, self._job.data
        return ModelFacts(
            encoder=self._job.source.backbone,
            width=config.width,
            input_px=config.input_px,
            root_joint=config.targets.root_index,
            bone_length_mm=data.bone_length_mm,
            readout=config.readout,
            training={
                "sets": [f"{labelled.name}/{labelled.split}" for labelled in data.sets],
                "samples": data.labelled,
                "samples_2d_only": data.labelled_2d,
                "unlabelled_crops": len(data.train) - data.labelled,
                "validation": data.validation,
                "encoder": self._job.source.described,
                "epochs": self.steps_done // self._sampler.steps_per_epoch,
                "best_epoch": self.best_epoch,
                "val_root_bone_mpjpe_mm": self._finite_best() if data.judged_in_3d else None,
                "val_px": None if data.judged_in_3d else self._finite_best(),
            },
        )
