"""All usable crops of a workspace as flat arrays, and reading the pictures back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.balance import load_balance
from simhand_cli.crops.waiting import waiting_videos
from simhand_cli.errors import InputProblem
from simhand_cli.workspace.catalog import Catalog
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5

CROPS_SCHEMA, CROPS_VERSION = "simhand.crops", 1
KEYPOINTS_SCHEMA, KEYPOINTS_VERSION = "simhand.keypoints", 1
LEFT, RIGHT = 0, 1


@dataclass(frozen=True)
class CropSet:
    """The selected crops that have keypoints, in the order of video id and row; N crops, V videos.

    Attributes:
        video_ids: V ids.
        video_index: (N,) int32, index into ``video_ids``.
        crop_index: (N,) int32, row in the video's shards.
        keypoints_px: (N, 21, 2) float32 in the stored crop (right-handed), pixel centres.
        valid: (N,) bool, whether the keypoints can be used.
        confidence: (N,) float32 in [0, 1].
        handedness: (N,) uint8, 0 left, 1 right, before mirroring.
        frame_index: (N,) int64.
        timestamp_s: (N,) float64.
        crop_size_px: side of the stored crops.
        left_out: crops left out by right/left balancing.
        waiting: paths of videos that detect or keypoints have still to do, or failed on, by stage.
    """

    video_ids: list[str]
    video_index: NDArray[np.int32]
    crop_index: NDArray[np.int32]
    keypoints_px: NDArray[np.float32]
    valid: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    handedness: NDArray[np.uint8]
    frame_index: NDArray[np.int64]
    timestamp_s: NDArray[np.float64]
    crop_size_px: int
    left_out: int
    waiting: dict[str, list[str]]


def load_crop_set(workspace: Workspace) -> CropSet:
    """Load every selected crop's keypoints (about 200 bytes a crop), not the pictures.

    Raises:
        InputProblem: the keypoints stage has not been run, or left nothing.
    """
    with Catalog(workspace.catalog_path) as catalog:
        balance = load_balance(catalog)
        records = catalog.stage("keypoints")
        waiting = waiting_videos(catalog)
    done = [video_id for video_id, record in records.items() if record.status == "done"]
    if not done:
        raise InputProblem(f"no keypoints in {workspace.root}: run 'simhand detect' and 'simhand keypoints' first")
    columns: dict[str, list[NDArray[np.generic]]] = {}
    video_ids: list[str] = []
    sizes: set[int] = set()
    left_out = 0
    for video_id in done:
        with open_h5(workspace.crops_shard(video_id), CROPS_SCHEMA, CROPS_VERSION) as crops:
            handedness, keys = crops["handedness"][:], crops["balance_key"][:]
            times, frames = crops["timestamp_s"][:], crops["frame_index"][:]
            sizes.add(int(crops.attrs["crop_size_px"]))
        # Balanced here and not when detecting: all crops stay on disk, and the choice may change as videos come.
        rows = np.flatnonzero(balance.selected(handedness, keys)).astype(np.int32)
        left_out += len(handedness) - len(rows)
        # A video whose crops are all left out by the balance is no video of the set.
        if len(rows) == 0:
            continue
        with open_h5(workspace.keypoints_shard(video_id), KEYPOINTS_SCHEMA, KEYPOINTS_VERSION) as keypoints:
            part = {
                # Read whole and then chosen from: HDF5's own selection of rows is far slower.
                "keypoints_px": keypoints["keypoints_px"][:][rows],
                "valid": keypoints["valid"][:][rows].astype(bool),
                "confidence": keypoints["confidence"][:][rows],
            }
        part |= {
            "video_index": np.full(len(rows), len(video_ids), np.int32),
            "crop_index": rows,
            "handedness": handedness[rows],
            "frame_index": frames[rows],
            "timestamp_s": times[rows],
        }
        for name, values in part.items():
            columns.setdefault(name, []).append(values)
        video_ids.append(video_id)
    if not video_ids:
        raise InputProblem(f"no hand was found in any video of {workspace.root}")
    # Pictures are stacked in batches, and keypoints are in crop pixels: sizes must not mix.
    if len(sizes) > 1:
        raise InputProblem(
            f"crops of different sizes {sorted(sizes)} in {workspace.crops_dir}: run 'simhand detect --redo'"
        )
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return CropSet(video_ids=video_ids, crop_size_px=sizes.pop(), left_out=left_out, waiting=waiting, **joined)


def crop_set_fingerprint(workspace: Workspace) -> str:
    """sha256 of all that determines :func:`load_crop_set`'s result, from the catalog alone: no shard is read."""
    with Catalog(workspace.catalog_path) as catalog:
        balance = load_balance(catalog)
        crops, keypoints = catalog.stage("detect"), catalog.stage("keypoints")
    shards = [
        [video_id, crops[video_id].sha256 if video_id in crops else "", record.sha256]
        for video_id, record in sorted(keypoints.items())
        if record.status == "done"
    ]
    return hashlib.sha256(json.dumps([asdict(balance), shards]).encode()).hexdigest()


def read_crops(workspace: Workspace, video_id: str, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Decode crops of one video: RGB (S, S, 3) uint8 pictures of right (or mirrored left) hands."""
    import cv2

    pictures: list[NDArray[np.uint8]] = []
    with open_h5(workspace.crops_shard(video_id), CROPS_SCHEMA, CROPS_VERSION) as file:
        offsets, blob = file["jpeg_offsets"], file["jpeg"]
        for row in rows:
            start, end = int(offsets[row]), int(offsets[row + 1])
            picture = cv2.imdecode(blob[start:end], cv2.IMREAD_COLOR_RGB)
            if picture is None:
                raise InputProblem(
                    f"crop {row} of {workspace.crops_shard(video_id)} is damaged: 'simhand detect --redo'"
                )
            pictures.append(np.asarray(picture, np.uint8))
    return pictures
