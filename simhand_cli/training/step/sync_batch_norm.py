"""Batch normalisation whose statistics span all ranks, on GPUs and on CPUs."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from simhand_cli.errors import UsageProblem
from simhand_cli.training.processes.ranks import Ranks


def synchronise_batch_norm(module: nn.Module, ranks: Ranks) -> nn.Module:
    """The module with every batch norm's statistics taken over the joined batch; unchanged on one rank.

    On GPUs this is torch's own SyncBatchNorm (through timm, whose norm layers may include the activation). torch has
    none for CPUs: there :class:`CpuSyncBatchNorm` takes their place.

    Raises:
        UsageProblem: on CPUs, a kind of batch norm that cannot be synchronised there.
    """
    # One process: its own statistics are the joined batch's, and plain kernels are faster.
    if not ranks.grouped:
        return module
    if ranks.device.startswith("cuda"):
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch has no types here
        return converted
    for name, child in module.named_children():
        # The private base class, which timm's norms share with torch's.
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, CpuSyncBatchNorm.like(child))
        else:
            synchronise_batch_norm(child, ranks)
    return module


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the joined batch of all ranks: one sum over the ranks forward, one backward.

    ``drop`` and ``act`` are what timm's ``BatchNormAct2d`` does after the norm; nothing after torch's own layers.
    """

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool, tracked: bool) -> None:
        super().__init__(num_features, eps, momentum, affine, tracked)
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    @classmethod
    def like(cls, norm: nn.modules.batchnorm._BatchNorm) -> "CpuSyncBatchNorm":
        """A layer with the same options, parameters and running statistics.

        Raises:
            UsageProblem: of another kind than torch's or timm's batch norms, which may compute something else.
        """
        from timm.layers.norm_act import BatchNormAct2d

        # The exact type, since a class derived from these may compute something else.
        if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d):
            raise UsageProblem(
                f"the encoder's {type(norm).__name__} cannot be synchronised on CPUs; use another --backbone or one "
                "process (pretrain: or --no-sync-bn)"
            )
        synchronised = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        if isinstance(norm, BatchNormAct2d):
            synchronised.drop, synchronised.act = norm.drop, norm.act
        synchronised.load_state_dict(norm.state_dict())
        return synchronised.to(next(iter(norm.state_dict().values())).dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and variance per channel over all ranks' batches; drop and activate."""
        activated: Tensor = self.act(self.drop(self._normalised(features)))
        return activated

    def _normalised(self, features: Tensor) -> Tensor:
        # Evaluation uses what is remembered, and must exchange nothing: rank 0 alone may be measuring.
        if not self.training:
            evaluated: Tensor = super().forward(features)
            return evaluated
        normalised, mean, variance, count = _SynchronisedNorm.apply(features, self.weight, self.bias, self.eps)
        # Running variances are unbiased, those used for training are not: torch's convention.
        self._remember(mean, variance * (count / (count - 1)))
        result: Tensor = normalised
        return result

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


class _SynchronisedNorm(torch.autograd.Function):
    """The exact gradient of batch norm over all ranks, by torch's own kernels on each and sums of (C,) between them."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels = features.shape[1]
        zeros, ones = _zeros_and_ones(features)
        # torch's kernel, with fresh buffers and momentum 0: only its statistics are wanted.
        mean, variance = torch.batch_norm_update_stats(features, zeros.clone(), ones.clone(), 0.0)
        mean, variance = mean.double(), variance.double()  # so that little is lost in the difference of squares below
        own = features.numel() // channels
        # Weighted by the rank's own count, which samples that cannot be read may make smaller.
        sums = torch.cat([own * mean, own * (variance + mean.square()), mean.new_tensor([own])])
        dist.all_reduce(sums)
        count = sums[-1]
        mean, squares = (sums[:-1] / count).chunk(2)
        # Rounding could leave a variance just below 0, of which there is no root.
        variance = (squares - mean.square()).clamp_min(0)
        mean, variance = mean.to(zeros.dtype), variance.to(zeros.dtype)
        ctx.save_for_backward(features, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        normalised = functional.batch_norm(features, mean, variance, weight, bias, False, 0.0, eps)
        return normalised, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        features, weight, mean, variance, count = ctx.saved_tensors
        zeros, ones = _zeros_and_ones(features)
        scale = torch.rsqrt(variance + ctx.eps)
        # Sums over this rank of the gradient times the normalised features, and of the gradient.
        _, weight_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
            gradient, features, weight, zeros, ones, mean, scale, True, ctx.eps, [False, True, True]
        )
        sums = torch.cat([weight_gradient, bias_gradient]).double()
        dist.all_reduce(sums)
        along, offset = (sums / count).to(zeros.dtype).chunk(2)
        slope = scale if weight is None else weight * scale
        # d loss / d features = slope (gradient - offset - normalised features * along), each part in one pass.
        result = functional.batch_norm(gradient, zeros, ones - ctx.eps, slope, zeros, False, 0.0, ctx.eps)
        result += functional.batch_norm(features, mean, variance, -slope * along, -slope * offset, False, 0.0, ctx.eps)
        if weight is None:
            return result, None, None, None
        return result, weight_gradient, bias_gradient, None


def _zeros_and_ones(features: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) of the precision that statistics need; with them torch takes half-precision features as they are."""
    kind = torch.promote_types(features.dtype, torch.float32)
    shape = features.shape[1]
    return torch.zeros(shape, dtype=kind), torch.ones(shape, dtype=kind)
