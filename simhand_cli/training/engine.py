"""The training engine: opens or resumes a run, takes its steps, saves, logs, measures, and ends in an orderly way."""

import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from simhand_cli.console import Console, Ticker
from simhand_cli.stages.run_folder import REPLACED, RunDir, open_run
from simhand_cli.training.loader_workers import killed_workers, single_threaded_opencv
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.training.log.trackers import open_trackers
from simhand_cli.training.processes.gather import reduce_over_ranks
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.environment import ENVIRONMENT_FILE, record_start, recorded_choices
from simhand_cli.training.state.training_state import TrainingState, seed_generators
from simhand_cli.training.step.async_metrics import Readback
from simhand_cli.training.step.compile import check_compiler, compile_model
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.launched import LaunchedStep, means_over_ranks, runs_ahead, skipped_if
from simhand_cli.training.step.optimisers import build_optimiser, set_lr
from simhand_cli.training.step.precision import (
    Precision,
    choose_precision,
    keep_usual_precision,
    precision_name,
    usual_precision,
)
from simhand_cli.training.step.save_clock import SaveClock
from simhand_cli.training.step.stop import StopSignals, Verdict
from simhand_cli.training.step.sync_batch_norm import synchronise_batch_norm
from simhand_cli.training.task import Batch, Net, Network, SettledStep, Task
from simhand_cli.workspace.lock import workspace_lock

METRICS_FILE = "metrics.jsonl"


def train(ranks: Ranks, task: Task[Net, Batch], *, quiet: bool) -> dict[str, Any]:
    """Train, or go on with, one run; every process calls it with its own ``ranks`` and task.

    Rank 0 alone writes files, which all must be able to read.

    Returns:
        on rank 0 the content of result.json, and ``skipped`` True if the run was finished before; elsewhere nothing.

    Raises:
        SimhandError: another process in this run, other options, a loss that is not finite, a lost loader process.
        KeyboardInterrupt: stopped by a signal, after saving.
    """
    with ExitStack() as held:
        # Before any loader forks: a thread pool of OpenCV does not survive that.
        held.enter_context(single_threaded_opencv())
        # Around everything, since torch tells of a dead worker by a signal at any moment.
        held.enter_context(killed_workers())
        console = Console(quiet=quiet or not ranks.is_main)
        run, earlier = _open_on_main(ranks, task, held)
        if run.replaced:
            console.say(REPLACED)
        # Finished before: nothing is built, so that a rerun costs seconds and needs no GPU.
        if run.result is not None:
            return {**run.result, "skipped": True} if ranks.is_main else {}
        engine = Engine.started(ranks, task, run, earlier, console)
        engine.run(console)
        result = task.finish(run, engine.network, console)
        # No process leaves while rank 0 still writes: its end would look like a lost peer.
        ranks.barrier()
        return result


def _open_on_main(ranks: Ranks, task: Task[Net, Batch], held: ExitStack) -> tuple[RunDir, dict[str, str]]:
    """Lock and open the run's folder on rank 0 and tell the others what was found: they might see older files.

    Returns:
        the run, and what the start that it goes on from has chosen.
    """
    place = task.place
    found = ""
    if ranks.is_main:
        held.enter_context(workspace_lock(place.path, task.stage))
        run = open_run(place.path, place.identity, redo=place.redo, job=ranks.job)
        # A finished run keeps its descriptions as they were.
        if run.result is None:
            task.describe(place.path)
        # Without a checkpoint the run begins anew, and may choose anew.
        chosen = recorded_choices(place.path / ENVIRONMENT_FILE) if run.checkpoint else {}
        found = json.dumps({
            "checkpoint": run.checkpoint and str(run.checkpoint), "result": run.result, "replaced": run.replaced,
            "chosen": chosen,
        })  # fmt: skip
    # One reading for all: on a network's file system two processes can see different newest checkpoints.
    told = json.loads(ranks.from_main(found))
    checkpoint = told["checkpoint"] and Path(told["checkpoint"])
    return RunDir(place.path, checkpoint, told["result"], told["replaced"]), told["chosen"]


def _choose_precision(
    ranks: Ranks, task: Task[Net, Batch], model: Net, earlier: Mapping[str, str], console: Console
) -> Precision:
    # What was measured holds for the workspace, so it lies beside the runs.
    options, runs = task.options, task.place.path.parent
    kind = task.network_kind(model)
    usual = usual_precision(runs, kind)
    kept = precision_name(earlier.get("precision"))
    measured = ranks.device == "cpu" and options.precision == "auto" and kept is None
    if measured and usual is None:  # beside other programs it takes seconds
        console.say(f"{task.stage}: measuring whether bf16 is faster than fp32 here (--precision auto)")
    precision = choose_precision(options.precision, ranks, task.trial(model), kept, usual)
    if ranks.is_main and ranks.device == "cpu" and options.precision == "auto":
        keep_usual_precision(runs, kind, precision)
    return precision


class Engine(Generic[Net, Batch]):
    """A run in progress on one process.

    Attributes:
        network: what is trained.
        optimiser: over the model's parameters.
        state: what checkpoints hold.
    """

    def __init__(
        self,
        ranks: Ranks,
        task: Task[Net, Batch],
        network: Network[Net],
        optimiser: torch.optim.Optimizer,
        state: TrainingState,
    ) -> None:
        self._ranks, self._task = ranks, task
        self.network, self.optimiser, self.state = network, optimiser, state
        self._lr = 0.0

    @classmethod
    def started(
        cls, ranks: Ranks, task: Task[Net, Batch], run: RunDir, earlier: Mapping[str, str], console: Console
    ) -> "Engine[Net, Batch]":
        """Model, optimiser and everything a checkpoint brings back."""
        options = task.options
        if options.compile:
            check_compiler(ranks.device)
        model = task.build(console, fresh=run.checkpoint is None)
        model.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        # On the device and before DDP: the trial steps are to be fast and to exchange nothing.
        precision = _choose_precision(ranks, task, model, earlier, console)
        choices = task.choose(model, precision, earlier)
        if options.sync_bn:  # only now: rank 0 alone runs the trial steps, and would wait for the others' statistics
            synchronise_batch_norm(model, ranks)
        model.to(precision.dtype)
        companions = task.companions(model)
        # After the norms are replaced and the type is set: DDP takes the parameters as they are at this moment.
        wrapped = DistributedDataParallel(model) if ranks.grouped else model
        optimiser = build_optimiser(options.optimiser, task.parameter_groups(model), task.lr(0))
        # Before the checkpoint is loaded, which fills the average too.
        average = MovingAverage(model, options.ema) if options.ema else None
        scaler = precision.scaler(ranks.device)
        modules = {task.model_name: model, **companions, **({"average": average.net} if average else {})}
        network = Network(model, wrapped, precision, scaler, average, companions)
        engine = cls(ranks, task, network, optimiser, TrainingState(modules, optimiser, scaler))
        if options.compile:
            compile_model(wrapped)
        # Building, trials and compiling have drawn random numbers; from here on they are the run's.
        seed_generators(options.generator_seed)
        if run.checkpoint is not None:
            values = engine.state.load(run.checkpoint, ranks)
            # Steps launched, not batches seen: batches follow from the step alone.
            network.step = int(values["step"])
            task.restore(values)
            console.say(f"going on after step {network.step} of {task.length.total_steps} ({run.path})")
        if ranks.is_main:
            record_start(run.path / ENVIRONMENT_FILE, ranks, precision, network.step, choices)
        task.begin(network, console)
        return engine

    @property
    def ahead(self) -> int:
        """Steps that the host launches before it knows how the one before went.

        One, where the optimiser itself skips the update on the device (torch's fused ones do); else none.
        """
        return 1 if runs_ahead(self.optimiser) else 0

    def run(self, console: Console) -> None:
        """All remaining steps, with metrics, measurements, checkpoints and orderly ends."""
        task, ranks, network, length = self._task, self._ranks, self.network, self._task.length
        if task.gives_up(network.step):  # decided before the stop, and saved with it
            return
        network.wrapped.train()
        # Loader processes start and the first step is the slowest, so the bar may stand still for a while.
        steps, items = length.total_steps - network.step, f"{length.items_per_step} {task.unit}"
        if steps > 0:  # none are left of a run that was killed after its last checkpoint
            console.say(f"{task.stage}: {steps} steps of {items} to take; the first one begins")
        with ExitStack() as held:
            signals = held.enter_context(StopSignals())
            log = held.enter_context(self._open_log()) if ranks.is_main else None
            left = (length.total_steps - network.step) * length.items_per_step
            ticker = held.enter_context(console.progress(task.bar, left, task.unit))
            report = _Report(task, log, ticker, console)
            # The first one, or that of the step after which the run was stopped.
            if task.probes_after(network.step) and self._probe(log, signals):
                raise KeyboardInterrupt(f"nothing new to save after step {network.step}")
            self._steps(log, report, signals)

    def _steps(self, log: MetricsLog | None, report: "_Report", signals: StopSignals) -> None:
        task, network, length = self._task, self.network, self._task.length
        launched: deque[LaunchedStep] = deque()
        clock = SaveClock(task.options.checkpoint_every, length.total_steps, length.by_cost_steps)
        for batch in task.batches(network.step):
            # Asked before the step, since its answer travels with the step's own exchange.
            due = clock.due(network.step + 1)
            # Clocks differ: rank 0 alone looks, and the others learn of it by the exchange.
            late = self._ranks.is_main and clock.late(network.step + 1)
            launched.append(self._learn(batch, signals, save=due or late))
            del batch  # on a GPU it is large, and the next one is about to come
            measuring, probing = task.measures_after(network.step), task.probes_after(network.step)
            # Whatever is measured or saved must be known to be good; otherwise the host may be a step ahead.
            verdict = report.settle(launched, keep=0 if due or measuring or probing else self.ahead)
            if measuring:
                report.measured(task.measure(network, log, self._lr))
                network.wrapped.train()
            # Only after a measurement: nothing else changes the answer.
            given_up = measuring and task.gives_up(network.step)
            if verdict.save or verdict.stop or given_up:
                report.settle(launched)  # what is saved is known to be good
                with clock.saving():
                    self._save(log)
            stop = verdict.stop
            if probing and not stop:  # after the save: a run that goes on makes up for a missing probe
                stop = self._probe(log, signals)
                report.skip_time()
                if stop and not verdict.save:
                    self._save(log)
            if given_up:
                return
            if stop:
                raise KeyboardInterrupt(f"saved after step {network.step}")

    def _open_log(self) -> MetricsLog:
        path, options, step = self._task.place.path, self._task.options, self.network.step
        trackers = open_trackers(options.trackers, path, step, dict(options.described))
        return MetricsLog(path / METRICS_FILE, step, trackers)

    def _save(self, log: MetricsLog | None) -> None:
        if log is not None:
            log.sync()
        # For people who look into state.json; resuming goes by the step.
        epoch = self.network.step / self._task.length.steps_per_epoch
        self.state.save(self._task.place.path, self.network.step, self._ranks, {"epoch": epoch, **self._task.state()})

    def _probe(self, log: MetricsLog | None, signals: StopSignals) -> bool:
        """Have rank 0 measure while the others wait for it; on every rank, whether the run is to stop."""
        if log is not None:
            self._task.probe(self.network, log, lambda: signals.requested)
        # Also what brings the ranks together again after rank 0's measurement.
        return self._ranks.maximum([float(signals.requested)])[0] > 0

    def _learn(self, batch: Batch, signals: StopSignals, *, save: bool) -> LaunchedStep:
        """Launch one optimiser step; nothing is updated if any rank's loss or gradient is not finite."""
        task, network, scaler = self._task, self.network, self.network.scaler
        self._lr = task.lr(network.step)
        set_lr(self.optimiser, self._lr)
        # None instead of zeros: less memory, and a parameter without gradient is left alone.
        self.optimiser.zero_grad(set_to_none=True)
        loss, metrics = task.backward(network, batch)
        # Before clipping, or the limit would be in units of the loss scale.
        scaler.unscale_(self.optimiser)
        # Without a limit for its norm alone, which is logged and tells of a gradient that is not finite.
        norm = nn.utils.clip_grad_norm_(network.model.parameters(), task.options.grad_clip or torch.inf)
        # With fp16 an overflowing gradient is the scaler's business: it skips the step and lowers the scale.
        good = torch.isfinite(loss) & (torch.isfinite(norm) | scaler.is_enabled())
        # One exchange for all three: on many ranks each costs a round trip.
        flags = torch.stack([norm.new_full((), float(flag)) for flag in (signals.requested, save)] + [(~good).to(norm)])
        stop, save_all, bad = reduce_over_ranks(flags, dist.ReduceOp.MAX).unbind()
        step = network.step + 1
        logged = task.length.is_logged(step)
        values = {"loss": loss, "grad_norm": norm, **metrics}
        if logged:
            # Only where they are logged: another exchange for every step would be waste.
            values = means_over_ranks(values)
        numbers = Readback({"stop": stop, "save": save_all, "bad": bad, **values})
        launched = LaunchedStep(step, self._lr, logged, numbers)
        if not self.ahead:
            launched.outcome()  # raises before the update
        with skipped_if(bad, self.optimiser if self.ahead and not scaler.is_enabled() else None):
            scaler.step(self.optimiser)
        scaler.update()
        network.step = step
        if network.average is not None:
            network.average.update(network.model, step)
        task.updated(network)
        return launched


class _Report:
    """What is said of steps whose numbers have arrived: progress, and lines of metrics."""

    def __init__(self, task: Task[Any, Any], log: MetricsLog | None, ticker: Ticker, console: Console) -> None:
        self._task, self._log, self._ticker, self._console = task, log, ticker, console
        self._settled_at = time.monotonic()

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
        seconds = max(self._settled_at - before, 1e-9) / len(settled)
        verdicts = []
        for step in settled:
            verdict, metrics = step.outcome()
            verdicts.append(verdict)
            self._tell(SettledStep(step.step, metrics, step.logged, seconds))
        return Verdict(stop=any(v.stop for v in verdicts), save=any(v.save for v in verdicts))

    def measured(self, note: str) -> None:
        """Show what was measured; the time that took does not count for the speed."""
        self._ticker.advance(0, note)
        self.skip_time()

    def skip_time(self) -> None:
        """What was done since the last step does not count for the speed."""
        self._settled_at = time.monotonic()

    def _tell(self, settled: SettledStep) -> None:
        length, unit = self._task.length, self._task.unit
        if settled.logged and self._log is not None:
            epoch, speed = settled.step / length.steps_per_epoch, length.items_per_step / settled.seconds
            self._log.write(settled.step, {"epoch": epoch, **settled.metrics, f"{unit}_per_s": round(speed, 2)})
        self._ticker.advance(length.items_per_step, self._task.told(settled, self._console))
