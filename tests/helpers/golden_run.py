"""Short runs in float64 whose losses are kept in golden_losses.json: every method, kind of weights and recipe.

``tools/build_golden_losses.py`` writes the file, ``test_golden_losses.py`` compares with it.
"""

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from tiny_workspace import TINY, add_tracks, make_workspace
from torch import Tensor
from torch.nn import functional

from simhand_cli.pretrain import task, worker
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.pretrain.model import ContrastiveModel, build_model
from simhand_cli.pretrain.settings import settle
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.views import transform

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 20
_SIZES = {"batch_size": 4, "max_steps": STEPS, "epochs": STEPS, "precision": "fp64", "views": {"output_px": 16}}


def runs() -> list[tuple[str, str, str]]:
    """Every method with every kind of weights, and as paper and released code have it; (method, weights, recipe)."""
    ours = [(method, weights, "simhand") for method in METHODS for weights in ("none", "linear", "nonlinear")]
    theirs = [(name, method.weights, recipe) for recipe in ("paper", "official") for name, method in METHODS.items()]
    return ours + theirs


def key(method: str, weights: str, recipe: str) -> str:
    """What a run's curve is called."""
    return f"{method} {weights}" + ("" if recipe == "simhand" else f", recipe {recipe}")


def make_golden_workspace(folder: Path) -> Path:
    """Drawn hands of which most are found again a moment later, so that tempclr has pairs too."""
    root = make_workspace(folder)
    add_tracks(root)
    return root


def losses(workspace: Path, method: str, weights: str, recipe: str) -> list[float]:
    """The losses of the first steps of a real run, which writes no report.

    Pixels and first weights are not drawn as in a run: OpenCV and torch's normal numbers round differently on other
    processors, and training magnifies the last bit. Here pixels are drawn in float64, with their colours as they are,
    and the weights are numpy's.
    """
    given = {**TINY, **_SIZES, "method": method, "loss": {"weights": weights, "recipe": recipe}}
    config = PretrainConfig(workspace=workspace, name=f"{recipe}-{method}-{weights}", **given)
    with (
        mock.patch.object(task, "build_model", _build_model),
        mock.patch.object(transform, "warp", _warp),
        mock.patch.object(transform, "jitter_colours", lambda images, *_: images),
        mock.patch.object(task, "finish_run", return_value={}),
        mock.patch.object(task, "picture_pairs", return_value=None),
    ):
        worker.train(Ranks(), worker.Job(settle(config), quiet=True))
    path = workspace / "runs" / f"pretrain-{config.name}" / "metrics.jsonl"
    return [line["loss"] for line in read_metrics(path) if "loss" in line]


def _build_model(encoder: str, seed: int) -> ContrastiveModel:
    """A model whose matrices and kernels are uniform numbers of He's variance."""
    model, rng = build_model(encoder, seed), np.random.default_rng(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            limit = (6 / parameter[0].numel()) ** 0.5
            parameter.data = torch.from_numpy(rng.uniform(-limit, limit, parameter.shape)).float()
    return model


def _warp(crops: Tensor, crop_from_view: Tensor, output_px: int) -> Tensor:
    """Views (B, 3, output, output) in float64 by bilinear interpolation, black outside the crop."""
    y, x = torch.meshgrid(*[torch.arange(output_px, dtype=torch.float64)] * 2, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ crop_from_view.transpose(1, 2)[:, None]
    grid = (2 * points + 1) / crops.shape[-1] - 1
    return functional.grid_sample(crops.double(), grid, padding_mode="zeros", align_corners=False)
