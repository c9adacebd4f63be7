"""Optimisers and which parameters they decay."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

OptimiserName = Literal["adam", "adamw", "lars", "adam-lars"]
#: Modules whose ``weight`` is a matrix or kernel; only these are decayed.
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Bilinear)


def parameter_groups(
    modules: Iterable[nn.Module],
    weight_decay: float,
    lr_factor: float = 1.0,
    also_decayed: Iterable[nn.Parameter] = (),
) -> list[dict[str, Any]]:
    """Split trainable parameters into decayed ones and others, by the type of their module.

    Decayed are the weights of linear and convolution layers. Biases, the scales and shifts of normalisation layers,
    tokens and position embeddings are not, whatever they are called, unless they are asked for.

    Args:
        modules: the modules to train.
        weight_decay: decay of the first group.
        lr_factor: kept in the groups as ``lr_factor``; a loop multiplies its learning rate with it.
        also_decayed: further parameters of the modules to decay.

    Returns:
        at most three groups for a torch optimiser, each with ``adapt`` saying whether LARS adapts its rate.
    """
    decayed: dict[int, nn.Parameter] = {}
    others: dict[int, nn.Parameter] = {}
    for root in modules:
        for module in root.modules():
            for name, parameter in module.named_parameters(recurse=False):
                # Tied weights are met twice and must be in one group only; torch refuses them otherwise.
                if not parameter.requires_grad or id(parameter) in decayed:
                    continue
                if isinstance(module, _WEIGHTED) and name == "weight":
                    # Tied to something that was met before as no kernel: the kernel decides.
                    others.pop(id(parameter), None)
                    decayed[id(parameter)] = parameter
                else:
                    others[id(parameter)] = parameter
    also = [others.pop(key) for key in map(id, also_decayed) if key in others]
    groups: list[dict[str, Any]] = [
        {"params": list(decayed.values()), "weight_decay": weight_decay, "adapt": True, "lr_factor": lr_factor},
        {"params": list(others.values()), "weight_decay": 0.0, "adapt": False, "lr_factor": lr_factor},
        {"params": also, "weight_decay": weight_decay, "adapt": False, "lr_factor": lr_factor},
    ]
    return [group for group in groups if group["params"]]


def build_optimiser(name: OptimiserName, groups: list[dict[str, Any]], lr: float) -> Optimizer:
    """An optimiser over :func:`parameter_groups`.

    Args:
        name: ``adam`` (coupled L2 decay), ``adamw`` (decoupled decay), ``lars`` (layer-wise rates on SGD) or
            ``adam-lars`` (the released code's).
        groups: from :func:`parameter_groups`.
        lr: initial rate; loops set it every step with :func:`set_lr`.
    """
    if name == "lars":
        return Lars(groups, lr=lr)
    # One kernel for all parameters on a GPU; on the CPU the plain loop is as fast and the same on every machine.
    fused = all(p.is_cuda for group in groups for p in group["params"])
    kind: type[Adam] = {"adam": Adam, "adamw": AdamW, "adam-lars": AdamLars}[name]
    return kind(groups, lr=lr, fused=fused)


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """Set the learning rate of all groups, each times its ``lr_factor``."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


class Lars(Optimizer):
    """Layer-wise adaptive rate scaling on SGD with momentum (You, Gitman & Ginsburg 2017, algorithm 1).

    For a parameter w with gradient g: ``r = trust * |w| / (|g| + decay * |w|)`` (1 where either norm is zero, and in
    groups with ``adapt`` False), ``v <- momentum * v + lr * r * (g + decay * w)``, ``w <- w - v``.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        trust: float = 0.001,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": weight_decay, "adapt": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    # Torch declares two overloads.
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; no value leaves the device."""
        if closure is not None:
            raise ValueError("Lars takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        update = gradient.add(parameter, alpha=decay) if decay else gradient
        if group["adapt"]:
            weight_norm, gradient_norm = parameter.norm(), gradient.norm()
            ratio = group["trust"] * weight_norm / (gradient_norm + decay * weight_norm)
            one = torch.ones_like(ratio)
            # Not by an if on the host, which would wait for the device at every tensor.
            update = update * torch.where((weight_norm > 0) & (gradient_norm > 0), ratio, one)
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.mul_(group["momentum"]).add_(update, alpha=group["lr"])
        parameter.sub_(momentum)


class AdamLars(Adam):
    """Adam in the LARS wrapper of the released code (pytorch-lightning-bolts 0.2.2; fact sheet, section 1).

    Before Adam's step every gradient becomes ``r (g + decay w)``, with the smaller of 1 and
    ``trust |w| / (|g| + decay |w| + eps) / lr`` for ``r``; tensors whose weights or gradients are all zero stay as they
    are, without decay. Adam hardly notices a factor of a whole gradient, so this is nearly Adam with coupled decay.
    """

    TRUST, EPSILON = 0.02, 1e-8

    @torch.no_grad()
    # Torch declares two overloads.
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; no value leaves the device."""
        if closure is not None:
            raise ValueError("AdamLars takes no closure")
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._scale(parameter, parameter.grad, group["lr"], group["weight_decay"])
            group["weight_decay"] = 0.0  # it is in the gradients by now
        try:
            super().step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay

    def _scale(self, parameter: Tensor, gradient: Tensor, lr: float, decay: float) -> None:
        weight_norm, gradient_norm = parameter.norm(), gradient.norm()
        rate = self.TRUST * weight_norm / (gradient_norm + decay * weight_norm + self.EPSILON)
        # The first step of the released schedule has a rate of exactly 0.
        ratio = (rate / lr).clamp(max=1.0) if lr > 0 else torch.ones_like(rate)
        adapted = (weight_norm > 0) & (gradient_norm > 0)
        scaled = gradient.add(parameter, alpha=decay).mul_(ratio)
        gradient.copy_(torch.where(adapted, scaled, gradient))
