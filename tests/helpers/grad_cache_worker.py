"""What the tests of gradient caching compute, on one rank or several; importable by spawned processes."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simhand_cli.pretrain.loss.grad_cache import backward_in_parts
from simhand_cli.pretrain.loss_options import LossOptions, MethodName, WeightMetric
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.training.step.precision import Precision
from simhand_cli.views.options import ViewOptions

PAIRS, CROP_PX, VIEW_PX = 12, 40, 32
METHODS_TRIED: tuple[MethodName, ...] = ("simclr", "peclr", "simhand")


def make_model(dropout: float = 0.0, norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(6) if norm else nn.Dropout(dropout)
    layers = [nn.Conv2d(3, 6, 5, stride=4), middle, nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 12)]
    return nn.Sequential(*layers).double().train()


def make_batch() -> PairBatch:
    generator = torch.Generator().manual_seed(5)
    crops = [torch.randint(0, 255, (PAIRS, CROP_PX, CROP_PX, 3), generator=generator).byte() for _ in range(2)]
    joints = [20 + 5 * torch.randn(PAIRS, 21, 2, generator=generator) for _ in range(2)]
    rows1 = torch.arange(PAIRS)
    embeddings = torch.randn(2, PAIRS, 14, generator=generator)
    return PairBatch(crops[0], crops[1], *joints, rows1, (rows1 + 5) % PAIRS, 0, embeddings[0], embeddings[1])


def gradients(
    method: MethodName,
    model: nn.Module,
    pairs: int,
    rank: int = 0,
    ranks: int = 1,
    metric: WeightMetric = "joints",
) -> tuple[Tensor, Tensor]:
    """Loss and flat gradient of a rank's share of the batch, computed ``pairs`` at a time."""
    views = METHODS[method].settle_views("simhand", ViewOptions(output_px=VIEW_PX))
    options = METHODS[method].settle_loss(LossOptions(block_rows=5, weight_metric=metric, weighted="both"))
    loss = PairLoss(METHODS[method], views, options, 3, Precision("fp64", "a proof"), "cpu")
    share = PAIRS // ranks
    mine = make_batch().part(rank * share, (rank + 1) * share)
    value, _ = backward_in_parts(loss, model, mine, pairs, torch.amp.GradScaler("cpu", enabled=False))
    return value, torch.cat([p.grad.flatten() for p in model.parameters()])


def run_rank(rank: int, ranks: int, folder: str) -> None:
    """Every method as one of several ranks with DDP; rank 0 writes method -> (mean loss, gradient)."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    results = {}
    for method in METHODS_TRIED:
        loss, gradient = gradients(method, DistributedDataParallel(make_model()), 4, rank, ranks)
        dist.all_reduce(loss)
        results[method] = (loss / ranks, gradient)
    if rank == 0:
        torch.save(results, Path(folder) / "results.pt")
    dist.destroy_process_group()
