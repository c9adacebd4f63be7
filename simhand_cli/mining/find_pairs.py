"""Similar hands of a crop set: embedding, index and search, and the arrays written to disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.crops.crop_set import CropSet
from simhand_cli.mining.exact import Neighbours, exact_neighbours
from simhand_cli.mining.index import IndexSettings, build_index, save_index
from simhand_cli.mining.pair_sheet import MinedRows
from simhand_cli.mining.pairs import write_embeddings, write_pairs, write_pca
from simhand_cli.mining.pose_embedding import PosePca, embed
from simhand_cli.mining.search import SearchLog, indexed_neighbours, measure_recall
from simhand_cli.mining.selection import Selection

SearchKind = Literal["exact", "hnsw"]


@dataclass(frozen=True)
class MiningSettings:
    """How to mine.

    Attributes:
        topk: neighbours kept per row.
        dimensions: of the embedding.
        search: how neighbours are found.
        index: of the hnsw graph.
        recall_rows: rows on which hnsw is checked against exact search.
        threads: of the hnsw search.
    """

    topk: int
    dimensions: int
    search: SearchKind
    index: IndexSettings
    recall_rows: int
    threads: int


@dataclass(frozen=True)
class Mined:
    """What mining found.

    Attributes:
        pca: the projection.
        index: the ``hnswlib.Index`` over the embedding.
        found: neighbours of every row.
        recall: share of the true neighbours found, measured on ``recall_rows`` rows.
        recall_rows: rows measured.
        log: what the over-fetch did; None for exact search.
    """

    pca: PosePca
    embedding: NDArray[np.float32]
    index: Any
    found: Neighbours
    recall: float
    recall_rows: int
    log: SearchLog | None


def find_pairs(
    keypoints_px: NDArray[np.float32],
    rows: NDArray[np.int64],
    video_index: NDArray[np.int32],
    settings: MiningSettings,
    console: Console,
) -> Mined:
    """Embed the chosen rows, build the index and search.

    Args:
        keypoints_px: (M, 21, 2) of all crops.
        rows: (N,) rows that take part, finite and not in one place.
        video_index: (N,) video of each of these rows.
        settings: how.
        console: for progress.
    """
    pca, embedding = embed(keypoints_px, rows, settings.dimensions)
    with console.progress("index", len(rows), "crops") as ticker:
        # Also for exact search: the index is part of what mining leaves.
        index = build_index(embedding, settings.index, ticker)
    log: SearchLog | None = None
    with console.progress(f"{settings.search} search", len(rows), "crops") as ticker:
        if settings.search == "exact":
            found = exact_neighbours(embedding, video_index, np.arange(len(rows)), settings.topk, ticker)
        else:
            ef, threads = settings.index.ef, settings.threads
            found, log = indexed_neighbours(
                index, embedding, video_index, settings.topk, ef=ef, threads=threads, ticker=ticker
            )
    recall, checked = 1.0, len(rows)
    if log is not None:
        generator = np.random.default_rng(settings.index.seed)
        checked = min(settings.recall_rows, len(rows))
        # Sorted, so that queries of one video stand together in exact search.
        sample = np.sort(generator.choice(len(rows), checked, replace=False))
        recall = measure_recall(found, embedding, video_index, sample)
    return Mined(pca, embedding, index, found, recall, checked, log)


def mined_rows(crops: CropSet, rows: NDArray[np.int64], mined: Mined, video_names: dict[str, str]) -> MinedRows:
    """The columns of the crop set for the mined rows."""
    return MinedRows(
        embedding=mined.embedding,
        video_index=crops.video_index[rows],
        crop_index=crops.crop_index[rows],
        keypoints_px=crops.keypoints_px[rows],
        handedness=crops.handedness[rows],
        timestamp_s=crops.timestamp_s[rows],
        video_ids=crops.video_ids,
        video_names=video_names,
    )


def write_arrays(
    directory: Path, rows: MinedRows, mined: Mined, settings: MiningSettings, crop_size_px: int, selection: Selection
) -> dict[str, str]:
    """Write projection, embeddings, index and pairs; returns file name -> sha256.

    Pairs are row ids into the embeddings, so old pairs are removed before new embeddings appear and the new ones come
    last: a reader never sees the two mixed.
    """
    pairs = directory / "pairs.h5"
    pairs.unlink(missing_ok=True)
    outputs = {"pca.h5": write_pca(directory / "pca.h5", mined.pca)}
    outputs["embeddings.h5"] = write_embeddings(
        directory / "embeddings.h5",
        embedding=rows.embedding,
        keypoints_px=rows.keypoints_px,
        video_index=rows.video_index,
        crop_index=rows.crop_index,
        video_ids=rows.video_ids,
        crop_size_px=crop_size_px,
        pca=mined.pca,
        excluded_nonfinite=selection.nonfinite,
    )
    outputs |= save_index(mined.index, directory / "index.hnsw", mined.embedding, settings.index)
    outputs["pairs.h5"] = write_pairs(
        pairs, mined.found, index=settings.search, recall=mined.recall, recall_rows=mined.recall_rows
    )
    return outputs
