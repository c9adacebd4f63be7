"""Where the time of a pre-training step goes, what checkpoints cost, and what two processes do on the same cores.

Usage: python benchmarks/pretrain_steps.py WORKSPACE [--rounds 3] [--steps 6] [--device cpu]

WORKSPACE has mined pairs. Every part of a step is timed by itself on batches of the loader: fetching (which loader
processes do beside the step), views, forward, loss, backward, the optimiser's update. A checkpoint is written as the
loop writes it; its share is of the time between two checkpoints at the default options. One process and two gloo
processes, which share the cores, run `simhand pretrain` in turn with the same global batch, and with one four times as
large; their rates are the medians of what metrics.jsonl says, after the first steps. Writes
benchmarks/results/pretrain_steps.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from in_turn import in_turn, ratio
from pretrain_throughput import WARM, Stepper, arguments, write

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.pairs.epoch_order import StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.pretrain.worker import load_table
from simhand_cli.training.loader_workers import single_threaded_opencv
from simhand_cli.training.state.training_state import TrainingState
from simhand_cli.training.step.save_clock import SAVE_EVERY_S, SAVE_EVERY_STEPS
from simhand_cli.workspace.paths import Workspace

Result = TypeVar("Result")
#: Two processes are also compared with so many times the batch: each updates all weights after every step, and sends
#: their gradients, so the larger the batch the less that costs.
_FEWER_UPDATES = 4


class Stopwatch:
    """Seconds of named parts; waits for the device before it looks at the clock."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self.seconds: dict[str, list[float]] = {}

    def time(self, part: str, work: Callable[[], Result]) -> Result:
        """Do the work and note how long it took."""
        start = self._now()
        result = work()
        self.seconds.setdefault(part, []).append(self._now() - start)
        return result

    def medians_ms(self, skipped: int) -> dict[str, float]:
        """Of every part, without the first few."""
        return {part: round(1e3 * statistics.median(found[skipped:]), 2) for part, found in self.seconds.items()}

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def parts_of_a_step(stepper: Stepper, workspace: Workspace, steps: int) -> dict[str, float]:
    """Milliseconds of every part, and of the whole step."""
    config, device = stepper.config, stepper.ranks.device
    watch, table = Stopwatch(device), load_table(workspace, config)
    dataset = PairDataset(table, workspace.crops_dir, 0)
    stepper.model.train()
    for request in islice(StepBatches(len(table), config.batch_size, 10_000, 0), steps + WARM):
        fetched = watch.time("fetch, by the loader beside the step", lambda: dataset.__getitems__(request))  # noqa: B023
        assert isinstance(fetched, PairBatch)
        batch = watch.time("copy to the device", lambda: fetched.to(device))  # noqa: B023
        watch.time("views", lambda: stepper.loss.draw_views(batch))  # noqa: B023
        projected = watch.time("views and forward", lambda: stepper.loss.project(stepper.model, batch))  # noqa: B023
        loss, _ = watch.time("loss", lambda: stepper.loss.compare(projected, batch))  # noqa: B023
        watch.time("backward", lambda: stepper.scaler.scale(loss).backward())  # noqa: B023
        watch.time("update", lambda: stepper.scaler.step(stepper.optimiser))
        stepper.scaler.update()
        stepper.optimiser.zero_grad(set_to_none=True)
    found = watch.medians_ms(WARM)
    found["forward"] = round(found.pop("views and forward") - found["views"], 2)
    step = sum(ms for part, ms in found.items() if not part.startswith("fetch"))
    return {**found, "step": round(step, 2)}


def checkpoint(stepper: Stepper, step_ms: float) -> dict[str, float]:
    """Seconds that the loop waits for a checkpoint, and which share that is of the time between two."""
    state = TrainingState({"model": stepper.model}, stepper.optimiser, stepper.scaler)
    waited = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            start = time.perf_counter()
            state.save(Path(folder), number + 1, stepper.ranks, {})
            waited.append(time.perf_counter() - start)
    wait_s = statistics.median(waited[1:])
    between_s = min(SAVE_EVERY_STEPS * step_ms / 1e3, SAVE_EVERY_S)
    return {
        "seconds waited": round(wait_s, 3),
        "seconds between two": round(between_s, 1),
        "share of the time": round(wait_s / between_s, 5),
    }


def command_rate(given: argparse.Namespace, encoder: str, pairs: int, processes: int) -> float:
    """Views a second of the whole command, by its own log."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        for entry in given.workspace.iterdir():
            if entry.name != "runs":
                (workspace / entry.name).symlink_to(entry.resolve())
        words = (
            "pretrain", "--backbone", encoder, "--batch-size", pairs, "--max-steps", given.steps + WARM,
            "--gpus", 0, "--cpu-ranks", processes, "--probe-every", 0, "--log-every", 1, "--name", "rate",
            "--workspace", workspace,
        )  # fmt: skip
        subprocess.run([sys.executable, "-m", "simhand_cli", *map(str, words)], check=True, capture_output=True)
        lines = (workspace / "runs" / "pretrain-rate" / "metrics.jsonl").read_text().splitlines()
    return statistics.median(json.loads(line)["views_per_s"] for line in lines[WARM:])


def measure(encoder: str, given: argparse.Namespace) -> dict[str, Any]:
    """Everything of one encoder."""
    config = PretrainConfig(workspace=given.workspace, backbone=encoder, batch_size=given.batch_size)
    stepper = Stepper(config, given.device)
    parts = parts_of_a_step(stepper, Workspace.open(given.workspace), given.steps)
    found: dict[str, Any] = {
        "precision": stepper.precision.name,
        "milliseconds": parts,
        "checkpoint": checkpoint(stepper, parts["step"]),
    }
    if given.device == "cpu":
        found["processes"] = {
            f"{pairs} pairs a step": processes(given, encoder, pairs)
            for pairs in (given.batch_size, _FEWER_UPDATES * given.batch_size)
        }
    return found


def processes(given: argparse.Namespace, encoder: str, pairs: int) -> dict[str, Any]:
    """Rates of the command on one and on two processes, with the same global batch."""
    loops = {f"{n} process{'es' if n > 1 else ''}": n for n in (1, 2)}
    rates = in_turn(
        {name: lambda n=n: command_rate(given, encoder, pairs, n) for name, n in loops.items()},
        given.rounds,
        f"{encoder}, {pairs} pairs",
    )
    return {"views a second": rates, "2 processes / 1 process": ratio(rates, "2 processes", "1 process")}


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__)
    with single_threaded_opencv():
        results = {name: measure(name, given) for name in given.encoders}
    write("pretrain_steps", given, results)


if __name__ == "__main__":
    main()
