"""The detect stage's work on one video: sampled frames in, one shard of right-handed crops out."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.balance import balance_keys
from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION, LEFT, RIGHT
from simhand_cli.crops.geometry import apply_affine, box_iou, inside_frame, invert_affine, square_crop, warp_crop
from simhand_cli.errors import InputProblem
from simhand_cli.hands.mediapipe_landmarker import DetectedHand, HandLandmarkerAdapter, estimator_identity
from simhand_cli.video.decode import Frame, iterate_frames
from simhand_cli.video.images import iterate_images
from simhand_cli.workspace.catalog import StageRecord
from simhand_cli.workspace.shards import pack_blobs, write_h5

#: Two hands of one frame whose boxes overlap by more than this (IoU) are one hand seen twice.
SAME_HAND_IOU = 0.7


@dataclass(frozen=True)
class DetectJob:
    """One video's work."""

    video_id: str
    path: str
    kind: str
    frame_index: NDArray[np.int64]
    shard: Path
    crop_size_px: int
    margin: float
    jpeg_quality: int
    min_hand_px: float
    seed: int


@dataclass
class _Rows:
    """Crops of one video as they are found."""

    jpeg: list[bytes] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, jpeg: bytes, **values: Any) -> None:
        self.jpeg.append(jpeg)
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)


_adapter: HandLandmarkerAdapter | None = None


def start_worker(landmarker_file: Path | None, max_hands: int, min_confidence: float) -> None:
    """Load the landmarker once in a worker process; it is closed when the process ends."""
    global _adapter
    from multiprocessing.util import Finalize

    import cv2

    # Every core has a process already; threads of OpenCV's own would only compete with them.
    cv2.setNumThreads(1)
    _adapter = HandLandmarkerAdapter(landmarker_file, max_hands, min_confidence)
    # Not atexit: that runs after the thread pools, which closing needs, have shut down.
    Finalize(None, _adapter.close, exitpriority=1)


def worker_adapter() -> HandLandmarkerAdapter:
    """The landmarker of this worker process."""
    assert _adapter is not None, "start_worker has not run in this process"
    return _adapter


def detect_video(job: DetectJob) -> StageRecord:
    """Find hands in the sampled frames of one video and write its crops shard.

    Returns:
        ``done`` with counts, or ``skipped`` if no hand was found.

    Raises:
        InputProblem: no sampled frame can be decoded any more.
    """
    rows = _Rows()
    counts = dict.fromkeys(("frames", "frames_with_hand", "left", "right", "too_small", "seen_twice"), 0)
    for frame in _frames(job):
        counts["frames"] += 1
        hands = _detect(frame, tight=job.kind == "images")
        kept = _distinct(hands, job.min_hand_px, counts)
        counts["frames_with_hand"] += bool(hands)
        for hand in kept:
            counts[hand.handedness] += 1
            _add_crop(rows, frame, hand, job)
    # Files may have changed since they were ingested; what is gone is counted, not an error.
    counts["frames_lost"] = len(job.frame_index) - counts["frames"]
    if counts["frames"] == 0:
        raise InputProblem("none of its sampled frames decodes any more; was the file changed or moved?")
    if not rows.jpeg:
        return StageRecord(
            job.video_id, "skipped", counts=counts, reason=f"no hand found in {counts['frames']} sampled frames"
        )
    sha256 = _write(rows, job)
    return StageRecord(job.video_id, "done", sha256, job.shard.stat().st_size, counts)


def _frames(job: DetectJob) -> Iterator[Frame]:
    if job.kind == "images":
        return iterate_images(Path(job.path), job.frame_index)
    return iterate_frames(Path(job.path), job.frame_index)


def _detect(frame: Frame, tight: bool) -> list[DetectedHand]:
    """Hands of a frame; a still on which none is found is tried again with a border.

    Image sets are often cropped to the hand, where the palm detector fails: a border of 30 % raised the share of
    100 px stills with a hand from 83 % to 99 %. Frames of videos show more than the hand; for them it would only cost.
    """
    hands = worker_adapter().detect(frame.image_rgb)
    if hands or not tight:
        return hands
    border = round(0.3 * max(frame.image_rgb.shape[:2]))
    # The edge repeated, not black: a hard border looks like part of the picture.
    padded = np.pad(frame.image_rgb, ((border, border), (border, border), (0, 0)), mode="edge")
    found = worker_adapter().detect(padded)
    return [replace(hand, landmarks_px=hand.landmarks_px - border) for hand in found]


def _distinct(hands: list[DetectedHand], min_hand_px: float, counts: dict[str, int]) -> list[DetectedHand]:
    """Drop hands that are too small, and the weaker of two on the same place."""
    kept: list[DetectedHand] = []
    for hand in sorted(hands, key=lambda h: -h.score):
        box = hand_box(hand.landmarks_px)
        if max(box[2] - box[0], box[3] - box[1]) < min_hand_px:
            counts["too_small"] += 1
        elif any(box_iou(box, hand_box(other.landmarks_px)) > SAME_HAND_IOU for other in kept):
            counts["seen_twice"] += 1
        else:
            kept.append(hand)
    return kept


def hand_box(landmarks_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box (4,) ``xyxy`` around landmarks (21, 2), in the same pixels."""
    return np.concatenate([landmarks_px.min(axis=0), landmarks_px.max(axis=0)])


def _add_crop(rows: _Rows, frame: Frame, hand: DetectedHand, job: DetectJob) -> None:
    import cv2

    box = hand_box(hand.landmarks_px)
    side_px = float(max(box[2] - box[0], box[3] - box[1])) * job.margin
    mirrored = hand.handedness == "left"
    frame_from_crop = square_crop((box[:2] + box[2:]) / 2, side_px, job.crop_size_px, mirrored)
    crop = warp_crop(frame.image_rgb, frame_from_crop, job.crop_size_px)
    ok, jpeg = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, job.jpeg_quality])
    assert ok, "JPEG encoding of a uint8 image cannot fail"
    height, width = frame.image_rgb.shape[:2]
    rows.add(
        jpeg.tobytes(),
        frame_index=np.int64(frame.frame_index),
        timestamp_s=np.float64(frame.timestamp_s),
        handedness=np.uint8(LEFT if mirrored else RIGHT),
        mirrored=np.uint8(mirrored),
        score=np.float32(hand.score),
        box_xyxy_px=box.astype(np.float32),
        frame_from_crop=frame_from_crop,
        inside_xyxy_px=inside_frame(frame_from_crop, job.crop_size_px, (width, height)),
        # Stored in the crop, where everything later works; the map leads back to the frame.
        landmarks_px=apply_affine(invert_affine(frame_from_crop), hand.landmarks_px).astype(np.float32),
        world_mm=(hand.world_mm * ([-1, 1, 1] if mirrored else [1, 1, 1])).astype(np.float32),
    )


def _write(rows: _Rows, job: DetectJob) -> str:
    # One flat array of bytes, so that crops can be read later without HDF5 (see crops/reader.py).
    blob, offsets = pack_blobs(rows.jpeg)
    arrays: dict[str, NDArray[Any]] = {"jpeg": blob, "jpeg_offsets": offsets}
    arrays |= {name: np.stack(values) for name, values in rows.columns.items()}
    # Stored with the crops, so that balancing reads no pictures and can be done again.
    arrays["balance_key"] = balance_keys(job.seed, job.video_id, len(rows.jpeg))
    attributes = {
        "video_id": job.video_id,
        "crop_size_px": job.crop_size_px,
        "margin": job.margin,
        **estimator_identity(),
    }
    return write_h5(job.shard, CROPS_SCHEMA, CROPS_VERSION, arrays, attributes)
