"""The exact gradient of a large batch, computed a few pairs at a time.

Gradient caching (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021): the loss
depends on the network through the projections alone. These are first computed part by part without storing activations;
the loss of the whole batch gives the gradient of every projection; and a second pass, again part by part, carries it
into the weights. Memory is that of a part, time about a third more.

Batch norm is the exception to "exact": its statistics are those of a part (the same in both passes), as they would be
on as many GPUs without synchronisation. Running statistics are updated once, in the second pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simhand_cli.pretrain.methods.method import Projected
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.training.processes.gather import without_reduction
from simhand_cli.views.parameters import ViewParameters


def backward_in_parts(
    loss: PairLoss, model: nn.Module, batch: PairBatch, pairs: int, scaler: torch.amp.GradScaler
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add the gradient of a batch's loss to the model's gradients.

    Args:
        loss: from a batch to a loss.
        model: wrapped or not; in training mode.
        batch: this rank's part of the global batch, on its device.
        pairs: in a part; all ranks must divide alike.
        scaler: of fp16's loss.

    Returns:
        the loss (detached) and its metrics, as from ``loss(model, batch)``.
    """
    # One part is the plain way, without the second forward pass.
    if pairs >= len(batch.rows1):
        value, metrics = loss(model, batch)
        scaler.scale(value).backward()  # type: ignore[no-untyped-call]  # torch has no types here
        return value.detach(), metrics
    bounds = [(s, min(s + pairs, len(batch.rows1))) for s in range(0, len(batch.rows1), pairs)]
    parts = [batch.part(start, stop) for start, stop in bounds]
    states, projected = [], []
    # Running statistics move in the second pass; in both they would move twice a step.
    with torch.no_grad(), _statistics_kept(model), _statistics_kept(loss.companion or nn.Identity()):
        for part in parts:
            states.append(_random_state(loss.device))
            projected.append(loss.project(model, part))
    whole = _joined(projected)
    # Small beside the network: 128 numbers a view, so the whole batch fits.
    value, metrics = loss.compare(whole, batch)
    scaler.scale(value).backward()  # type: ignore[no-untyped-call]  # torch has no types here
    for part, state, (start, stop) in zip(parts, states, bounds, strict=True):
        _set_random_state(state, loss.device)  # dropout drops what it dropped before
        # DDP sums the gradients over the ranks once, with the last part.
        with nullcontext() if stop == bounds[-1][1] else without_reduction(model):
            # The same views again: their parameters follow from the pairs' keys, not from a generator's state.
            again = loss.project(model, part)
            pairs_of = ((again.z1, whole.z1.grad), (again.z2, whole.z2.grad))
            # Projections of a momentum encoder have no way back into the weights.
            learning = [(z, grad[start:stop]) for z, grad in pairs_of if z.requires_grad and grad is not None]
            torch.autograd.backward([z for z, _ in learning], [grad for _, grad in learning])
    return value.detach(), metrics


def _joined(parts: list[Projected]) -> Projected:
    """The projections of all parts as leaves that collect gradients."""
    z1, z2 = (torch.cat([getattr(part, name) for part in parts]).requires_grad_() for name in ("z1", "z2"))
    return Projected(
        z1,
        z2,
        ViewParameters.joined(*(part.params1 for part in parts)),
        ViewParameters.joined(*(part.params2 for part in parts)),
        torch.cat([part.keypoints1_px for part in parts]),
        torch.cat([part.keypoints2_px for part in parts]),
    )


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch norms use the statistics of what they see, and do not remember them."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    saved = [{name: b.clone() for name, b in norm.named_buffers(recurse=False)} for norm in norms]
    try:
        yield
    finally:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, value in buffers.items():
                norm.get_buffer(name).copy_(value)


def _random_state(device: str) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.startswith("cuda") else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: str) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
