"""The contact sheet of mining: queries and their similar hands at growing ranks (SiMHand paper, Fig. 2 and 8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.geometry import apply_affine, invert_affine, square_around, square_crop, warp_crop
from simhand_cli.mining.exact import exact_neighbours, squared_distance
from simhand_cli.mining.search import available_neighbours
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.sheet import Tile, contact_sheet

RANKS: Final = (1, 2, 5, 10, 50, 100, 500, 1000, 5000)
QUERY_FRAME: Final = (10, 106, 166)
SAME_VIDEO_FRAME: Final = (150, 152, 158)
_TILE_PX: Final = 140
#: Side of the part shown, in extents of the joints: stored crops have more margin, and hands would be small in it.
_SHOWN_SCALE: Final = 1.5


@dataclass(frozen=True)
class MinedRows:
    """What the sheet needs of every mined row; N rows, V videos.

    Attributes:
        embedding: (N, D) float32.
        video_index: (N,) int32.
        crop_index: (N,) int32.
        keypoints_px: (N, 21, 2) in the stored crop.
        handedness: (N,) 0 left (shown mirrored), 1 right.
        timestamp_s: (N,) seconds in the video.
        video_ids: V ids.
        video_names: names for captions, of at least the videos shown; ids stand in for the rest.
    """

    embedding: NDArray[np.float32]
    video_index: NDArray[np.int32]
    crop_index: NDArray[np.int32]
    keypoints_px: NDArray[np.float32]
    handedness: NDArray[np.uint8]
    timestamp_s: NDArray[np.float64]
    video_ids: list[str]
    video_names: dict[str, str]


ReadCrops = Callable[[str, Sequence[int]], list[NDArray[np.uint8]]]


def choose_queries(video_index: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """Random rows, from as many different videos as there are; the same seed gives the same rows.

    Args:
        video_index: (N,) video of each row.
        count: rows wanted; fewer are returned if N is smaller.
        seed: of the choice.
    """
    shuffled = np.random.default_rng(seed).permutation(len(video_index))
    order = np.argsort(video_index[shuffled], kind="stable")
    videos = video_index[shuffled[order]]
    # The how-many-th row of its video: all first rows come before any second one.
    turn = np.arange(len(videos)) - np.searchsorted(videos, videos)
    place = np.empty(len(videos), np.int64)
    place[order] = turn
    return np.asarray(shuffled[np.argsort(place, kind="stable")][:count], dtype=np.int64)


def shown_ranks(video_index: NDArray[np.int32], queries: NDArray[np.int64]) -> list[int]:
    """The ranks of the sheet that every query has."""
    # The same columns for all rows of the sheet.
    most = int(available_neighbours(video_index)[queries].min())
    return [rank for rank in RANKS if rank <= most]


def pair_sheet(rows: MinedRows, read_crops: ReadCrops, count: int, seed: int) -> NDArray[np.uint8]:
    """Draw the sheet.

    One row per query: the query, the nearest hand of its own video (which mining leaves out), then the hands of
    other videos at ranks 1, 2, 5, ... found by exact search, whatever K was mined.

    Args:
        rows: the mined rows.
        read_crops: (video id, crop rows) -> RGB pictures.
        count: queries wanted.
        seed: of their choice.
    """
    queries = choose_queries(rows.video_index, count, seed)
    ranks = shown_ranks(rows.video_index, queries)
    # Exact: the sheet judges the embedding, not the index.
    found = exact_neighbours(rows.embedding, rows.video_index, queries, ranks[-1])
    same_video = np.array([_nearest_of_own_video(rows, query) for query in queries])
    columns = np.column_stack([queries, same_video, found.rows[:, np.array(ranks) - 1]])
    pictures = _read(rows, np.unique(columns[columns >= 0]), read_crops)
    table = [
        [_tile(rows, pictures, int(line[0]), int(row), place) for place, row in enumerate(line)] for line in columns
    ]
    return contact_sheet(
        table,
        tile_px=_TILE_PX,
        column_labels=["query", "same video ✗", *(f"Top-{rank}" for rank in ranks)],
        title="Similar hands from other videos",
    )


def _nearest_of_own_video(rows: MinedRows, query: np.int64) -> int:
    others = np.flatnonzero(rows.video_index == rows.video_index[query])
    others = others[others != query]
    if len(others) == 0:
        return -1
    squared = squared_distance(rows.embedding, np.full_like(others, query), others)
    return int(others[squared.argmin()])


def _read(rows: MinedRows, wanted: NDArray[np.int64], read_crops: ReadCrops) -> dict[int, NDArray[np.uint8]]:
    """Row id -> the hand, cut out around its keypoints, with the skeleton drawn."""
    drawn: dict[int, NDArray[np.uint8]] = {}
    # Video by video, so that each shard is opened once.
    for video in np.unique(rows.video_index[wanted]):
        ids = wanted[rows.video_index[wanted] == video]
        crops = read_crops(rows.video_ids[video], [int(i) for i in rows.crop_index[ids]])
        for row, crop in zip(ids, crops, strict=True):
            points = rows.keypoints_px[row]
            center, side = square_around(points, _SHOWN_SCALE)
            crop_from_tile = square_crop(center, side, _TILE_PX)
            tile = warp_crop(crop, crop_from_tile, _TILE_PX)
            drawn[int(row)] = draw_skeleton(tile, apply_affine(invert_affine(crop_from_tile), points))
    return drawn


def _tile(rows: MinedRows, pictures: dict[int, NDArray[np.uint8]], query: int, row: int, place: int) -> Tile:
    """The tile of one column: 0 the query, 1 its own video, then other videos."""
    if row < 0:
        return Tile(None, "no other hand")
    video_id = rows.video_ids[rows.video_index[row]]
    name = rows.video_names.get(video_id, video_id)
    side = "" if rows.handedness[row] else " · left"
    if place == 0:
        return Tile(pictures[row], f"{name}\n{rows.timestamp_s[row]:.1f} s{side}", QUERY_FRAME)
    distance = float(np.sqrt(squared_distance(rows.embedding, np.array(query), np.array(row))))
    caption = f"{name}\nd {distance:.2f}{side}"
    return Tile(pictures[row], caption, SAME_VIDEO_FRAME if place == 1 else None)
