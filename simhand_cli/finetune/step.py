"""One forward pass with its losses, and what is needed around it."""

import copy
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from simhand_cli.finetune.crop_dataset import CropBatch
from simhand_cli.finetune.losses import Losses, detnet_losses, kernel_loss, map_mass
from simhand_cli.finetune.targets import Targets, make_targets
from simhand_cli.models.detnet import DetNet, DetNetMaps
from simhand_cli.models.encoder import LoadReport, normalise
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.training.processes.gather import without_reduction
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import Precision
from simhand_cli.training.task import Network

if TYPE_CHECKING:
    from simhand_cli.finetune.config import FinetuneConfig


def build_net(source: EncoderSource, config: "FinetuneConfig") -> tuple[DetNet, LoadReport | None]:
    """The model at the start of a run, on the CPU; parameters that no output depends on are frozen.

    Some timm models keep a final norm or pooling that a feature map does not pass through. Left trainable, they would
    stop distributed training.
    """
    encoder, report = source.build()
    net = DetNet(encoder, config.width, config.input_px)
    # A copy: the trial leaves gradients, and in training mode it would move batch norm's statistics.
    probe = copy.deepcopy(net).eval()
    maps = probe(torch.zeros(1, 3, config.input_px, config.input_px))
    # Torch has no types here.
    torch.stack([maps.heat.sum(), maps.delta.sum(), maps.location.sum()]).sum().backward()  # type: ignore[no-untyped-call]
    for own, probed in zip(net.parameters(), probe.parameters(), strict=True):
        own.requires_grad_(probed.grad is not None)
    return net, report


def batch_losses(
    model: nn.Module,
    batch: CropBatch,
    map_px: int,
    precision: Precision,
    config: "FinetuneConfig",
    ranks: Ranks,
) -> Losses:
    """Losses of a batch that is on the model's device.

    Args:
        model: DetNet, possibly wrapped for distributed training.
        batch: the crops and labels.
        map_px: side of the model's maps.
        precision: number format of the forward pass.
        config: targets and loss options.
        ranks: this process's place.
    """
    targets = _targets(batch, map_px, precision, config)
    losses = detnet_losses(_maps(model, batch, precision), targets, config.loss, ranks.mean)
    if config.loss.l2 == 0:
        return losses
    return replace(losses, total=losses.total + config.loss.l2 * kernel_loss(model))


def backward_in_parts(
    network: Network[DetNet], batch: CropBatch, parts: int, config: "FinetuneConfig", ranks: Ranks
) -> Losses:
    """Add the gradient of a batch's losses to the model's gradients, in so many parts.

    All losses but the released code's Frobenius norm are sums over crops, divided by what is known from the labels of
    the whole batch; so the gradient is the batch's, but for batch norm, whose statistics are those of a part.

    Args:
        network: what is trained, in training mode.
        batch: on the network's device.
        parts: into which the batch is divided, the same on all ranks, however many samples of theirs could be read:
            batch norm exchanges statistics once a part. Fewer where a rank has not as many crops.
        config: targets and loss options.
        ranks: this process's place.

    Returns:
        the losses of the batch, detached.
    """
    map_px, precision, scaler = network.model.map_px, network.precision, network.scaler
    if parts > 1:  # a rank with too few crops for that many parts tells the others
        parts = min(parts, -round(ranks.maximum([-float(len(batch))])[0]))
    if parts <= 1:
        losses = batch_losses(network.wrapped, batch, map_px, precision, config, ranks)
        scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]  # torch's own backward has no types
        return _detached(losses)
    # Of the whole batch before its parts, so that their gradients add up to the batch's.
    mass = map_mass(_targets(batch, map_px, precision, config), ranks.mean)
    found: list[Losses] = []
    bounds = [round(number * len(batch) / parts) for number in range(parts + 1)]
    for start, stop in pairwise(bounds):
        part = batch.part(start, stop)
        share, last = len(part) / len(batch), stop == len(batch)
        with nullcontext() if last else without_reduction(network.wrapped):
            maps = _maps(network.wrapped, part, precision)
            losses = detnet_losses(maps, _targets(part, map_px, precision, config), config.loss, mass=mass)
            # The mean over the crops of a part counts as much as the part; the 3D losses are divided by the whole.
            heat, options = share * losses.heat, config.loss
            total = options.heat * heat + options.location * losses.location + options.delta * losses.delta
            # Once a step: it is no sum over crops.
            if last and options.l2:
                total = total + options.l2 * kernel_loss(network.wrapped)
            scaler.scale(total).backward()  # type: ignore[no-untyped-call]  # as above
        found.append(_detached(Losses(total, heat, losses.location, losses.delta)))
    return Losses(*(torch.stack([getattr(one, f.name) for one in found]).sum() for f in fields(Losses)))


def _maps(model: nn.Module, batch: CropBatch, precision: Precision) -> DetNetMaps:
    images = normalise(batch.images.permute(0, 3, 1, 2)).to(precision.dtype)
    with precision.autocast(images.device.type):
        maps: DetNetMaps = model(images.contiguous(memory_format=torch.channels_last))
    return maps


def _targets(batch: CropBatch, map_px: int, precision: Precision, config: "FinetuneConfig") -> Targets:
    return make_targets(
        batch.joints_px.to(precision.dtype),
        batch.joints_mm.to(precision.dtype),
        batch.valid,
        config.input_px,
        map_px,
        config.targets,
    )


def _detached(losses: Losses) -> Losses:
    return Losses(*(getattr(losses, field.name).detach() for field in fields(Losses)))


def network_kind(net: DetNet, config: "FinetuneConfig") -> str:
    """What the speed of a number format depends on."""
    return f"DetNet {net.encoder.name} of width {net.width} at {config.input_px} px"


class TrialStep:
    """Forward and backward of a made-up batch on a copy of a model, to time it; leaves the model as it is."""

    def __init__(self, net: DetNet, device: str, samples: int, config: "FinetuneConfig") -> None:
        # The stub of Module.to knows no memory_format.
        copied = copy.deepcopy(net).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net: DetNet = copied.train()
        self._config = config
        size = config.input_px
        self._batch = CropBatch(
            images=torch.full((samples, size, size, 3), 127, dtype=torch.uint8, device=device),
            joints_px=torch.full((samples, 21, 2), size / 2, device=device),
            # Not all zero, of which there are no directions.
            joints_mm=torch.eye(21, 3, device=device).repeat(samples, 1, 1),
            valid=torch.ones(samples, 21, dtype=torch.bool, device=device),
            broken=[],
        )

    def __call__(self, precision: Precision) -> None:
        """One step in a precision."""
        losses = batch_losses(self._net, self._batch, self._net.map_px, precision, self._config, Ranks())
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        if self._batch.images.is_cuda:
            torch.cuda.synchronize()
