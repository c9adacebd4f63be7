"""Where stored crops are decoded: by the loader's processes or on the GPU, whichever is measured to feed it faster."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from simhand_cli.errors import EnvironmentProblem, SimhandError
from simhand_cli.pretrain.pairs.pair_batch import Jpegs
from simhand_cli.training.processes.ranks import Ranks

DecodePlace = Literal["workers", "gpu"]
DecodeOption = Literal["auto", "workers", "gpu"]
#: The GPU's decoder rounds differently than the CPU's; a mean difference beyond so many of 255 levels is a fault.
TOLERATED_LEVELS = 4.0


@dataclass(frozen=True)
class Decoding:
    """Where a run decodes, and why, for environment.json."""

    name: DecodePlace
    reason: str


def choose_decoding(
    requested: DecodeOption,
    ranks: Ranks,
    workers: int,
    sample: Callable[[], Jpegs],
    crops_per_s: Callable[[], float],
    earlier: DecodePlace | None = None,
) -> Decoding:
    """Where a run decodes; the same on every rank.

    ``auto`` measures on a GPU. A resumed run keeps its ``earlier`` choice, since the decoders round differently.

    Args:
        requested: the user's option.
        ranks: this process's place.
        workers: loader processes of each training process, 0 if crops are decoded in place.
        sample: some crops as they are stored.
        crops_per_s: how many crops a second the network's steps use up, measured when called.
        earlier: the choice of the run that is being resumed.

    Raises:
        EnvironmentProblem: decoding on the GPU was asked for, and this GPU or this torchvision cannot.
    """
    # Asked for or not: the command refuses --decode gpu without a GPU before this.
    if not ranks.device.startswith("cuda"):
        return Decoding("workers", "there is no GPU")
    if requested == "workers":
        return Decoding("workers", "asked for")
    if requested == "auto" and earlier is not None:
        return Decoding(earlier, "kept from the start of this run")
    # One rank measures for all: pixels must not depend on the rank that decodes them.
    told = _told_by_main(requested, ranks.device, workers, sample, crops_per_s) if ranks.is_main else ""
    name, _, reason = ranks.from_main(told).partition("|")
    if name == "impossible":
        raise EnvironmentProblem(f"--decode gpu: {reason}; use --decode workers")
    return Decoding("gpu" if name == "gpu" else "workers", reason)


def _told_by_main(
    requested: DecodeOption, device: str, workers: int, sample: Callable[[], Jpegs], crops_per_s: Callable[[], float]
) -> str:
    """``name|reason``; the name is ``impossible`` where what was asked for cannot be had."""
    jpegs = sample()
    fault, cpu_per_s, gpu_per_s = measure_decoders(jpegs, device)
    if requested == "gpu":
        return f"impossible|{fault}" if fault else "gpu|asked for"
    if fault:
        return f"workers|{fault}"
    return faster(cpu_per_s, gpu_per_s, crops_per_s(), workers)


def measure_decoders(jpegs: Jpegs, device: str) -> tuple[str, float, float]:
    """What is wrong with the GPU's decoder (empty if nothing), and crops a second of one core and of the GPU."""
    try:
        by_cpu, cpu_per_s = _timed(jpegs.by_cpu)
        by_gpu, gpu_per_s = _timed(lambda: _waited_for(jpegs.by_gpu(device)))
    except SimhandError as problem:  # a damaged crop is told of where it is used
        return str(problem), 0.0, 0.0
    except (RuntimeError, ImportError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return f"this machine cannot ({lines[0]})", 0.0, 0.0
    # A mean, since single pixels at edges differ by more where decoders smooth chroma differently.
    levels = float((by_cpu.float() - by_gpu.cpu().float()).abs().mean())
    fault = f"its pixels are {levels:.1f} of 255 levels off the CPU's" if levels > TOLERATED_LEVELS else ""
    return fault, cpu_per_s, gpu_per_s


def faster(cpu_per_s: float, gpu_per_s: float, step_per_s: float, workers: int) -> str:
    """``name|reason`` from crops a second: of one core, of the GPU's decoder, and of the steps that use them up.

    The loader's processes work beside the step, so the slower of the two sets the pace. A GPU that decodes does not
    train meanwhile, nor does a process without a loader: there the times add up.
    """
    by_workers = min(step_per_s, workers * cpu_per_s) if workers else 1 / (1 / cpu_per_s + 1 / step_per_s)
    on_gpu = 1 / (1 / gpu_per_s + 1 / step_per_s)
    reason = f"measured: {by_workers:.0f} crops a second with the loader decoding, {on_gpu:.0f} with the GPU decoding"
    return f"{'gpu' if on_gpu > by_workers else 'workers'}|{reason}"


def _timed(decode: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What it returns, and crops a second in the fastest of some calls after one to warm up."""
    # The first call also opens the decoder.
    images, times = decode(), []
    for _ in range(3):
        start = time.perf_counter()
        images = decode()
        times.append(time.perf_counter() - start)
    return images, len(images) / min(times)


def _waited_for(images: Tensor) -> Tensor:
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return images
