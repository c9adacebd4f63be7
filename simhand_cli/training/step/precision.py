"""Which number format a run computes in, and the automatic choice of it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.workspace.atomic import read_document, write_json
from simhand_cli.workspace.cores import busy_cores, busy_words

PrecisionName = Literal["fp32", "bf16", "fp16", "fp64"]
PrecisionOption = Literal["auto", "fp32", "bf16", "fp16", "fp64"]
_NAMES: tuple[PrecisionName, ...] = get_args(PrecisionName)
#: bf16 must be this many times as fast as fp32 on a CPU to be chosen: less is within the noise of the measurement, and
#: two runs that compute differently cannot be compared.
CPU_GAIN = 1.25
#: Why a format was chosen without a measurement.
AS_USUAL = "as measured for earlier runs of this workspace"
#: Trial steps of each format at least, and as many more as fit into so many seconds.
_TRIALS, _TRIAL_S, _MOST_TRIALS = 3, 0.3, 20
#: The same beside busy programs.
_DISTURBED_S = 1.5


@dataclass(frozen=True)
class Precision:
    """The number format of a run.

    Attributes:
        name: ``fp32``; ``bf16``/``fp16``: mixed, weights stay fp32; ``fp64``: everything in double, for proofs.
        reason: why it was chosen, for environment.json.
    """

    name: PrecisionName
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and of the inputs."""
        return torch.float64 if self.name == "fp64" else torch.float32

    def autocast(self, device: str) -> AbstractContextManager[object]:
        """Context for the forward pass."""
        reduced = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        # autocast wants a type even where it is off.
        return torch.autocast(device.split(":")[0], dtype=reduced or torch.bfloat16, enabled=reduced is not None)

    def scaler(self, device: str) -> torch.amp.GradScaler:
        """The loss scaler: active for fp16, transparent otherwise."""
        # bf16 has the range of fp32, so that only fp16's small gradients need it.
        return torch.amp.GradScaler(device.split(":")[0], enabled=self.name == "fp16")


def precision_name(word: object) -> PrecisionName | None:
    """The name of a number format, if a word that was read is one."""
    return next((name for name in _NAMES if name == word), None)


def choose_precision(
    requested: PrecisionOption,
    ranks: Ranks,
    trial_step: Callable[[Precision], object],
    earlier: PrecisionName | None = None,
    usual: PrecisionName | None = None,
) -> Precision:
    """The precision of a run; the same on every rank.

    ``auto`` takes bf16 on GPUs that have it, and on a CPU measures a few steps in fp32 and in bf16 and takes bf16 only
    if it is clearly faster. A resumed run keeps its ``earlier`` choice whatever a new measurement would say, and a new
    run on a CPU takes the ``usual`` one.

    Args:
        requested: the user's option.
        ranks: this process's place.
        trial_step: does forward and backward of one representative batch in a given precision; must leave no trace.
        earlier: the choice of the run that is being resumed.
        usual: what was measured for earlier trainings of the kind (:mod:`simhand_cli.training.step.precision`).

    Raises:
        EnvironmentProblem: the device cannot compute in the requested format.
    """
    if requested != "auto":
        _check(requested, ranks.device)
        return Precision(requested, "asked for")
    # A run must not change its format in the middle, nor may its curve.
    if earlier is not None:
        _check(earlier, ranks.device)
        return Precision(earlier, "kept from the start of this run")
    if ranks.device.startswith("cuda"):
        # Emulated bf16 is slower than fp32.
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "the GPU computes in bf16")
        return Precision("fp32", "the GPU has no bf16")
    decision = ""
    # One rank measures and all obey: their timings would differ.
    if ranks.is_main:
        decision = f"{usual}|{AS_USUAL}" if usual else _measure_on_cpu(trial_step)
    name, _, reason = ranks.from_main(decision).partition("|")
    return Precision("bf16" if name == "bf16" else "fp32", reason)


def _check(name: PrecisionName, device: str) -> None:
    if name == "fp16" and device == "cpu":
        raise EnvironmentProblem("--precision fp16 needs a GPU; use bf16, fp32 or auto on the CPU")
    if name == "bf16" and device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise EnvironmentProblem("--precision bf16: this GPU has no bf16; use fp16, fp32 or auto")


def _measure_on_cpu(trial_step: Callable[[Precision], object]) -> str:
    """Time both formats by turns, so that what else runs on the machine disturbs them alike."""
    formats = (Precision("fp32", ""), Precision("bf16", ""))
    disturbed = busy_words(busy_cores())
    trial_s = _DISTURBED_S if disturbed else _TRIAL_S  # the fastest of more trials is one that was let alone
    times: list[list[float]] = []
    start = time.perf_counter()
    while len(times) < _TRIALS or (time.perf_counter() - start < trial_s and len(times) < _MOST_TRIALS):
        times.append([shortest_s(trial_step, one, repeats=1, warm=not times) for one in formats])
    # The fastest trials: others on the machine make steps slower, never faster.
    fp32_s, bf16_s = (min(column) for column in zip(*times, strict=True))
    name = "bf16" if fp32_s > CPU_GAIN * bf16_s else "fp32"
    found = f"{name}|measured {1e3 * fp32_s:.0f} ms in fp32 and {1e3 * bf16_s:.0f} ms in bf16 on the CPU"
    return f"{found} {disturbed}" if disturbed else found


def shortest_s(
    trial_step: Callable[[Precision], object], precision: Precision, repeats: int = 3, *, warm: bool = True
) -> float:
    """Seconds of the fastest of some trial steps, which others disturb least; ``warm``: after one that is not timed."""
    if warm:
        trial_step(precision)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        trial_step(precision)
        times.append(time.perf_counter() - start)
    return min(times)


#: In the folder of the runs.
USUAL_FILE = "cpu-precision.json"


def usual_precision(runs: Path, network: str) -> PrecisionName | None:
    """What earlier trainings of such a network were measured to be fastest in, on a machine like this; None at first.

    Args:
        runs: folder of the workspace's runs.
        network: what is trained, as :func:`keep_usual_precision` was told.
    """
    names: dict[str, PrecisionName] = {"fp32": "fp32", "bf16": "bf16"}
    return names.get(str(read_document(runs / USUAL_FILE).get(_kind(network))))


def keep_usual_precision(runs: Path, network: str, precision: Precision) -> None:
    """Note what was measured, if nothing is noted yet; the main process alone calls it."""
    known = read_document(runs / USUAL_FILE)
    # The first measurement stands, so that the runs of a workspace can be compared.
    if _kind(network) not in known:
        write_json(runs / USUAL_FILE, {**known, _kind(network): precision.name})


def _kind(network: str) -> str:
    # Whatever changes the ratio of both formats' speeds: network, threads, instruction set.
    return f"{network} on {torch.get_num_threads()} threads of {torch.backends.cpu.get_cpu_capability()}"
