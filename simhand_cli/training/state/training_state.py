"""The training state of a process, all of it, as named tensors and plain values, and back, exactly."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from simhand_cli.errors import InputProblem
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.checkpoint import load_checkpoint, save_checkpoint


@dataclass
class TrainingState:
    """Everything that changes while training, and that an exact resume has to bring back.

    Attributes:
        modules: name -> module (encoder, heads, EMA copies); unwrapped, not DDP.
        optimiser: its state is stored tensor by tensor; its options come from the config.
        scaler: the fp16 loss scaler; a disabled one otherwise.
    """

    modules: Mapping[str, nn.Module]
    optimiser: Optimizer
    scaler: torch.amp.GradScaler

    def save(self, run_dir: Path, step: int, ranks: Ranks, values: Mapping[str, Any], keep: int = 2) -> None:
        """Write the checkpoint of a step; called by every rank, written by rank 0.

        Args:
            run_dir: the run's folder.
            step: optimiser steps done so far.
            ranks: this process's place; random states of all ranks are stored.
            values: plain values to find again in :meth:`load`'s result.
            keep: number of newest checkpoints that stay.
        """
        # Before rank 0 alone goes on: all ranks have to take part.
        random_tensors = _gathered_random_states(ranks)
        if ranks.is_main:
            tensors: dict[str, Tensor] = dict(random_tensors)
            for name, module in self.modules.items():
                tensors.update({f"module.{name}.{key}": value for key, value in module.state_dict().items()})
            optimiser_tensors, optimiser_values = flatten_optimiser(self.optimiser)
            tensors.update(optimiser_tensors)
            state = {**values, "optimiser": optimiser_values, "scaler": self.scaler.state_dict()}
            save_checkpoint(run_dir, step, tensors, state, keep)
        # Nobody trains on while the file is being written, so that a stop finds all ranks at the same step.
        ranks.barrier()

    def load(self, folder: Path, ranks: Ranks) -> dict[str, Any]:
        """Bring everything back from a checkpoint.

        Returns:
            the plain values given to :meth:`save`, and ``step``.

        Raises:
            InputProblem: the checkpoint is damaged or belongs to another model.
        """
        tensors, state = load_checkpoint(folder)
        for name, module in self.modules.items():
            prefix = f"module.{name}."
            try:
                module.load_state_dict(
                    {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
                )
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise InputProblem(f"{folder} does not fit this model ({reason}); start over with --redo") from error
        restore_optimiser(self.optimiser, tensors, state.pop("optimiser"))
        self.scaler.load_state_dict(state.pop("scaler"))
        # Last, so that nothing that loading does can draw from them.
        restore_random_states(tensors, ranks.rank)
        return state


def flatten_optimiser(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """An optimiser's per-parameter state as named tensors and plain values (options are not part of it)."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    # By number, since an optimiser does not know its parameters' names.
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            else:
                # JSON knows only texts as keys.
                values.setdefault(str(index), {})[key] = value
    return tensors, values


def restore_optimiser(
    optimiser: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Mapping[str, Any]]
) -> None:
    """Undo :func:`flatten_optimiser` on an optimiser with the same parameters in the same order."""
    state: dict[int, dict[str, Any]] = {int(index): dict(inner) for index, inner in values.items()}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    # Rates and decays are the config's, not the checkpoint's.
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    # Fused updates walk through memory, so that moments must lie in it as their parameters do (channels last).
    for parameter, own in optimiser.state.items():
        for key, value in own.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                own[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _gathered_random_states(ranks: Ranks) -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state(), "numpy": _numpy_state(), "python": _python_state()}
    if ranks.device.startswith("cuda"):
        states["cuda"] = torch.cuda.get_rng_state()
    return {
        f"random.{kind}.{rank}": content
        for kind, own in states.items()
        # Each rank's dropout and the like are its own.
        for rank, content in enumerate(ranks.gather_bytes(own))
    }


def seed_generators(seed: int) -> None:
    """Start torch's, numpy's and Python's global generators from a seed (any int64)."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator is what is to be kept


def restore_random_states(tensors: Mapping[str, Tensor], rank: int) -> None:
    """Set torch's, numpy's and Python's generators as they were on this rank.

    A rank that the checkpoint does not know (more processes than before) keeps its fresh generators.
    """
    if (state := tensors.get(f"random.torch.{rank}")) is None:
        return
    torch.set_rng_state(state)
    # Left out where a run goes on without its GPU.
    if (cuda := tensors.get(f"random.cuda.{rank}")) is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)
    numpy_state = tensors[f"random.numpy.{rank}"].numpy()
    # 624 words of 4 bytes, two more, and a double.
    words, (position, has_gauss) = numpy_state[:2496].view(np.uint32), numpy_state[2496:2504].view(np.uint32)
    cached = float(numpy_state[2504:].view(np.float64)[0])
    # The global generator is what is to be kept.
    np.random.set_state(("MT19937", words, int(position), int(has_gauss), cached))  # noqa: NPY002
    python_state = tensors[f"random.python.{rank}"].numpy()
    numbers, gauss = python_state[:2500].view(np.uint32), float(python_state[2500:].copy().view(np.float64)[0])
    random.setstate((3, tuple(int(n) for n in numbers), None if np.isnan(gauss) else gauss))


def _numpy_state() -> Tensor:
    """(2512,) uint8: 624 words of numpy's global Mersenne twister, its position, and its spare normal number."""
    # The global generator is what is to be kept.
    _, words, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    integers = np.array([*words, position, has_gauss], dtype=np.uint32)
    return _bytes(integers, float(cached))


def _python_state() -> Tensor:
    """(2508,) uint8: 624 words of Python's Mersenne twister, its position, and its spare normal number or NaN."""
    _, numbers, gauss = random.getstate()
    return _bytes(np.array(numbers, dtype=np.uint32), float("nan") if gauss is None else gauss)


def _bytes(integers: NDArray[np.uint32], spare: float) -> Tensor:
    # As bytes: 32-bit words and a double in one tensor, kept bit for bit.
    return torch.from_numpy(np.frombuffer(integers.tobytes() + np.float64(spare).tobytes(), dtype=np.uint8).copy())
