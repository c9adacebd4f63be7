"""Batch normalisation whose statistics span all ranks, on GPUs and (for proofs without one) on CPUs."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from simhand_cli.training.ranks import Ranks


def synchronise_batch_norm(module: nn.Module, ranks: Ranks) -> nn.Module:
    """The module with every batch norm's statistics taken over the joined batch; unchanged on one rank.

    On GPUs this is torch's own SyncBatchNorm (through timm, whose norm layers may include the activation). torch has
    none for CPUs: there plain ``BatchNorm1d`` and ``BatchNorm2d`` are replaced by :class:`CpuSyncBatchNorm`.
    """
    if not ranks.grouped:
        return module
    if ranks.device.startswith("cuda"):
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            setattr(module, name, CpuSyncBatchNorm.like(child))  # type: ignore[arg-type]
        else:
            synchronise_batch_norm(child, ranks)
    return module


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the joined batch of all ranks by two sums; simple and exact rather than fast."""

    @classmethod
    def like(cls, norm: nn.modules.batchnorm._BatchNorm) -> "CpuSyncBatchNorm":
        """A layer with the same options, parameters and running statistics."""
        synchronised = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        synchronised.load_state_dict(norm.state_dict())
        return synchronised.to(next(iter(norm.state_dict().values())).dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and variance per channel over all ranks' batches."""
        if not self.training:
            return super().forward(features)
        axes = [0, *range(2, features.ndim)]
        shape = [1, -1] + [1] * (features.ndim - 2)
        values = features.to(torch.promote_types(features.dtype, torch.float32))
        count = _sum_over_ranks(values.new_tensor(float(values.numel() // values.shape[1])))
        mean = _sum_over_ranks(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(axes)) / count
        self._remember(mean, variance * (count / (count - 1)))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(features.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        factor = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(unbiased_variance, factor)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm needs (B, C, ...), got {tuple(input.shape)}")


def _sum_over_ranks(value: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(value)
    return summed


class _Sum(torch.autograd.Function):
    """Sum over ranks; every rank's loss depends on it, so its gradient is summed over the ranks too."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
