"""Fine-tuning as a task of the training engine: DetNet on labelled crops, the best epoch by validation is kept."""

import copy
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.finetune.crop_dataset import (
    CropBatch,
    CropDataset,
    StepSampler,
    training_loader,
    validation_loader,
)
from simhand_cli.finetune.finetune_report import write_report
from simhand_cli.finetune.settings import FinetuneSettings
from simhand_cli.finetune.step import TrialStep, backward_in_parts, build_net, network_kind
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.finetune.validate import ValidationErrors, validate
from simhand_cli.models.detnet import DetNet
from simhand_cli.models.encoder import LoadReport
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.models.hand_model import MODEL_FILE, ModelFacts, save_model
from simhand_cli.stages.run_folder import RunDir
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.optimisers import parameter_groups
from simhand_cli.training.step.save_clock import SAVE_EVERY_STEPS
from simhand_cli.training.step.schedule import warmup_cosine, warmup_step
from simhand_cli.training.task import EngineOptions, Length, Network, RunPlace, SettledStep, Task
from simhand_cli.workspace.atomic import write_json

#: Crops of the batch that measures which precision is faster.
_TRIAL_CROPS = 8
#: At the top of resolved.yaml, whose name and backbone are this run's.
_READ_ONLY = "All options as they were filled, to be read; for another run use config.yaml."
#: The losses that are logged, by name.
_LOSSES = ("loss", "heat", "location", "delta")


class FinetuneTask(Task[DetNet, CropBatch]):
    """A fine-tuning run on one process.

    Args:
        ranks: this process's place.
        place: the run's folder and identity.
        settings: what will be done.
        data: the chosen samples.
        source: the encoder.
        workers: loader processes per rank.
    """

    stage = "finetune"
    bar = "fine-tuning"
    unit = "crops"
    model_name = "net"

    def __init__(
        self,
        ranks: Ranks,
        place: RunPlace,
        settings: FinetuneSettings,
        data: TrainingData,
        source: EncoderSource,
        workers: int,
    ) -> None:
        super().__init__(ranks, place, EngineOptions.of(settings, settings.seed + 1 + ranks.rank, "adamw"))
        self._settings, self._data, self._source, self._workers = settings, data, source, workers
        where = (ranks.rank, ranks.world_size)
        self._sampler = StepSampler(
            data.sizes, settings.batch_size, settings.epochs, settings.seed, *where, data.quotas, settings.max_steps
        )
        self._best: DetNet | None = None
        #: The best epoch so far, counted from 1 (without validation the last one), and its validation error: infinite
        #: without validation; mm, or px of the crop where labels are 2D only.
        self._best_epoch, self._best_error = 0, math.inf
        #: Sums of the losses of the epoch's steps so far, and their number.
        self._sums, self._counted = torch.zeros(len(_LOSSES), dtype=torch.float64), 0
        #: How long those of this start took, and their number: a resumed epoch's earlier steps are not timed again.
        self._seconds, self._timed = 0.0, 0
        self._broken: set[str] = set()
        self._loaded: LoadReport | None = None
        self._note = ""

    @property
    def length(self) -> Length:
        """How long the run is."""
        sampler, every = self._sampler, self._settings.log_every
        crops = sampler.share * self.ranks.world_size
        # After every epoch where that is short, since the best weights change there.
        by_cost = min(SAVE_EVERY_STEPS, sampler.steps_per_epoch)
        return Length(sampler.steps_per_epoch, sampler.total_steps, crops, every or 0, by_cost)

    def describe(self, path: Path) -> None:
        """Write the options, and which samples are trained and validated on."""
        save_config(self._settings.said, path / "config.yaml")
        save_config(self._settings, path / "resolved.yaml", _READ_ONLY)
        write_json(path / "samples.json", self._data.record())

    def build(self, console: Console, *, fresh: bool) -> DetNet:
        """DetNet on the encoder that was asked for."""
        # The heads' first weights; the engine seeds the run's generators later.
        torch.manual_seed(self._settings.seed)
        net, loaded = build_net(self._source, self._settings)
        if fresh and loaded is not None and loaded.missing:
            missing = loaded.missing
            console.warn(f"{len(missing)} tensors of the encoder are not in its file, e.g. {missing[0]}; left random")
        return net

    def trial(self, model: DetNet) -> TrialStep:
        """A step of a few made-up crops."""
        return TrialStep(model, self.ranks.device, _TRIAL_CROPS, self._settings)

    def network_kind(self, model: DetNet) -> str:
        """Encoder, width and size of the crops."""
        return network_kind(model, self._settings)

    def parameter_groups(self, model: DetNet) -> list[dict[str, Any]]:
        """The encoder, whose rate may differ, and the heads."""
        settings = self._settings
        heads = [module for name, module in model.named_children() if name != "encoder"]
        return [
            *parameter_groups([model.encoder], settings.weight_decay, settings.encoder_lr / settings.lr),
            *parameter_groups(heads, settings.weight_decay),
        ]

    def companions(self, model: DetNet) -> dict[str, nn.Module]:
        """The best weights so far."""
        # A module, so that checkpoints hold it like the model itself.
        self._best = copy.deepcopy(model)
        return {"best": self._best}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on within an epoch, with what was the best until then."""
        self._best_epoch = int(values["best_epoch"])
        # JSON has no infinity.
        self._best_error = math.inf if values["best_error"] is None else float(values["best_error"])
        self._broken.update(values["broken"])
        self._sums, self._counted = torch.tensor(values["loss_sums"], dtype=torch.float64), int(values["counted"])

    def state(self) -> dict[str, Any]:
        """With the samples that could not be read: a resumed epoch does not come to them again."""
        return {
            "best_epoch": self._best_epoch,
            "best_error": self._finite_best(),
            "broken": self._all_broken(),
            # Means over the ranks: each goes on from the same sums.
            "loss_sums": self.ranks.mean(self._sums.to(self.ranks.device)).tolist(),
            "counted": self._counted,
        }

    def lr(self, step: int) -> float:
        """Linear warm-up, then half a cosine or steps down."""
        settings, per_epoch = self._settings, self._sampler.steps_per_epoch
        warmup = round(settings.warmup_epochs * per_epoch)
        if settings.schedule == "step":
            return warmup_step(step, max(round(settings.step_epochs * per_epoch), 1), warmup, settings.lr)
        return warmup_cosine(step, self._sampler.total_steps, warmup, settings.lr)

    def batches(self, first_step: int) -> Iterable[CropBatch]:
        """This rank's crops of every remaining step."""
        data, settings = self._data, self._settings
        dataset = CropDataset(data.sets, data.train, settings.input_px, settings.augment, settings.seed)
        self._sampler.first_step = first_step
        return training_loader(dataset, self._sampler, self._workers, self.ranks.device)

    def backward(self, network: Network[DetNet], batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """DetNet's losses of a batch, at once or in parts."""
        self._broken.update(batch.broken)
        # Every sample of it is broken; the gradient of nothing would be NaN.
        if len(batch) == 0:
            raise InputProblem(f"no sample of a whole batch can be read, e.g. {batch.broken[0]}")
        on_device = batch.to(self.ranks.device)
        # Parts of the wanted share, not of what could be read, or ranks would divide differently.
        share = self._sampler.share
        parts = math.ceil(share / min(self._settings.micro_batch or share, share))
        losses = backward_in_parts(network, on_device, parts, self._settings, self.ranks)
        return losses.total, {"heat": losses.heat, "location": losses.location, "delta": losses.delta}

    def told(self, settled: SettledStep, console: Console) -> str:
        """Add the step's losses up for the epoch's line."""
        del console
        values = [float(settled.metrics[name]) for name in _LOSSES]
        self._sums = self._sums + torch.tensor(values, dtype=torch.float64)
        self._counted += 1
        self._seconds, self._timed = self._seconds + settled.seconds, self._timed + 1
        return f"epoch {settled.step / self._sampler.steps_per_epoch:.1f}, loss {values[0]:.3g}{self._note}"

    def measures_after(self, step: int) -> bool:
        """At the end of every epoch."""
        return self.length.ends_epoch(step)

    def measure(self, network: Network[DetNet], log: MetricsLog | None, lr: float) -> str:
        """Validate, keep the best weights, and log the epoch."""
        epoch = math.ceil(network.step / self._sampler.steps_per_epoch)
        errors = self._validate(network)
        # Without validation every epoch is as good as the last one, which is then kept.
        deciding = math.inf if errors is None else self._deciding(errors)
        if errors is not None and not math.isfinite(deciding):
            self._refuse_unmeasured(errors)
        if errors is None or deciding < self._best_error:
            assert self._best is not None
            self._best.load_state_dict(network.judged.state_dict())
            self._best_epoch, self._best_error = epoch, deciding
        # Steps that are not logged hold this rank's losses only.
        shared = self.ranks.mean((self._sums / self._counted).to(self.ranks.device)).tolist()
        speed = self._timed * self.length.items_per_step / max(self._seconds, 1e-9)
        self._sums, self._counted = torch.zeros(len(_LOSSES), dtype=torch.float64), 0
        self._seconds, self._timed = 0.0, 0
        if log is not None:
            values = {"epoch": epoch, "lr": lr, **dict(zip(_LOSSES, shared, strict=True)), **_logged(errors)}
            log.write(network.step, {**values, "crops_per_s": round(speed, 1)})
        self._note = f", validation {deciding:.1f} {self._unit}" if errors else ""
        return f"epoch {epoch}{self._note}"

    def gives_up(self, step: int) -> bool:
        """Whether --patience epochs brought nothing better."""
        epoch, within = divmod(step, self._sampler.steps_per_epoch)
        patience = self._settings.patience
        # Only at the end of an epoch, where validation has just been made.
        return bool(patience) and within == 0 and epoch - self._best_epoch >= patience

    def finish(self, run: RunDir, network: Network[DetNet], console: Console) -> dict[str, Any]:
        """The best epoch's model, report and result."""
        broken = self._all_broken()
        if self._best_epoch == 0:
            raise InputProblem(f"{run.path}: no epoch of it could be measured; --redo does it over")
        if network.step < self._sampler.total_steps:
            epoch = network.step // self._sampler.steps_per_epoch
            patience = self._settings.patience
            console.say(f"stopped after epoch {epoch}: {patience} epochs brought nothing better (--patience)")
        if not self.ranks.is_main:
            return {}
        facts = self._facts(math.ceil(network.step / self._sampler.steps_per_epoch))
        assert self._best is not None
        save_model(run.path / MODEL_FILE, self._best, facts)
        write_report(run.path, self._settings, self._data, self._source)
        return run.finish({**facts.training, "precision": network.precision.name, "broken": broken})

    def _refuse_unmeasured(self, errors: ValidationErrors) -> NoReturn:
        """End the run: without a figure no epoch can be the best."""
        everyone = self._all_broken()  # asked of all ranks, whatever this one has
        broken = errors.broken or everyone
        if not broken:
            raise InputProblem("the model's predictions on validation samples are not finite; try --precision fp32")
        raise InputProblem(
            f"none of the validation samples that decide which epoch is best can be read, e.g. {broken[0]}; mend "
            "them, or use --val-fraction 0"
        )

    def _deciding(self, errors: ValidationErrors) -> float:
        """The error that decides which epoch is kept."""
        return errors.root_bone_mm if self._data.judged_in_3d else errors.px

    @property
    def _unit(self) -> str:
        return "mm" if self._data.judged_in_3d else "px"

    def _finite_best(self) -> float | None:
        return self._best_error if math.isfinite(self._best_error) else None

    def _validate(self, network: Network[DetNet]) -> ValidationErrors | None:
        if len(self._data.val) == 0:
            return None
        errors = validate(
            network.judged,
            self._validation_loaders(),
            bone_length_mm=math.nan if self._data.bone_length_mm is None else self._data.bone_length_mm,
            average=self._settings.readout == "average",
            precision=network.precision,
            ranks=self.ranks,
            equally=self._settings.mix == "equal",
        )
        self._broken.update(errors.broken)
        return errors

    def _validation_loaders(self) -> dict[int, Iterable[CropBatch]]:
        """This rank's share of the validation crops of every set that has some, by the set's number."""
        data, settings, ranks = self._data, self._settings, self.ranks
        loaders: dict[int, Iterable[CropBatch]] = {}
        for number in np.unique(data.val[:, 0]).tolist():
            rows = data.val[data.val[:, 0] == number]
            held_out = CropDataset(data.sets, rows, settings.input_px, None, settings.seed)
            loaders[number] = validation_loader(
                held_out, self._sampler.share, self._workers, ranks.device, ranks.rank, ranks.world_size
            )
        return loaders

    def _all_broken(self) -> list[str]:
        """Messages of samples that could not be read, of all ranks."""
        everyone: list[set[str]] = [self._broken]
        if self.ranks.grouped:
            everyone = [set() for _ in range(self.ranks.world_size)]
            # Texts of any number and length; pickling them is safe among a run's own processes.
            dist.all_gather_object(everyone, self._broken)
        return sorted(set().union(*everyone))

    def _facts(self, epochs: int) -> ModelFacts:
        """What is written beside the weights of the best epoch."""
        settings, data = self._settings, self._data
        return ModelFacts(
            encoder=self._source.backbone,
            width=settings.width,
            input_px=settings.input_px,
            root_joint=settings.targets.root_index,
            bone_length_mm=data.bone_length_mm,
            readout=settings.readout,
            training={
                "sets": [f"{labelled.name}/{labelled.split}" for labelled in data.sets],
                "samples": data.labelled,
                "samples_2d_only": data.labelled_2d,
                "unlabelled_crops": len(data.train) - data.labelled,
                "validation": data.validation,
                "encoder": self._source.described,
                "epochs": epochs,
                "best_epoch": self._best_epoch,
                "val_root_bone_mpjpe_mm": self._finite_best() if data.judged_in_3d else None,
                "val_px": None if data.judged_in_3d else self._finite_best(),
            },
        )


def _logged(errors: ValidationErrors | None) -> dict[str, Any]:
    """The validation figures of an epoch's line."""
    if errors is None:
        return {}
    values: dict[str, Any] = {
        "val_root_bone_mpjpe_mm": errors.root_bone_mm,
        "val_root_mpjpe_mm": errors.root_mm,
        "val_px": errors.px,
    }
    if len(errors.by_set_mm) > 1:
        each = [mm if math.isfinite(mm) else None for mm in errors.by_set_mm.values()]
        values["val_root_bone_mpjpe_mm_by_set"] = each
    return values
