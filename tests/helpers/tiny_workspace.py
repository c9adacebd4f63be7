"""A workspace as after 'simhand mine', with drawn hands instead of photographed ones."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from simhand_cli.crops.crop_set import crop_set_fingerprint
from simhand_cli.mining.manifest import write_manifest
from simhand_cli.training.log.metrics_log import MetricsLog
from simhand_cli.workspace.catalog import Catalog, StageRecord
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import pack_blobs, write_h5

CROP_PX = 48
#: Options of a run that takes well under a second: a tiny encoder on small views.
TINY = {
    "backbone": "test_resnet",
    "epochs": 2,
    "batch_size": 8,
    "lr": 1e-3,
    "gpus": 0,
    "workers": 0,
    "precision": "fp32",
    "views": {"output_px": 32},
}


def make_workspace(root: Path, videos: int = 3, crops_per_video: int = 10, without_positive: int = 2) -> Path:
    """Write catalog, crops shards and mining files; every row's positives lie in the next video."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    video_ids = [f"{video:016x}" for video in range(videos)]
    keypoints = rng.normal(CROP_PX / 2, CROP_PX / 10, (videos, crops_per_video, 21, 2)).astype(np.float32)
    for video_id, points in zip(video_ids, keypoints, strict=True):
        blobs = []
        for joints in points:
            image = rng.integers(0, 120, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
            for x, y in joints:
                cv2.circle(image, (round(float(x)), round(float(y))), 2, (60, 150, 250), -1)
            blobs.append(cv2.imencode(".jpg", image)[1].tobytes())
        jpeg, offsets = pack_blobs(blobs)
        attributes = {"video_id": video_id, "crop_size_px": CROP_PX, "margin": 2.0}
        shard = root / "crops" / f"{video_id}.h5"
        sha256 = write_h5(shard, "simhand.crops", 1, {"jpeg": jpeg, "jpeg_offsets": offsets}, attributes)
        with Catalog(root / "catalog.sqlite") as catalog:
            catalog.record_stage("detect", StageRecord(video_id, "done", sha256, shard.stat().st_size))
            catalog.record_stage("keypoints", StageRecord(video_id, "done", "0" * 64, 0))
    rows = videos * crops_per_video
    embeddings = {
        "embedding": rng.normal(size=(rows, 14)).astype(np.float32),
        "keypoints_px": keypoints.reshape(rows, 21, 2),
        "video_index": np.repeat(np.arange(videos, dtype=np.int32), crops_per_video),
        "crop_index": np.tile(np.arange(crops_per_video, dtype=np.int32), videos),
        "video_ids": np.array(video_ids, dtype=object),
    }
    write_h5(root / "mining" / "embeddings.h5", "simhand.embeddings", 1, embeddings, {"crop_size_px": CROP_PX})
    anchor = np.arange(rows, dtype=np.int64)
    positive = np.stack([(anchor + crops_per_video) % rows, (anchor + crops_per_video + 1) % rows], axis=1)
    positive[rows - without_positive :] = -1
    pairs = {"anchor": anchor, "positive": positive, "distance": np.ones((rows, 2), np.float32)}
    write_h5(root / "mining" / "pairs.h5", "simhand.pairs", 1, pairs, {"topk": 2})
    write_manifest(root / "mining", {}, crop_set_fingerprint(Workspace(root)), {}, {})
    return root


def add_tracks(root: Path, videos: int = 3, crops_per_video: int = 10) -> None:
    """Let one hand drift through every video of :func:`make_workspace`; in the last one it jumps after every frame."""
    for video in range(videos):
        with h5py.File(root / "crops" / f"{video:016x}.h5", "a") as file:
            file["timestamp_s"] = np.arange(crops_per_video, dtype=np.float64)
            file["handedness"] = np.ones(crops_per_video, np.uint8)
            left = (40 if video == videos - 1 else 1) * np.arange(crops_per_video, dtype=np.float32)
            file["box_xyxy_px"] = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)


@contextmanager
def terminated_after_logging(step: int) -> Iterator[None]:
    """SIGTERM comes as soon as the metrics of a step are written."""
    write = MetricsLog.write

    def write_then_stop(log: MetricsLog, at: int, values: dict[str, Any]) -> None:
        write(log, at, values)
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MetricsLog, "write", write_then_stop)
        yield
