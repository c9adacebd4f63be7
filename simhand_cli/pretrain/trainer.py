"""The pre-training loop of one process: steps, what is said about them, checkpoints, orderly ends."""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from simhand_cli.console import Console, Ticker
from simhand_cli.models.encoder import Encoder
from simhand_cli.pretrain.loss.gather import reduce_over_ranks, world
from simhand_cli.pretrain.loss.grad_cache import backward_in_parts
from simhand_cli.pretrain.model import ContrastiveModel, PairLoss
from simhand_cli.pretrain.online_probe import PoseProbe, ProbeStopped
from simhand_cli.pretrain.pairs.epoch_order import StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.pretrain.plan import Plan
from simhand_cli.pretrain.recipe import optimisation_of, resolved
from simhand_cli.training.loader_workers import killed_workers
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.log.trackers import open_trackers
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.training_state import TrainingState
from simhand_cli.training.step.async_metrics import Readback
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.optimisers import set_lr
from simhand_cli.training.step.precision import Precision
from simhand_cli.training.step.schedule import warmup_cosine
from simhand_cli.training.step.stop import StopSignals, Verdict, refuse_non_finite

if TYPE_CHECKING:
    from simhand_cli.pretrain.config import PretrainConfig

#: A slow run saves at least this often, whatever --checkpoint-every says.
SAVE_EVERY_S = 600.0
#: Without --checkpoint-every: steps between checkpoints, if writing one took at most this share of the time since then.
SAVE_EVERY_STEPS, SAVE_SHARE = 500, 0.01
#: Beginning of the names of a probe's figures.
PROBED = "probe_"
#: Digits of a histogram's shares in the log.
_SHARE_DIGITS = 4
#: Features are taken to have collapsed when negatives are more similar than this in so many lines of metrics in a row.
_ALIKE, _ALIKE_LINES = 0.99, 20


@dataclass(frozen=True)
class LaunchedStep:
    """An optimiser step whose numbers may still be on their way from the device.

    Attributes:
        step: its number, from 1.
        lr: its learning rate.
        logged: whether its metrics are means over all ranks, to be logged.
        numbers: ``stop``, ``save`` and ``bad``, agreed by all ranks, and the metrics.
    """

    step: int
    lr: float
    logged: bool
    numbers: Readback

    def outcome(self) -> tuple[Verdict, dict[str, Any]]:
        """What all ranks do, and the metrics; waits for the step if need be.

        Raises:
            InputProblem: the loss or the gradient was not finite on some rank, so that no rank was updated.
        """
        values = self.numbers.read()
        stop, save, bad = (values.pop(name) for name in ("stop", "save", "bad"))
        loss, norm = values.pop("loss"), values.pop("grad_norm")
        assert isinstance(loss, float)
        assert isinstance(norm, float)
        if bad:
            raise refuse_non_finite(self.step, loss, norm)
        shown = {k: [round(x, _SHARE_DIGITS) for x in v] if isinstance(v, list) else v for k, v in values.items()}
        return Verdict(bool(stop), bool(save)), {"loss": loss, "grad_norm": norm, "lr": self.lr, **shown}


@dataclass
class Trainer:
    """A run in progress on one process.

    Attributes:
        ranks: this process's place.
        plan: the run's numbers.
        path: the run's folder.
        model: the weights, unwrapped.
        wrapped: the model, in DistributedDataParallel where there are several ranks.
        loss: from a batch to a loss.
        optimiser: over the model's parameters.
        state: what checkpoints hold.
        precision: number format.
        average: of the weights; None without --ema.
        step: optimiser steps launched.
    """

    ranks: Ranks
    plan: Plan
    path: Path
    model: ContrastiveModel
    wrapped: nn.Module
    loss: PairLoss
    optimiser: Optimizer
    state: TrainingState
    precision: Precision
    average: MovingAverage[ContrastiveModel] | None = None
    step: int = 0

    @property
    def ahead(self) -> int:
        """Steps that the host launches before it knows how the one before went.

        One, where the optimiser itself skips the update on the device (torch's fused ones do); else none.
        """
        return 1 if getattr(self.optimiser, "_step_supports_amp_scaling", False) else 0

    @property
    def learned(self) -> Encoder:
        """The encoder that would be written now: the average where there is one."""
        return self.model.encoder if self.average is None else self.average.net.encoder

    def run(
        self, dataset: PairDataset, config: "PretrainConfig", console: Console, probe: PoseProbe | None = None
    ) -> None:
        """All remaining steps, with metrics, probes, checkpoints and orderly ends."""
        plan, ranks = self.plan, self.ranks
        steps = StepBatches(
            plan.pairs,
            plan.batch_size,
            plan.total_steps,
            config.seed,
            ranks.rank,
            ranks.world_size,
            self.step,
            optimisation_of(config).sampling,
        )
        self.wrapped.train()
        with ExitStack() as held:
            signals = held.enter_context(StopSignals())
            held.enter_context(killed_workers())
            log = held.enter_context(self._open_log(config)) if ranks.is_main else None
            ticker = held.enter_context(console.progress("pretrain", len(steps) * 2 * plan.batch_size, "views"))
            report = _Report(plan, log, ticker, console)
            # The first one, or that of the step after which the run was stopped.
            if plan.probes_after(self.step) and self._probe(probe, log, signals):
                raise KeyboardInterrupt(f"nothing new to save after step {self.step}")
            launched: deque[LaunchedStep] = deque()
            clock = _SaveClock(config.checkpoint_every, plan.total_steps)
            for batch in pair_batches(dataset, steps, ranks, config.loader_workers(ranks)):
                due = clock.due(self.step + 1)
                late = ranks.is_main and clock.late(self.step + 1)
                launched.append(self._learn(batch, config.grad_clip, signals, save=due or late))
                del batch  # on a GPU it is large, and the next one is about to come
                probing = plan.probes_after(self.step)
                verdict = report.settle(launched, keep=0 if due or probing else self.ahead)
                if verdict.save or verdict.stop:
                    report.settle(launched)  # what is saved is known to be good
                    with clock.saving():
                        self._save(log)
                stop = verdict.stop
                if probing and not stop:  # after the save: a run that goes on makes up for a missing probe
                    stop = self._probe(probe, log, signals)
                    report.skip_time()
                    if stop and not verdict.save:
                        self._save(log)
                if stop:
                    raise KeyboardInterrupt(f"saved after step {self.step}")

    def _open_log(self, config: "PretrainConfig") -> MetricsLog:
        trackers = open_trackers(config.log, self.path, self.step, resolved(config).model_dump(mode="json"))
        return MetricsLog(self.path / "metrics.jsonl", self.step, trackers)

    def _save(self, log: MetricsLog | None) -> None:
        if log is not None:
            log.sync()
        self.state.save(self.path, self.step, self.ranks, {"epoch": self.step / self.plan.steps_per_epoch})

    def _probe(self, probe: PoseProbe | None, log: MetricsLog | None, signals: StopSignals) -> bool:
        """Measure the encoder and log it, unless that was done; on rank 0 alone, while the others wait for it.

        Returns:
            on every rank, whether the run is to stop; the probe is then given up between two of its batches.
        """
        if probe is not None and log is not None and not log.has(self.step, PROBED):
            with suppress(ProbeStopped):
                values = probe.measure(self.learned, self.ranks.device, lambda: signals.requested)
                log.write(self.step, {"epoch": self.step / self.plan.steps_per_epoch, **values})
        return self.ranks.maximum([float(signals.requested)])[0] > 0

    def _learn(self, batch: PairBatch, grad_clip: float | None, signals: StopSignals, *, save: bool) -> LaunchedStep:
        """Launch one optimiser step; nothing is updated if any rank's loss or gradient is not finite."""
        plan = self.plan
        lr = warmup_cosine(self.step, plan.total_steps, plan.warmup_steps, plan.peak_lr)
        set_lr(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        scaler = self.state.scaler
        loss, metrics = backward_in_parts(self.loss, self.wrapped, batch, plan.part_pairs, scaler)
        scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), grad_clip or math.inf)
        # With fp16 an overflowing gradient is the scaler's business: it skips the step and lowers the scale.
        good = torch.isfinite(loss) & (torch.isfinite(norm) | scaler.is_enabled())
        flags = torch.stack([norm.new_full((), float(flag)) for flag in (signals.requested, save)] + [(~good).to(norm)])
        stop, save_all, bad = reduce_over_ranks(flags, dist.ReduceOp.MAX).unbind()
        step = self.step + 1
        logged = step % plan.log_every == 0 or step in (1, plan.total_steps)
        values = {"loss": loss, "grad_norm": norm, **metrics}
        if logged:
            values = _means(values)
        numbers = Readback({"stop": stop, "save": save_all, "bad": bad, **values})
        launched = LaunchedStep(step, lr, logged, numbers)
        if not self.ahead:
            launched.outcome()  # raises before the update
        with _unless(bad, self.optimiser if self.ahead and not scaler.is_enabled() else None):
            scaler.step(self.optimiser)
        scaler.update()
        self.step = step
        if self.average is not None:
            self.average.update(self.model, step)
        return launched


class _SaveClock:
    """When checkpoints are written. Every rank knows which step is due; rank 0 alone looks at the time."""

    def __init__(self, every: int | None, total_steps: int) -> None:
        self._every, self._total_steps = every, total_steps
        self._saved_at, self._cost_s = time.monotonic(), 0.0

    def due(self, step: int) -> bool:
        """Whether every rank knows that there is a checkpoint after this step."""
        return step == self._total_steps or (self._every is not None and step % self._every == 0)

    def late(self, step: int) -> bool:
        """Whether this process would like one by its clock."""
        passed = time.monotonic() - self._saved_at
        cheap = self._cost_s <= SAVE_SHARE * passed
        return passed > SAVE_EVERY_S or (self._every is None and step % SAVE_EVERY_STEPS == 0 and cheap)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of one, to know what it costs."""
        start = time.monotonic()
        yield
        self._saved_at = time.monotonic()
        self._cost_s = self._saved_at - start


class _Report:
    """What is said of steps whose numbers have arrived: progress, and lines of metrics."""

    def __init__(self, plan: Plan, log: MetricsLog | None, ticker: Ticker, console: Console) -> None:
        self._plan, self._log, self._ticker, self._console = plan, log, ticker, console
        self._settled_at = time.monotonic()
        self._alike = 0

    def settle(self, launched: deque[LaunchedStep], keep: int = 0) -> Verdict:
        """Tell of all but the newest ``keep`` steps.

        Returns:
            what the ranks are to do because of any of them.

        Raises:
            InputProblem: a loss or gradient was not finite.
        """
        settled = [launched.popleft() for _ in range(len(launched) - keep)]
        if not settled:
            return Verdict()
        settled[-1].numbers.read()  # the last to arrive
        # From one time to the next, so that waiting for the loader counts.
        before, self._settled_at = self._settled_at, time.monotonic()
        views_per_s = 2 * self._plan.batch_size * len(settled) / max(self._settled_at - before, 1e-9)
        verdicts = []
        for step in settled:
            verdict, metrics = step.outcome()
            verdicts.append(verdict)
            self._tell(step, metrics, views_per_s)
        return Verdict(stop=any(v.stop for v in verdicts), save=any(v.save for v in verdicts))

    def skip_time(self) -> None:
        """What was done since the last step does not count for the speed."""
        self._settled_at = time.monotonic()

    def _tell(self, step: LaunchedStep, metrics: dict[str, Any], views_per_s: float) -> None:
        if step.logged and self._log is not None:
            epoch = step.step / self._plan.steps_per_epoch
            self._log.write(step.step, {"epoch": epoch, **metrics, "views_per_s": round(views_per_s, 2)})
            self._watch_for_collapse(step.step, metrics["negative_similarity"])
        self._ticker.advance(2 * self._plan.batch_size, f"loss {metrics['loss']:.3f}")

    def _watch_for_collapse(self, step: int, negative_similarity: float) -> None:
        """Warn once, when for a while after the warm-up all features have been the same."""
        if step <= self._plan.warmup_steps or self._alike >= _ALIKE_LINES:
            return
        self._alike = self._alike + 1 if negative_similarity > _ALIKE else 0
        if self._alike == _ALIKE_LINES:
            self._console.warn(
                f"after step {step} all hands have nearly the same features (similarity {negative_similarity:.3f}), so "
                "nothing is being learned; stop, and try --init with trained weights, a lower --lr, or "
                "--loss.similarities centred"
            )


def _means(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means over all ranks of small tensors, by one exchange."""
    sizes = [value.numel() for value in values.values()]
    flat = torch.cat([value.detach().double().reshape(-1) for value in values.values()])
    parts = torch.split(reduce_over_ranks(flat) / world()[1], sizes)
    return {name: part.reshape(value.shape) for (name, value), part in zip(values.items(), parts, strict=True)}


@contextmanager
def _unless(bad: Tensor, optimiser: Optimizer | None) -> Iterator[None]:
    """Within, the optimiser skips its update where ``bad`` is 1: the device decides, the host does not wait for it.

    This is how torch's loss scaler tells its fused optimisers of infinite gradients (``found_inf``).
    """
    if optimiser is None:
        yield
        return
    optimiser.found_inf = bad.float()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del optimiser.found_inf  # type: ignore[attr-defined]
