"""torch.compile of a model, and whether this machine can."""

import torch
from torch import Tensor, nn

from simhand_cli.errors import EnvironmentProblem, UsageProblem

#: Of torch's long messages, what fits into a line.
_REASON_CHARACTERS = 160


def refuse_several(processes: int, *, joined: bool = False) -> None:
    """Refuse to compile where sums over processes (of batch norm, of gradients) would be part of torch's graph.

    Args:
        processes: of the run.
        joined: whether another program has started them; then there are such sums for one process too.

    Raises:
        UsageProblem: there are several, or a job is joined.
    """
    if joined and processes == 1:
        raise UsageProblem("--compile is for a run that simhand starts itself; leave it out, or do without torchrun")
    if processes > 1:
        raise UsageProblem(
            f"--compile is for a run of one process, and this one has {processes}; leave it out, or use --gpus 1"
        )


def check_compiler(device: str) -> None:
    """Compile something small, so that a machine that cannot is found out before any work.

    Raises:
        EnvironmentProblem: torch.compile does not work here; with torch's reason.
    """
    try:
        # A missing compiler would show only when the first graph is built, after data and weights are read.
        torch.compile(_trial)(torch.ones(16, device=device))
    except Exception as error:  # whatever a compiler, its headers or its driver do wrong
        reason = " ".join(str(error).partition("Set TORCH")[0].split())[:_REASON_CHARACTERS]  # less its advice
        raise EnvironmentProblem(
            f"--compile does not work on this machine ({reason}); it needs a C++ compiler (g++) and Python's headers, "
            "on a GPU triton too; or leave --compile out"
        ) from error


def _trial(numbers: Tensor) -> Tensor:
    return (2 * numbers + 1).sum()


def compile_model(model: nn.Module) -> None:
    """Have a model's forward and backward pass compiled when it is first called.

    The module stays what it is: names of its weights, checkpoints and copies are those of one that is not compiled.
    """
    # torch.compile(model) would return another module, whose weights have a prefix.
    model.compile()
