"""What the tests of several ranks compute, on one rank or many; importable by spawned processes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from simhand_cli.pretrain.loss.contrastive import contrastive_loss
from simhand_cli.pretrain.loss_options import LossOptions, MethodName
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.training.processes.gather import gather_with_gradient
from simhand_cli.views.geometry import move_points
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters
from simhand_cli.views.window import draw_window

PAIRS, FEATURES, STEPS = 8, 20, 3
#: The first step's loss and gradient (P,), and the parameters (P,) after all steps.
Learned = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    method: MethodName
    options: LossOptions

    @property
    def name(self) -> str:
        return f"{self.method}-{self.options.recipe}-{self.options.model_dump_json(exclude_defaults=True)}"


def cases() -> list[Case]:
    """Every method with every kind of weights under every recipe, and the further options."""
    found = [
        Case(method, LossOptions(recipe=recipe, weights=weights, block_rows=3))
        for method in METHODS
        for recipe in ("simhand", "paper", "official")
        for weights in ("none", "linear", "nonlinear")
    ]
    further = (
        {"weighted": "both", "positive_denominator": "w_pos", "weight_range": "separate"},
        {"weighted": "both", "positive_denominator": "one"},
        {"weight_joints": "view", "weighted": "both"},
        {"weighted": "both"},
        {"weighted": "both", "weights": "nonlinear"},
        {"weighted": "negatives", "weights": "nonlinear"},
        {"weighted": "positives", "positive_denominator": "w_pos"},
        {"weighted": "both", "weight_metric": "embedding", "weight_range": "separate", "block_rows": 5},
        {"weighted": "both", "weight_metric": "embedding", "false_negative_px": 40.0, "positive_denominator": "w_pos"},
        {"weight_metric": "embedding", "weights": "nonlinear", "negatives": "rank"},
        {"similarities": "plain", "weighted": "both"},
        {"false_negative_px": 40.0},
        {"shift_unit": "pixels", "negatives": "global"},
        {"temperature": 0.05},
    )
    return found + [Case("simhand", LossOptions(**changed)) for changed in further]


@dataclass(frozen=True)
class Batch:
    features: tuple[Tensor, Tensor]
    params: tuple[ViewParameters, ViewParameters]
    joints: tuple[Tensor, Tensor]
    images: Tensor
    embeddings: tuple[Tensor, Tensor]  # (PAIRS, 14) of both crops
    source: list[tuple[Tensor, ViewParameters]]  # joints in the stored crops, and T as drawn


def make_batch(case: Case) -> Batch:
    """The joined batch of all ranks."""
    generator = torch.Generator().manual_seed(11)
    options = METHODS[case.method].settle_views(case.options.recipe, ViewOptions())
    features, params, joints, source = [], [], [], []
    for view in (0, 1):
        crop_joints = 112 + 30 * torch.randn(PAIRS, 21, 2, generator=generator, dtype=torch.float64)
        drawn = draw_parameters(3, torch.arange(PAIRS), view, options)
        window = draw_window(crop_joints, drawn, options)
        joints.append(move_points(window.view_from_crop, crop_joints))
        params.append(window.params)
        source.append((crop_joints, drawn))
        features.append(torch.randn(PAIRS, FEATURES, generator=generator, dtype=torch.float64))
    # Some images stand in two pairs, on different ranks.
    images = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 0], [7, 8], [3, 9], [10, 11], [12, 13]])
    return Batch(
        (features[0], features[1]), (params[0], params[1]), (joints[0], joints[1]), images, make_embeddings(), source
    )


def make_embeddings() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(12)
    first, second = torch.randn(2, PAIRS, 14, generator=generator, dtype=torch.float64).unbind()
    return first, first + 0.3 * second


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 12, bias=False)).double()


def part_loss(case: Case, model: nn.Module, rank: int, ranks: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one rank's slice of the batch."""
    batch, size = make_batch(case), PAIRS // ranks
    mine = slice(rank * size, (rank + 1) * size)
    method = METHODS[case.method]
    return contrastive_loss(
        method.geometric,
        method.settle_loss(case.options),
        model(batch.features[0][mine]),
        model(batch.features[1][mine]),
        batch.params[0].map(lambda t: t[mine]),
        batch.params[1].map(lambda t: t[mine]),
        batch.joints[0][mine],
        batch.joints[1][mine],
        images=batch.images[mine],
        embeddings=(batch.embeddings[0][mine], batch.embeddings[1][mine]),
    )


def flat_gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def learn(model: nn.Module, loss_and_gradient: Callable[[nn.Module], tuple[Tensor, Tensor]]) -> Learned:
    """Three steps of Adam; loss and gradient (joined over ranks) are those of the first."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    first: tuple[Tensor, Tensor] | None = None
    for _ in range(STEPS):
        found = loss_and_gradient(model)
        first = first or found
        parts = found[1].split([p.numel() for p in model.parameters()])
        for parameter, part in zip(model.parameters(), parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()
        optimiser.step()
        optimiser.zero_grad()
    return *first, torch.cat([p.detach().flatten() for p in model.parameters()])


def run_rank(rank: int, ranks: int, folder: str) -> None:
    """Learn every case as one of several ranks; rank 0 writes ``case name -> Learned``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    results: dict[str, tuple[Tensor, ...]] = {}
    for case in cases():

        def joined(model: nn.Module, case: Case = case) -> tuple[Tensor, Tensor]:
            loss, _ = part_loss(case, model, rank, ranks)
            loss.backward()
            # What DistributedDataParallel does with the ranks' gradients.
            packed = torch.cat([loss.detach().reshape(1), flat_gradient(model)])
            dist.all_reduce(packed)
            packed /= ranks
            return packed[0].clone(), packed[1:].clone()

        results[case.name] = learn(make_model(), joined)
    results["gather"] = _gather_check(rank, ranks)
    if rank == 0:
        torch.save(results, Path(folder) / "results.pt")
    dist.destroy_process_group()


def _gather_check(rank: int, ranks: int) -> tuple[Tensor, Tensor]:
    """Rank r's loss is sum((r + 1) * row weight * gathered); rank 0's gradient is then known by hand."""
    local = torch.full((2, 3), float(rank), dtype=torch.float64, requires_grad=True)
    everyone = gather_with_gradient(local)
    weight = torch.arange(1.0, 2 * ranks + 1, dtype=torch.float64)[:, None]
    ((rank + 1) * weight * everyone).sum().backward()
    return everyone.detach(), local.grad
