"""Pre-training as a task of the training engine: pairs of crops, a contrastive loss, a k-NN probe now and then."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, get_args

import torch
from torch import Tensor, nn

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console
from simhand_cli.models.encoder import load_encoder_weights
from simhand_cli.pretrain.loss.grad_cache import backward_in_parts
from simhand_cli.pretrain.model import ContrastiveModel, PairLoss, build_model, released_scales
from simhand_cli.pretrain.online_probe import PoseProbe, ProbeStopped, open_probe
from simhand_cli.pretrain.outcome import finish_run, picture_pairs
from simhand_cli.pretrain.pairs.decoding import DecodePlace, choose_decoding
from simhand_cli.pretrain.pairs.epoch_order import StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset, PairTable
from simhand_cli.pretrain.plan import Plan
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.pretrain.trial_step import TrialStep, network_kind
from simhand_cli.stages.run_folder import RunDir
from simhand_cli.training.loader_workers import loader_workers
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.environment import Choice
from simhand_cli.training.step.optimisers import parameter_groups
from simhand_cli.training.step.precision import Precision, shortest_s
from simhand_cli.training.step.schedule import warmup_cosine
from simhand_cli.training.task import EngineOptions, Length, Network, RunPlace, SettledStep, Task
from simhand_cli.views.counter_rng import combine
from simhand_cli.workspace.paths import Workspace

#: Crops, and images, of the trial that decides where to decode on a GPU: enough to keep it busy.
_TRIAL_CROPS: Final = 256
#: At the top of resolved.yaml, which would override another method or recipe.
_READ_ONLY: Final = "All options as method and recipe fill them, to be read; for another run use config.yaml."
#: Beginning of the names of a probe's figures.
_PROBED: Final = "probe_"
#: Features are taken to have collapsed when negatives are more similar than this in so many lines of metrics in a row.
_ALIKE, _ALIKE_LINES = 0.99, 20


class PretrainTask(Task[ContrastiveModel, PairBatch]):
    """A pre-training run on one process.

    Args:
        ranks: this process's place.
        place: the run's folder and identity.
        settings: what will be done.
        plan: in numbers.
        table: the pairs.
        workspace: that they are of.
    """

    stage = "pretrain"
    bar = "pretrain"
    unit = "views"

    def __init__(
        self,
        ranks: Ranks,
        place: RunPlace,
        settings: PretrainSettings,
        plan: Plan,
        table: PairTable,
        workspace: Workspace,
    ) -> None:
        super().__init__(
            ranks, place, EngineOptions.of(settings, combine(settings.seed, ranks.rank, 1), settings.optimiser)
        )
        self._settings, self._plan, self._table, self._workspace = settings, plan, table, workspace
        # Both kinds are made, since where to decode is chosen later; neither opens a file before it is asked.
        self._dataset, self._encoded = (
            PairDataset(table, workspace.crops_dir, settings.seed, encoded=encoded) for encoded in (False, True)
        )
        self._decoded_on_gpu = False
        self._pose_probe: PoseProbe | None = None
        self._loss: PairLoss | None = None
        self._collapse = CollapseWatch(plan.warmup_steps)

    @property
    def length(self) -> Length:
        """How long the run is."""
        plan = self._plan
        return Length(plan.steps_per_epoch, plan.total_steps, 2 * plan.batch_size, plan.log_every)

    def describe(self, path: Path) -> None:
        """Write the options as they were given and as they were filled."""
        save_config(self._settings.said, path / "config.yaml")
        save_config(self._settings, path / "resolved.yaml", _READ_ONLY)

    def build(self, console: Console, *, fresh: bool) -> ContrastiveModel:
        """Random weights that follow from the seed, or those of ``--init``."""
        settings, plan = self._settings, self._plan
        if self.ranks.is_main:
            self._pose_probe = open_probe(settings, plan, self._table, self._workspace, console)
        if plan.warning:
            console.warn(plan.warning)
        # Drawn even if a file or a checkpoint replaces it: the projection head is in no encoder file.
        model = build_model(settings.backbone, settings.seed)
        # On a resume the file may be gone, and the checkpoint replaces what it held.
        if settings.init != "random" and fresh:
            report = load_encoder_weights(model.encoder, Path(settings.init))
            console.say(f"initial weights from {settings.init}" + _described(report.missing, report.unexpected))
        return model

    def trial(self, model: ContrastiveModel) -> TrialStep:
        """A step of a few images."""
        return TrialStep(model, self._settings.views.output_px)

    def network_kind(self, model: ContrastiveModel) -> str:
        """Encoder and size of the views."""
        del model
        return network_kind(self._settings)

    def choose(self, model: ContrastiveModel, precision: Precision, earlier: Mapping[str, str]) -> dict[str, Choice]:
        """Where crops are decoded."""
        settings, plan = self._settings, self._plan
        # A word from a file: only a known one counts.
        kept: DecodePlace | None = next((p for p in get_args(DecodePlace) if p == earlier.get("decoding")), None)
        decoding = choose_decoding(
            settings.decode,
            self.ranks,
            loader_workers(settings.workers, self.ranks),
            lambda: self._encoded.files_of(_TRIAL_CROPS),
            lambda: _crops_per_s(model, precision, settings, min(_TRIAL_CROPS, 2 * plan.part_pairs)),
            kept,
        )
        self._decoded_on_gpu = decoding.name == "gpu"
        return {"decoding": decoding}

    def parameter_groups(self, model: ContrastiveModel) -> list[dict[str, Any]]:
        """All weights; which of them are decayed is as the recipe says."""
        also_decayed = released_scales(model) if self._settings.decay == "released" else []
        return parameter_groups([model], self._settings.weight_decay, also_decayed=also_decayed)

    def companions(self, model: ContrastiveModel) -> dict[str, nn.Module]:
        """What the method keeps beside the model."""
        companion = self._settings.chosen_method.companion(model)
        return {} if companion is None else {"companion": companion}

    def begin(self, network: Network[ContrastiveModel], console: Console) -> None:
        """Make the loss, and draw the first pairs of a new run."""
        del console
        companion = network.companions.get("companion")
        self._loss = PairLoss.of(self._settings, network.precision, self.ranks.device, companion)
        if self.ranks.is_main and network.step == 0:
            picture_pairs(self.place.path, self._dataset, self._loss)

    def lr(self, step: int) -> float:
        """Linear warm-up, then half a cosine."""
        plan = self._plan
        return warmup_cosine(step, plan.total_steps, plan.warmup_steps, plan.peak_lr)

    def batches(self, first_step: int) -> Iterator[PairBatch]:
        """This rank's pairs of every remaining step, on its device."""
        settings, plan, ranks = self._settings, self._plan, self.ranks
        steps = StepBatches(
            plan.pairs,
            plan.batch_size,
            plan.total_steps,
            settings.seed,
            ranks.rank,
            ranks.world_size,
            first_step,
            settings.sampling,
        )
        dataset = self._encoded if self._decoded_on_gpu else self._dataset
        return pair_batches(dataset, steps, ranks, loader_workers(settings.workers, ranks))

    def backward(self, network: Network[ContrastiveModel], batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of a batch, at once or in parts."""
        assert self._loss is not None
        return backward_in_parts(self._loss, network.wrapped, batch, self._plan.part_pairs, network.scaler)

    def updated(self, network: Network[ContrastiveModel]) -> None:
        """Let the method move its companion."""
        self._settings.chosen_method.updated(network.model, network.companions.get("companion"))

    def told(self, settled: SettledStep, console: Console) -> str:
        """The loss; and a warning once all features are the same."""
        if settled.logged:
            # Logged lines only: their figures are means over all ranks.
            self._collapse.look(settled.step, settled.metrics.get("negative_similarity", 0.0), console)
        return super().told(settled, console)

    def probes_after(self, step: int) -> bool:
        """Whether a k-NN probe follows this step."""
        return self._plan.probes_after(step)

    def probe(self, network: Network[ContrastiveModel], log: MetricsLog, stopped: Callable[[], bool]) -> None:
        """Measure the encoder that would be written now, unless that was done."""
        # A resumed run comes to the step of its checkpoint again, and may have probed after it.
        if self._pose_probe is None or log.has(network.step, _PROBED):
            return
        # The run is to stop and save; the missing probe is made up for when it goes on.
        with suppress(ProbeStopped):
            values = self._pose_probe.measure(network.judged.encoder, self.ranks.device, stopped)
            log.write(network.step, {"epoch": network.step / self._plan.steps_per_epoch, **values})

    def finish(self, run: RunDir, network: Network[ContrastiveModel], console: Console) -> dict[str, Any]:
        """Backbone, report and result."""
        del console
        if not self.ranks.is_main:
            return {}
        return finish_run(run, self._settings, self._plan, network.judged.encoder, self._table)


class CollapseWatch:
    """Warns once, when for a while after the warm-up all features have been the same."""

    def __init__(self, warmup_steps: int) -> None:
        self._warmup_steps = warmup_steps
        self._lines = 0

    def look(self, step: int, negative_similarity: float, console: Console) -> None:
        """A line of metrics has come."""
        # At the very start features are alike in every run.
        if step <= self._warmup_steps or self._lines >= _ALIKE_LINES:
            return
        self._lines = self._lines + 1 if negative_similarity > _ALIKE else 0
        if self._lines == _ALIKE_LINES:
            console.warn(
                f"after step {step} all hands have nearly the same features (similarity {negative_similarity:.3f}), so "
                "nothing is being learned; stop, and try --init with trained weights, a lower --lr, or "
                "--loss.similarities centred"
            )


def _crops_per_s(model: nn.Module, precision: Precision, settings: PretrainSettings, images: int) -> float:
    """How fast steps use crops up; two views are of one crop where an image is contrasted with itself."""
    crops_per_view = 0.5 if settings.chosen_method.positive == "same-image" else 1.0
    seconds = shortest_s(TrialStep(model, settings.views.output_px, images), precision)
    # What the trial has used would look like taken memory to the GPU's decoder.
    torch.cuda.empty_cache()
    return crops_per_view * images / seconds


def _described(missing: list[str], unexpected: list[str]) -> str:
    parts = [
        f"{len(names)} {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for what, names in (("tensors missing in it", missing), ("of its tensors not used", unexpected))
        if names
    ]
    return "; " + "; ".join(parts) if parts else ""
