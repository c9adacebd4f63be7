"""What a kind of training tells the engine: how to build, what a batch is, its gradient, what to measure and when."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from simhand_cli.console import Console
from simhand_cli.stages.run_folder import RunDir
from simhand_cli.training.config import TrainingConfig
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.log.trackers import TrackerName
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.environment import Choice
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.optimisers import OptimiserName
from simhand_cli.training.step.precision import Precision, PrecisionOption
from simhand_cli.training.step.save_clock import SAVE_EVERY_STEPS

Net = TypeVar("Net", bound=nn.Module)
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class RunPlace:
    """Where a run lies and what it is.

    Attributes:
        path: the folder, ``runs/<command>-<name>``.
        identity: all that determines the result, see :func:`simhand_cli.stages.run_folder.open_run`.
        redo: throw away what is there.
    """

    path: Path
    identity: Mapping[str, Any]
    redo: bool


@dataclass(frozen=True)
class EngineOptions:
    """What every training lets its user choose, all set.

    Attributes:
        generator_seed: of this process's random generators; that of the first weights is the task's.
        precision: number format, or ``auto``.
        optimiser: its name.
        grad_clip: largest norm of the gradient; None = no limit.
        ema: decay of a moving average of the weights; 0 = none.
        sync_bn: batch norm takes its statistics over all processes.
        compile: let torch.compile speed up the network.
        checkpoint_every: steps between checkpoints; None: by cost.
        trackers: further logs, by name.
        described: all options of the run as plain values, for those logs.
    """

    generator_seed: int
    precision: PrecisionOption
    optimiser: OptimiserName
    grad_clip: float | None
    ema: float
    sync_bn: bool
    compile: bool
    checkpoint_every: int | None
    trackers: tuple[TrackerName, ...]
    described: Mapping[str, Any]

    @classmethod
    def of(cls, settings: TrainingConfig, generator_seed: int, optimiser: OptimiserName) -> "EngineOptions":
        """Those of a training's settings, in which nothing is open."""
        return cls(
            generator_seed=generator_seed,
            precision=settings.precision,
            optimiser=optimiser,
            grad_clip=settings.grad_clip,
            ema=settings.ema,
            sync_bn=bool(settings.sync_bn),
            compile=settings.compile,
            checkpoint_every=settings.checkpoint_every,
            trackers=tuple(settings.log),
            described=settings.model_dump(mode="json"),
        )


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        steps_per_epoch: optimiser steps of an epoch.
        total_steps: of the whole run.
        items_per_step: views or crops of a step, over all processes.
        log_every: steps between two lines of metrics; 0: only the task writes some.
        by_cost_steps: steps after which a checkpoint is written unless it costs too much.
    """

    steps_per_epoch: int
    total_steps: int
    items_per_step: int
    log_every: int
    by_cost_steps: int = SAVE_EVERY_STEPS

    def is_logged(self, step: int) -> bool:
        """Whether there is a line of metrics of this step."""
        return self.log_every > 0 and (step % self.log_every == 0 or step in (1, self.total_steps))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or the run, ends with this step."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps


@dataclass
class Network(Generic[Net]):
    """What is being trained, on one process.

    Attributes:
        model: the weights, unwrapped.
        wrapped: the model, in DistributedDataParallel where there are several ranks.
        precision: number format.
        scaler: of fp16's loss; transparent otherwise.
        average: of the weights; None without --ema.
        companions: further modules that checkpoints hold, see :meth:`Task.companions`.
        step: optimiser steps launched so far.
    """

    model: Net
    wrapped: nn.Module
    precision: Precision
    scaler: torch.amp.GradScaler
    average: MovingAverage[Net] | None = None
    companions: Mapping[str, nn.Module] = field(default_factory=dict)
    step: int = 0

    @property
    def judged(self) -> Net:
        """The model that is measured and kept: the average where there is one."""
        return self.model if self.average is None else self.average.net


@dataclass(frozen=True)
class SettledStep:
    """A step whose numbers have arrived.

    Attributes:
        step: its number, from 1.
        metrics: ``loss``, ``grad_norm``, ``lr`` and what the task's :meth:`Task.backward` gave; means over all ranks if
            the step is logged, else this rank's.
        logged: whether it has a line of metrics.
        seconds: since the step before.
    """

    step: int
    metrics: Mapping[str, Any]
    logged: bool
    seconds: float


class Task(ABC, Generic[Net, Batch]):
    """A kind of training. One object a process and run; the engine calls it, it never calls the engine.

    Every method is called by every rank unless it says otherwise.

    Attributes:
        stage: the command's name: who holds the run's lock.
        bar: what the progress bar is called.
        unit: what it counts.
        model_name: what checkpoints call the model.
    """

    stage: ClassVar[str]
    bar: ClassVar[str]
    unit: ClassVar[str]
    model_name: ClassVar[str] = "model"

    def __init__(self, ranks: Ranks, place: RunPlace, options: EngineOptions) -> None:
        self.ranks, self.place, self.options = ranks, place, options

    # Before the first step, in this order.

    def describe(self, path: Path) -> None:
        """Write what was chosen into the folder of a run that is not finished; rank 0 alone."""

    @abstractmethod
    def build(self, console: Console, *, fresh: bool) -> Net:
        """The model on the CPU; ``fresh``: no checkpoint will replace its weights."""

    @abstractmethod
    def trial(self, model: Net) -> Callable[[Precision], object]:
        """Forward and backward of a representative batch that leaves no trace, to time it."""

    @abstractmethod
    def network_kind(self, model: Net) -> str:
        """What the speed of a number format depends on, in words."""

    def choose(self, model: Net, precision: Precision, earlier: Mapping[str, str]) -> dict[str, Choice]:
        """Further choices by measurement; ``earlier``: those of the run that goes on, which are kept."""
        del model, precision, earlier
        return {}

    @abstractmethod
    def parameter_groups(self, model: Net) -> list[dict[str, Any]]:
        """What the optimiser is to change, see :func:`simhand_cli.training.step.optimisers.parameter_groups`."""

    def companions(self, model: Net) -> dict[str, nn.Module]:
        """Further modules that checkpoints hold: a momentum encoder, a queue, the best weights so far.

        They must stay the same on every rank: the first one's are saved, and all ranks go on from these.
        """
        del model
        return {}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from the values of :meth:`state`."""

    def begin(self, network: Network[Net], console: Console) -> None:
        """Say and draw what there is to see before the first step of this start."""

    # The steps.

    @property
    @abstractmethod
    def length(self) -> Length:
        """How long the run is."""

    @abstractmethod
    def lr(self, step: int) -> float:
        """Learning rate of a step, from 0."""

    @abstractmethod
    def batches(self, first_step: int) -> Iterable[Batch]:
        """This rank's batches of all remaining steps."""

    @abstractmethod
    def backward(self, network: Network[Net], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Add a batch's gradient, scaled by ``network.scaler``, to the model's; the detached loss and metrics."""

    def updated(self, network: Network[Net]) -> None:
        """After the weights of step ``network.step`` have changed."""

    def told(self, settled: SettledStep, console: Console) -> str:
        """A step's numbers have arrived; what the progress bar says of it."""
        del console
        return f"loss {settled.metrics['loss']:.3f}"

    # Between steps.

    def measures_after(self, step: int) -> bool:
        """Whether :meth:`measure` comes after this step."""
        del step
        return False

    def measure(self, network: Network[Net], log: MetricsLog | None, lr: float) -> str:
        """Measure what decides which weights are kept, before a checkpoint; what the bar says. ``lr``: of the step."""
        raise NotImplementedError

    def probes_after(self, step: int) -> bool:
        """Whether :meth:`probe` comes after this step, or before the first one if that is step 0."""
        del step
        return False

    def probe(self, network: Network[Net], log: MetricsLog, stopped: Callable[[], bool]) -> None:
        """Measure and log what decides nothing, after a checkpoint; rank 0 alone. Given up once ``stopped()``."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Plain values that a checkpoint keeps."""
        return {}

    def gives_up(self, step: int) -> bool:
        """Whether the run ends early, since nothing gets better."""
        del step
        return False

    @abstractmethod
    def finish(self, run: RunDir, network: Network[Net], console: Console) -> dict[str, Any]:
        """Write what the run leaves; rank 0 returns the content of result.json, others nothing."""
