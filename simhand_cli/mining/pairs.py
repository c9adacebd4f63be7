"""The files of mining: projection, embeddings and pairs."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.mining.exact import Neighbours
from simhand_cli.mining.pose_embedding import NORMALISATION, PosePca
from simhand_cli.workspace.shards import write_h5

PCA_SCHEMA: Final = "simhand.pca"
EMBEDDINGS_SCHEMA: Final = "simhand.embeddings"
PAIRS_SCHEMA: Final = "simhand.pairs"
VERSION: Final = 1
EXCLUSION: Final = "same-video"


def write_pca(path: Path, pca: PosePca) -> str:
    """Write the projection: mean (42,), components (D, 42), variance (42,) float64; returns the sha256."""
    arrays = {"mean": pca.mean, "components": pca.components, "variance": pca.variance}
    attributes = {"variance_kept": pca.variance_kept, "normalisation": NORMALISATION}
    return write_h5(path, PCA_SCHEMA, VERSION, arrays, attributes)


def write_embeddings(
    path: Path,
    *,
    embedding: NDArray[np.float32],
    keypoints_px: NDArray[np.float32],
    video_index: NDArray[np.int32],
    crop_index: NDArray[np.int32],
    video_ids: list[str],
    crop_size_px: int,
    pca: PosePca,
    excluded_nonfinite: int,
) -> str:
    """Write the N rows that were mined; returns the sha256.

    Args:
        path: the file.
        embedding: (N, D) pose embedding.
        keypoints_px: (N, 21, 2) in the stored crop.
        video_index: (N,) into ``video_ids``.
        crop_index: (N,) row of the crop in its video's shard.
        video_ids: V ids.
        crop_size_px: side of the stored crops.
        pca: the projection used.
        excluded_nonfinite: crops left out because their keypoints were not finite.
    """
    arrays = {
        "embedding": embedding,
        "keypoints_px": keypoints_px,
        "video_index": video_index,
        "crop_index": crop_index,
        # As objects: h5py takes none of numpy's fixed-width strings.
        "video_ids": np.array(video_ids, dtype=object),
    }
    attributes = {
        "pca_dim": embedding.shape[1],
        "variance_kept": pca.variance_kept,
        "normalisation": NORMALISATION,
        "crop_size_px": crop_size_px,
        "excluded_nonfinite": excluded_nonfinite,
    }
    return write_h5(path, EMBEDDINGS_SCHEMA, VERSION, arrays, attributes)


def write_pairs(path: Path, found: Neighbours, *, index: str, recall: float, recall_rows: int) -> str:
    """Write the pairs: row ids into the embeddings, nearest first, and Euclidean distances; returns the sha256.

    Args:
        path: the file.
        found: neighbours of every row, in row order.
        index: how they were found, ``exact`` or ``hnsw``.
        recall: share of the true neighbours found, measured on a sample.
        recall_rows: size of that sample.
    """
    arrays: dict[str, NDArray[Any]] = {
        "anchor": np.arange(len(found.rows), dtype=np.int64),
        "positive": found.rows,
        # Ordered in float64 before; the stored distance is to be looked at.
        "distance": np.sqrt(found.squared).astype(np.float32),
    }
    attributes = {
        "exclusion": EXCLUSION,
        "index": index,
        "recall": recall,
        "recall_rows": recall_rows,
        "topk": found.rows.shape[1],
    }
    return write_h5(path, PAIRS_SCHEMA, VERSION, arrays, attributes)
