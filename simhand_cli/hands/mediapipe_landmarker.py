"""A thin adapter of MediaPipe's HandLandmarker (Tasks API, 1.x): pictures in, hands in our conventions out.

Handedness: this model's labels are those of the picture as it is, unmirrored: the right hand of a person filmed by an
ordinary camera is ``right`` (checked by a test on real clips; 0.10 and its mirrored convention are not supported).
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.hands.landmarker_file import MODEL_SHA256, find_landmarker

ESTIMATOR = "mediapipe-hand-landmarker"


@dataclass(frozen=True)
class DetectedHand:
    """One hand in one picture.

    Attributes:
        landmarks_px: (21, 2) float64 in the picture, pixel centres; may lie outside it.
        world_mm: (21, 3) float64 as the estimator gives it: metric, origin near the hand's centre, x right, y down,
            z away from the camera.
        handedness: ``left`` or ``right``, of the real hand in an unmirrored picture.
        score: of the handedness, in [0, 1]; MediaPipe gives no other.
    """

    landmarks_px: NDArray[np.float64]
    world_mm: NDArray[np.float64]
    handedness: str
    score: float


class HandLandmarkerAdapter:
    """One landmarker; use as a context manager, one a process (it starts threads of its own)."""

    def __init__(
        self,
        landmarker_file: Path | None = None,
        max_hands: int = 2,
        min_confidence: float = 0.5,
        video_mode: bool = False,
    ) -> None:
        """Load the model.

        Args:
            landmarker_file: the ``.task`` file; None finds it (:func:`find_landmarker`).
            max_hands: hands looked for in a picture.
            min_confidence: palm detection, presence and tracking threshold in [0, 1].
            video_mode: track from picture to picture (pictures must come in order); False treats each alone.
        """
        path = find_landmarker(landmarker_file)
        with _silenced():
            from mediapipe.tasks.python import BaseOptions, vision

            mode = vision.RunningMode.VIDEO if video_mode else vision.RunningMode.IMAGE
            options = vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(path)),
                running_mode=mode,
                num_hands=max_hands,
                min_hand_detection_confidence=min_confidence,
                min_hand_presence_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            self._landmarker: Any = vision.HandLandmarker.create_from_options(options)
        self._video_mode = video_mode
        self._used = False
        self._last_ms = -1

    def __enter__(self) -> "HandLandmarkerAdapter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the landmarker; it must happen before the interpreter ends."""
        if self._landmarker is not None:
            with _silenced():
                self._landmarker.close()
            self._landmarker = None

    def detect(self, image_rgb: NDArray[np.uint8], timestamp_s: float | None = None) -> list[DetectedHand]:
        """Find hands in an upright RGB picture (H, W, 3) uint8.

        Args:
            image_rgb: the picture.
            timestamp_s: its time, only used (and then needed to increase) in video mode.

        Returns:
            the hands, in the estimator's order.
        """
        import mediapipe

        size_wh = np.array([image_rgb.shape[1], image_rgb.shape[0]])
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image_rgb))
        # The libraries chatter at their first use too; later, standard error is left to others.
        with contextlib.nullcontext() if self._used else _silenced():
            self._used = True
            if self._video_mode:
                # MediaPipe refuses times that do not increase; files may repeat one, or two round to one ms.
                self._last_ms = max(self._last_ms + 1, round((timestamp_s or 0.0) * 1000))
                result = self._landmarker.detect_for_video(picture, self._last_ms)
            else:
                result = self._landmarker.detect(picture)
        hands = []
        for landmarks, world, sides in zip(
            result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
        ):
            normalised = np.array([(p.x, p.y) for p in landmarks], np.float64)
            # Normalised coordinates run from edge to edge; ours count from the first pixel's centre.
            landmarks_px = normalised * size_wh - 0.5
            # MediaPipe counts in metres.
            world_mm = np.array([(p.x, p.y, p.z) for p in world], np.float64) * 1000.0
            hands.append(DetectedHand(landmarks_px, world_mm, sides[0].category_name.lower(), float(sides[0].score)))
        return hands


def estimator_identity() -> dict[str, str]:
    """Name, version and model hash, stored beside every estimate."""
    import importlib.metadata

    return {
        "estimator": ESTIMATOR,
        "estimator_version": importlib.metadata.version("mediapipe"),
        "model_sha256": MODEL_SHA256,
    }


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the native libraries' start-up chatter off standard error, unless SIMHAND_NATIVE_LOG is set."""
    if os.environ.get("SIMHAND_NATIVE_LOG"):
        yield
        return
    # What Python has still buffered would otherwise go nowhere too.
    sys.stderr.flush()
    # The descriptor itself: C++ code writes there, whatever sys.stderr is.
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
