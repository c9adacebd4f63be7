"""Pairs of crops for contrastive training: which pair comes when, and fetching their pixels and joints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from simhand_cli.crops.reader import CropReader
from simhand_cli.errors import InputProblem, SimhandError, machine_problem
from simhand_cli.mining.exact import exact_neighbours
from simhand_cli.mining.pairs import EMBEDDINGS_SCHEMA, PAIRS_SCHEMA, VERSION
from simhand_cli.pretrain.pairs.epoch_order import Request
from simhand_cli.pretrain.pairs.pair_batch import EncodedBatch, Jpegs, PairBatch, random_keys
from simhand_cli.pretrain.pairs.temporal_pairs import temporal_positives
from simhand_cli.views.counter_rng import combine, uniforms
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5_file

#: What the second view shows: the same image, the same hand a moment later, or one mined from another video.
Positive = Literal["same-image", "next-frame", "mined"]
#: Stream of random numbers beside those of the two views.
_POSITIVE_STREAM = 2


@dataclass(frozen=True)
class PairTable:
    """All pairs of a workspace as flat arrays, most of them mapped from the files, not read.

    Attributes:
        anchor: (P,) int64 rows of the embeddings file.
        positive: (P, K) int64 rows to choose from, the first one at least, -1 where there are fewer; the anchor itself
            for methods that contrast an image with itself.
        video_index, crop_index: (N,) int32; where each row's crop lies.
        keypoints_px: (N, 21, 2) float32 in the stored crop.
        video_ids: V ids.
        crop_size_px: side of the stored crops.
        without_positive: rows left out since no positive of the wanted rank was found.
        beyond_limit: rows left out by ``limit_crops``.
        embedding: (N, D) float32 pose embeddings; None where they were not asked for.
    """

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    video_index: NDArray[np.int32]
    crop_index: NDArray[np.int32]
    keypoints_px: NDArray[np.float32]
    video_ids: list[str]
    crop_size_px: int
    without_positive: int
    beyond_limit: int
    embedding: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.anchor)


def load_pair_table(
    workspace: Workspace,
    kind: Positive,
    *,
    positive_rank: int = 1,
    drawn_among: int = 1,
    temporal_gap: int = 2,
    limit_crops: int | None = None,
    seed: int = 0,
    with_embeddings: bool = False,
) -> PairTable:
    """The pairs to train on.

    Args:
        workspace: where ``simhand mine`` has been run.
        kind: what every crop is paired with.
        positive_rank: which of the mined neighbours is the positive, 1 = the nearest.
        drawn_among: so many neighbours from that rank on may be the positive; one is drawn for every epoch.
        temporal_gap: sampled frames without the hand that may lie between a crop and the next of the same hand.
        limit_crops: use only so many crops, drawn at random with ``seed``. Mined positives are then mined anew among
            them, exactly; the moment after a crop may still lie outside.
        seed: of that draw.
        with_embeddings: batches bring the crops' pose embeddings along.

    Raises:
        InputProblem: not mined yet, mined with fewer neighbours, or nothing left.
    """
    embeddings, pairs = workspace.mining_dir / "embeddings.h5", workspace.mining_dir / "pairs.h5"
    if not embeddings.is_file() or not pairs.is_file():
        raise InputProblem(f"no mined pairs in {workspace.root}: run 'simhand mine' first")
    rows = _Columns(embeddings, EMBEDDINGS_SCHEMA, VERSION)
    with_pairs = _Columns(pairs, PAIRS_SCHEMA, VERSION)
    anchor, positives = with_pairs.mapped("anchor"), with_pairs.mapped("positive")
    beyond = 0
    if kind == "same-image":
        anchor = np.arange(rows.length("crop_index"), dtype=np.int64)
        positive = anchor[:, None]
    elif kind == "next-frame":
        anchor = np.arange(rows.length("crop_index"), dtype=np.int64)
        place = rows.mapped("video_index"), rows.mapped("crop_index")
        positive = temporal_positives(workspace, rows.strings("video_ids"), *place, temporal_gap)[:, None]
    else:
        first, last = positive_rank - 1, positive_rank + drawn_among - 1
        # Mined anew: the mined neighbours of a subset mostly lie outside it.
        if limit_crops is not None and limit_crops < len(anchor):
            beyond, anchor = len(anchor) - limit_crops, _draw(np.asarray(anchor), limit_crops, seed)
            positives = _mined_among(anchor, rows, last)
        else:
            _check_enough_mined(positive_rank, drawn_among, positives.shape[1])
        positive = positives[:, first:last]
    # Neighbours fill up from the nearest on, so the first one tells whether there is any.
    chosen = np.flatnonzero(positive[:, 0] >= 0)
    without = len(positive) - len(chosen)
    if kind != "mined" and limit_crops is not None and limit_crops < len(chosen):
        beyond, chosen = len(chosen) - limit_crops, _draw(chosen, limit_crops, seed)
    if len(chosen) < 2:
        raise InputProblem(
            f"only {len(chosen)} of {len(anchor)} crops can be used: at least 2 pairs are needed; "
            "ingest more videos, or mine with a larger --topk"
        )
    return PairTable(
        # Copies: indexing a mapped file page by page in random order would be slow.
        anchor=np.ascontiguousarray(anchor[chosen], dtype=np.int64),
        positive=np.ascontiguousarray(positive[chosen], dtype=np.int64),
        video_index=rows.mapped("video_index"),
        crop_index=rows.mapped("crop_index"),
        keypoints_px=rows.mapped("keypoints_px"),
        video_ids=rows.strings("video_ids"),
        crop_size_px=int(rows.attribute("crop_size_px")),
        without_positive=without,
        beyond_limit=beyond,
        embedding=rows.mapped("embedding") if with_embeddings else None,
    )


def _check_enough_mined(positive_rank: int, drawn_among: int, mined: int) -> None:
    last = positive_rank + drawn_among - 1
    if last > mined:
        asked = f"--positive-rank {positive_rank}" + (f" --positives {drawn_among}" if drawn_among > 1 else "")
        raise InputProblem(f"{asked}, but {mined} neighbours were mined; run 'simhand mine --topk {last} --redo' first")


def _draw(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """So many of the rows, in order."""
    # In order, so that pages of the files are read one after the other.
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng([seed, 1]).permutation(len(rows))[:count])
    return rows[chosen]


def _mined_among(anchor: NDArray[np.int64], rows: "_Columns", topk: int) -> NDArray[np.int64]:
    """The nearest anchors (A, K) from other videos of every anchor: nothing is seen but the subset."""
    embedding = np.asarray(rows.mapped("embedding")[anchor])
    found = exact_neighbours(embedding, np.asarray(rows.mapped("video_index")[anchor]), np.arange(len(anchor)), topk)
    return np.where(found.rows >= 0, anchor[found.rows], -1)


class _Columns:
    """Datasets of one HDF5 file as memory maps: loaded by page and shared by the forked workers."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._path = path
        self._file = open_h5_file(path, schema, version)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _dataset(self, name: str) -> Any:
        if name not in self._file:
            raise InputProblem(f"{self._path} lacks '{name}': run 'simhand mine --redo'")
        return self._file[name]

    def mapped(self, name: str) -> NDArray[Any]:
        dataset = self._dataset(name)
        # HDF5 stores an uncompressed dataset in one piece; its place in the file is enough to map it.
        place = dataset.id.get_offset()
        if place is None or dataset.size == 0:  # compressed by someone else, or empty
            return np.asarray(dataset[...])
        return np.memmap(self._path, dtype=dataset.dtype, mode="r", offset=place, shape=dataset.shape)

    def length(self, name: str) -> int:
        return len(self._dataset(name))

    def strings(self, name: str) -> list[str]:
        return [str(text) for text in self._dataset(name).asstr()[...]]

    def attribute(self, name: str) -> Any:
        if name not in self._file.attrs:
            raise InputProblem(f"{self._path} lacks '{name}': run 'simhand mine --redo'")
        return self._file.attrs[name]


def draw_positives(candidates: NDArray[np.int64], keys: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """One positive (B,) of each pair's candidates (B, K), -1 for none: a function of (seed, key) alone."""
    # The usual case draws nothing, and so leaves no trace in the numbers.
    if candidates.shape[1] == 1:
        return candidates[:, 0]
    count = (candidates >= 0).sum(axis=1)
    # By the pair's key and not in turn: whichever worker or rank asks gets the same positive.
    number = uniforms(seed, torch.from_numpy(keys), _POSITIVE_STREAM, 1)[:, 0].numpy()
    return np.asarray(candidates[np.arange(len(keys)), (number * count).astype(np.int64)])


class PairDataset(Dataset[PairBatch]):
    """Fetches whole batches: ``dataset.__getitems__(Request(epoch, pairs))``, ``pairs`` (B,) indices into the table.

    ``encoded``: leave the crops as JPEG files, for a GPU to decode.
    """

    def __init__(self, table: PairTable, crops_dir: Path, seed: int, *, encoded: bool = False) -> None:
        self._table, self._seed, self._encoded = table, seed, encoded
        self._reader = CropReader(crops_dir, table.video_ids, table.crop_size_px)

    def __len__(self) -> int:
        return len(self._table)

    def __getitems__(self, request: Request) -> PairBatch | EncodedBatch | SimhandError:
        """The batch, or what is wrong with it: an exception raised in a worker would arrive as a traceback."""
        epoch, pairs, repeats = request
        again = None if repeats is None else torch.from_numpy(repeats)
        rows1 = self._table.anchor[pairs]
        keys = random_keys(torch.from_numpy(rows1), again).numpy()
        rows2 = draw_positives(self._table.positive[pairs], keys, combine(self._seed, epoch))
        fetch = self._files if self._encoded else self._crops
        try:
            fetched1 = fetch(rows1)
            fetched2 = fetched1 if np.array_equal(rows1, rows2) else fetch(rows2)
        except SimhandError as problem:
            return problem
        except (OSError, MemoryError) as error:
            if (told := machine_problem(error)) is None:
                raise
            return told
        if isinstance(fetched1, Jpegs) and isinstance(fetched2, Jpegs):
            nothing = torch.empty((len(pairs), 0, 0, 3), dtype=torch.uint8)
            return EncodedBatch(fetched1, fetched2, self._batch(nothing, nothing, rows1, rows2, epoch, again))
        assert isinstance(fetched1, Tensor)
        assert isinstance(fetched2, Tensor)
        return self._batch(fetched1, fetched2, rows1, rows2, epoch, again)

    def files_of(self, count: int) -> Jpegs:
        """The JPEG files of the first so many anchors, or of all.

        Raises:
            InputProblem: a shard or a crop is missing.
        """
        return self._files(self._table.anchor[:count])

    def _batch(
        self,
        crops1: Tensor,
        crops2: Tensor,
        rows1: NDArray[np.int64],
        rows2: NDArray[np.int64],
        epoch: int,
        repeats: Tensor | None,
    ) -> PairBatch:
        keypoints, embedding = self._table.keypoints_px, self._table.embedding
        return PairBatch(
            crops1,
            crops2,
            torch.from_numpy(np.asarray(keypoints[rows1])),
            torch.from_numpy(np.asarray(keypoints[rows2])),
            torch.from_numpy(rows1),
            torch.from_numpy(rows2),
            epoch,
            None if embedding is None else torch.from_numpy(np.asarray(embedding[rows1])),
            None if embedding is None else torch.from_numpy(np.asarray(embedding[rows2])),
            repeats,
        )

    def _crops(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._reader.read(self._table.video_index[rows], self._table.crop_index[rows]))

    def _files(self, rows: NDArray[np.int64]) -> Jpegs:
        files = self._reader.files(self._table.video_index[rows], self._table.crop_index[rows])
        return Jpegs.joined(files, rows, self._table.crop_size_px)
