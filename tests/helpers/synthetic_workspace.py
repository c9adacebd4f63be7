"""A workspace with made-up hands, as detect and keypoints would leave it."""

from pathlib import Path

import cv2
import numpy as np

from simhand_cli.workspace.catalog import Catalog, StageRecord, VideoRecord
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import pack_blobs, write_h5

CROP_PX = 224


def open_hands(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 21, 2) plausible keypoints in a crop: fingers that bend and spread."""
    bend, spread = rng.uniform(0.25, 1.0, (count, 5)), rng.uniform(0.6, 1.3, (count, 1))
    angles = np.radians(np.linspace(-60, 40, 5))[None] * spread + rng.normal(0, 0.1, (count, 5))
    hands = np.zeros((count, 21, 2))
    for finger in range(5):
        direction = np.stack([np.sin(angles[:, finger]), -np.cos(angles[:, finger])], axis=1)
        for joint in range(4):
            reach = 30 + 18 * joint * bend[:, finger : finger + 1]
            hands[:, 1 + 4 * finger + joint] = direction * reach
    return (hands + rng.normal(0, 1, hands.shape) + [112, 150]).astype(np.float32)


def add_video(
    workspace: Workspace,
    catalog: Catalog,
    video_id: str,
    keypoints: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> None:
    """Write one video's shards and record both stages."""
    count = len(keypoints)
    rng = np.random.default_rng(int(video_id, 16))
    picture = cv2.imencode(".jpg", rng.integers(60, 190, (8, 8, 3), dtype=np.uint8).repeat(28, 0).repeat(28, 1))[1]
    jpeg, offsets = pack_blobs([picture.tobytes()] * count)
    frames = np.arange(count, dtype=np.int64)
    crops = {
        "jpeg": jpeg,
        "jpeg_offsets": offsets,
        "frame_index": frames,
        "timestamp_s": frames.astype(np.float64),
        "handedness": rng.integers(0, 2, count).astype(np.uint8),
        "balance_key": rng.integers(0, 2**63, count).astype(np.uint64),
    }
    sha = write_h5(workspace.crops_shard(video_id), "simhand.crops", 1, crops, {"crop_size_px": CROP_PX})
    detected = StageRecord(video_id, "done", sha, workspace.crops_shard(video_id).stat().st_size)
    points = {
        "keypoints_px": keypoints.astype(np.float32),
        "valid": np.ones(count, np.uint8) if valid is None else valid.astype(np.uint8),
        "confidence": np.full(count, 0.9, np.float32) if confidence is None else confidence.astype(np.float32),
    }
    sha = write_h5(workspace.keypoints_shard(video_id), "simhand.keypoints", 1, points, {})
    estimated = StageRecord(video_id, "done", sha, workspace.keypoints_shard(video_id).stat().st_size)
    record = VideoRecord(
        video_id, video_id * 4, "video", f"/videos/{video_id}.mp4", 640, 480, 0, count, count, float(count), 1.0,
        "h264", frames, frames.astype(np.float64),
    )  # fmt: skip
    catalog.add_video(record.path, "fingerprint", record)
    catalog.record_stage("detect", detected)
    catalog.record_stage("keypoints", estimated)


def make_workspace(root: Path, hands_per_video: list[int], seed: int = 0) -> Workspace:
    """A workspace of several videos with random hands."""
    workspace, rng = Workspace(root), np.random.default_rng(seed)
    with Catalog(workspace.catalog_path) as catalog:
        for number, count in enumerate(hands_per_video):
            add_video(workspace, catalog, f"{number + 1:016x}", open_hands(rng, count))
    return workspace
