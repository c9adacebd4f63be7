"""What do the adaptive weights measure, and how well does each shift unit undo a translation?

For batches of a workspace's mined pairs: rank correlations of the positives' weights with the distance of the poses
(what the weights are meant to follow) and with the difference of the two views' rotations (what they should ignore),
for joints as the views show them and with T undone. Then, for features that are the joints themselves, how much of a
random view is left after the feature-space inverse (1 - cosine to the unmoved hand) with each shift unit.

    python benchmarks/adaptive_weights.py my-workspace
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from simhand_cli.pretrain.loss.feature_inverse import hand_spread, invert_view_in_features
from simhand_cli.pretrain.loss.pair_weights import BatchPoints, linear_weights, point_distance
from simhand_cli.views.geometry import move_points, undo_view
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters
from simhand_cli.views.window import draw_window
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.shards import open_h5

PAIRS, BATCHES, SIZE_PX = 256, 10, 128


def main() -> None:
    """Measure and write benchmarks/results/adaptive_weights.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "adaptive_weights.json")
    arguments = parser.parse_args()
    embedding, joints, pairs = load(arguments.workspace / "mining")
    rng = np.random.default_rng(0)
    rows: list[dict[str, float]] = []
    for batch in range(BATCHES):
        anchor, positive = pairs[rng.choice(len(pairs), min(PAIRS, len(pairs)), replace=False)].T
        poses = (embedding[anchor], embedding[positive])
        views = [draw(joints[side], batch, view) for view, side in enumerate((anchor, positive))]
        rows.append({**weights_follow(poses, views), **left_over(joints[anchor], *views[0])})
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
    write_json(arguments.out, {"pairs": len(pairs), "batches": BATCHES, "batch_pairs": PAIRS, "mean": means})
    print(means)


def load(mining: Path) -> tuple[Tensor, Tensor, np.ndarray]:
    """Embeddings, joints in the crops, and the pairs that have a positive."""
    with open_h5(mining / "embeddings.h5", "simhand.embeddings", 1) as file:
        embedding = torch.from_numpy(file["embedding"][...]).double()
        joints = torch.from_numpy(file["keypoints_px"][...]).double()
    with open_h5(mining / "pairs.h5", "simhand.pairs", 1) as file:
        pairs = np.stack([file["anchor"][...], file["positive"][:, 0]], axis=1)
    return embedding, joints, pairs[pairs[:, 1] >= 0]


def draw(joints: Tensor, seed: int, view: int) -> tuple[Tensor, ViewParameters]:
    """Joints in one random view of each crop, and its parameters."""
    params = draw_parameters(seed, torch.arange(len(joints)), view, ViewOptions().settled())
    window = draw_window(joints, params, ViewOptions(output_px=SIZE_PX).settled())
    return move_points(window.view_from_crop, joints), window.params


def weights_follow(poses: tuple[Tensor, Tensor], views: list[tuple[Tensor, ViewParameters]]) -> dict[str, float]:
    """Spread of the positives' weights and what they correlate with."""
    pose = (poses[0] - poses[1]).norm(dim=1)
    turn = (views[0][1].angle_deg - views[1][1].angle_deg).abs()
    found: dict[str, float] = {}
    for which in ("view", "undone"):
        shown = torch.cat([j if which == "view" else undo_view(j, p, SIZE_PX) for j, p in views])
        batch = BatchPoints(shown, shown, offset=0, reduce=False)
        for weight_range in ("single", "separate"):
            weights = linear_weights(batch, weight_range)
            name = f"{which} {weight_range}"
            everything = weights.of_distance(point_distance(shown, shown))
            others = ~torch.eye(len(shown), dtype=torch.bool)
            found[f"{name}: mean positive weight"] = float(weights.positive.mean())
            found[f"{name}: std of positive weight"] = float(weights.positive.std())
            found[f"{name}: mean weight of all pairs"] = float(everything[others].mean())
            found[f"{name}: correlation with pose"] = float(spearmanr(weights.positive, pose)[0])
            found[f"{name}: correlation with rotation"] = float(spearmanr(weights.positive, turn)[0])
    return found


def left_over(joints: Tensor, seen: Tensor, params: ViewParameters) -> dict[str, float]:
    """Mean 1 - cosine between joints undone as features and the unmoved hand."""
    truth = functional.normalize((joints - joints.mean(dim=1, keepdim=True)).flatten(1), dim=1)
    features = (seen - (SIZE_PX - 1) / 2).flatten(1)
    spread = hand_spread(seen, SIZE_PX)
    found = {}
    for unit in ("hand", "range", "pixels", "none"):
        undone = invert_view_in_features(
            features,
            params,
            undo_rotation=True,
            undo_translation=unit != "none",
            shift_unit="hand" if unit == "none" else unit,
            spread=spread,
        )
        found[f"shift unit {unit}: left over"] = float(1 - (undone * truth).sum(dim=1).mean())
    return found


if __name__ == "__main__":
    main()
