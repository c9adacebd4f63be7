"""The keypoints stage's work on one video: its crops in, 21 joints a crop out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION, KEYPOINTS_SCHEMA, KEYPOINTS_VERSION
from simhand_cli.errors import InputProblem
from simhand_cli.hands.detect import worker_adapter
from simhand_cli.hands.mediapipe_landmarker import DetectedHand, estimator_identity
from simhand_cli.workspace.catalog import StageRecord
from simhand_cli.workspace.shards import open_h5, write_h5

FROM_CROP, FROM_DETECTION = 0, 1
#: A hand found in the crop is the crop's own if its joints lie, on average, within this share of the hand's size from
#: where detection saw them; otherwise it is the other hand of the person.
SAME_HAND_DISTANCE = 0.3


@dataclass(frozen=True)
class KeypointsJob:
    """One video's work."""

    video_id: str
    crops: Path
    crops_sha256: str
    shard: Path


def estimate_video(job: KeypointsJob) -> StageRecord:
    """Estimate the joints of every crop of one video and write its keypoints shard.

    The crop, with its margin, is given to the estimator once more: the hand is larger there than in the frame and, with
    left hands mirrored, always a right one. Where it finds nothing, detection's own landmarks stand in, marked so.

    Raises:
        InputProblem: the crops shard is missing or damaged.
    """
    import cv2

    with open_h5(job.crops, CROPS_SCHEMA, CROPS_VERSION) as file:
        blob, offsets = file["jpeg"][:], file["jpeg_offsets"][:]
        detected_px, detected_world = file["landmarks_px"][:], file["world_mm"][:]
        scores = file["score"][:]
        crop_size_px = int(file.attrs["crop_size_px"])
    count = len(scores)
    # Detection's own are the start, so that rows without a better estimate need nothing more.
    keypoints_px, world_mm = detected_px.copy(), detected_world.copy()
    confidence, source = scores.copy(), np.full(count, FROM_DETECTION, np.uint8)
    for row in range(count):
        picture = cv2.imdecode(blob[offsets[row] : offsets[row + 1]], cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise InputProblem(f"crop {row} of {job.crops} is damaged; 'simhand detect --redo' makes it again")
        hand = closest_hand(worker_adapter().detect(np.asarray(picture, np.uint8)), detected_px[row])
        if hand is not None:
            keypoints_px[row], world_mm[row] = hand.landmarks_px, hand.world_mm
            confidence[row], source[row] = hand.score, FROM_CROP
    # Kept and marked, not left out: rows of this shard must match those of the crops.
    valid = usable(keypoints_px, crop_size_px)
    arrays = {
        "keypoints_px": keypoints_px.astype(np.float32),
        "world_mm": world_mm.astype(np.float32),
        "confidence": confidence.astype(np.float32),
        "valid": valid.astype(np.uint8),
        "source": source,
    }
    attributes = {"video_id": job.video_id, "crops_sha256": job.crops_sha256, **estimator_identity()}
    sha256 = write_h5(job.shard, KEYPOINTS_SCHEMA, KEYPOINTS_VERSION, arrays, attributes)
    counts = {
        "crops": count,
        "from_crop": int((source == FROM_CROP).sum()),
        "from_detection": int((source == FROM_DETECTION).sum()),
        "invalid": int((~valid).sum()),
    }
    return StageRecord(job.video_id, "done", sha256, job.shard.stat().st_size, counts)


def closest_hand(hands: list[DetectedHand], expected_px: NDArray[np.float32]) -> DetectedHand | None:
    """The right hand nearest to where detection saw it, (21, 2) in the crop; None if none is near enough.

    A crop always shows a right hand (left ones are mirrored), so an estimate of a left hand is another hand, or one
    whose joints cannot be trusted.
    """
    size_px = float((expected_px.max(axis=0) - expected_px.min(axis=0)).max())
    best, best_px = None, SAME_HAND_DISTANCE * size_px
    for hand in hands:
        distance_px = float(np.linalg.norm(hand.landmarks_px - expected_px, axis=1).mean())
        if hand.handedness == "right" and distance_px <= best_px:
            best, best_px = hand, distance_px
    return best


def usable(keypoints_px: NDArray[np.float32], crop_size_px: int) -> NDArray[np.bool_]:
    """Which of (N, 21, 2) keypoints can be learned from: finite, not collapsed to a point, mostly inside the crop."""
    finite = np.isfinite(keypoints_px).all(axis=(1, 2))
    # Zeros stand in for NaN; the first test refuses those rows in any case.
    extent = np.ptp(np.where(np.isfinite(keypoints_px), keypoints_px, 0.0), axis=1).max(axis=1)
    # Whole numbers are pixel centres: a picture reaches half a pixel beyond its outer ones.
    inside = ((keypoints_px > -0.5) & (keypoints_px < crop_size_px - 0.5)).all(axis=2).mean(axis=1)
    return np.asarray(finite & (extent >= 0.05 * crop_size_px) & (inside >= 0.5))
