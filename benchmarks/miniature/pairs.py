"""How good are the positives? Distances of the two hands of a pair in 3D, for every kind of pair.

The 3D joints are MediaPipe's world landmarks, estimated in the same crops. Mining does not use them (it sees the 2D
joints alone), but they share its mistakes, so that the truth is somewhat worse than these figures. After root + bone
scale the direction in which the hand points counts; after Procrustes only its shape does.
"""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.metrics.alignment import Aligned, procrustes, root_bone_scale
from simhand_cli.pretrain.pairs.temporal_pairs import temporal_positives
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5

_SAMPLE = 4000
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def pair_distances(workspace: Workspace, ranks: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Mean joint distance in mm of the pairs of a random sample of crops, by kind of pair and alignment."""
    with open_h5(workspace.mining_dir / "embeddings.h5", "simhand.embeddings", 1) as file:
        video, crop = file["video_index"][:], file["crop_index"][:]
        video_ids = [one.decode() if isinstance(one, bytes) else str(one) for one in file["video_ids"][:]]
    with open_h5(workspace.mining_dir / "pairs.h5", "simhand.pairs", 1) as file:
        anchor, positive = file["anchor"][:], file["positive"][:]
    world = _world_mm(workspace, video_ids, video, crop)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(anchor), min(_SAMPLE, len(anchor)), replace=False)
    following = temporal_positives(workspace, video_ids, video, crop, 2)
    kinds: dict[str, tuple[Rows, Rows]] = {"a moment later (TempCLR)": (anchor[chosen], following[anchor[chosen]])}
    for rank in (1, *ranks):
        kinds[f"Top-{rank}"] = (anchor[chosen], positive[chosen, rank - 1])
    kinds["random crops"] = (anchor[chosen], rng.integers(len(world), size=len(chosen)))
    return {name: _distances(world, *rows) for name, rows in kinds.items()}


def _world_mm(workspace: Workspace, video_ids: list[str], video: Rows, crop: Rows) -> Floats:
    """(N, 21, 3) of every row of the embeddings."""
    found = np.empty((len(video), 21, 3))
    for number, name in enumerate(video_ids):
        rows = np.flatnonzero(video == number)
        with open_h5(workspace.keypoints_shard(name), "simhand.keypoints", 1) as file:
            found[rows] = file["world_mm"][:][crop[rows]]
    return found


def _distances(world: Floats, first: Rows, second: Rows) -> dict[str, float]:
    there = second >= 0
    target, other = world[first[there]], world[second[there]]
    valid = np.ones(target.shape[:2], bool)
    aligned: dict[str, Aligned] = {
        "root + bone scale, mm": root_bone_scale(other, target, valid),
        "Procrustes + scale, mm": procrustes(other, target, valid),
    }
    figures = {
        name: round(float(np.linalg.norm(one.joints_mm - target, axis=2).mean()), 2) for name, one in aligned.items()
    }
    return {"pairs": int(there.sum()), **figures}
