"""Collecting a batch from all ranks, with exact gradients; the identity where there is one process."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel


def world() -> tuple[int, int]:
    """(rank, number of ranks) of the running process group; (0, 1) without one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.rank, ranks = world()
        ctx.rows = len(local)
        # One large tensor: a list of tensors would be copied again to be joined.
        gathered = local.new_empty((ranks * len(local), *local.shape[1:]))
        dist.all_gather_into_tensor(gathered, local.contiguous())
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every rank's loss depends on this rank's rows, so their gradients add up.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = ctx.rank * ctx.rows
        return total[start : start + ctx.rows]


def gather_with_gradient(local: Tensor) -> Tensor:
    """The rows (n, ...) of all ranks, concatenated in rank order: (ranks * n, ...).

    Backward sums the gradients of all ranks' losses for each row. With a loss that is each rank's own mean, the
    average over ranks that DDP takes is then exactly the gradient of the joined batch's mean.

    Every rank must give the same number of rows. All ranks must call it, and go backward through it, together.
    """
    if world()[1] == 1:
        return local
    return cast(Tensor, _Gather.apply(local))


@torch.no_grad()
def gather(local: Tensor) -> Tensor:
    """The rows of all ranks like :func:`gather_with_gradient`, for data without gradient."""
    return gather_with_gradient(local)


@torch.no_grad()
def reduce_over_ranks(value: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """The elementwise sum (or maximum) of a tensor over all ranks, as a new tensor."""
    if world()[1] == 1:
        return value
    total = value.clone()
    dist.all_reduce(total, op=operation)
    return total


def without_reduction(model: nn.Module) -> AbstractContextManager[None]:
    """Within, gradients stay on this rank: of all but the last part of a batch that is computed in parts."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
