"""What can be evaluated: a fine-tuned model, and baselines that need no training here."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.metrics.alignment import mean_of_aligned
from simhand_cli.skeleton import MIDDLE_MCP, NUM_JOINTS, WRIST

if TYPE_CHECKING:
    from simhand_cli.hands.mediapipe_landmarker import DetectedHand
    from simhand_cli.models.hand_predictor import HandPredictor


#: Side of the crop MediaPipe gets, in larger extents of the true 2D joints: its palm detector misses tight crops.
MEDIAPIPE_CROP_SCALE = 2.5
_MEDIAPIPE_INPUT_PX = 224
#: The mean pose is settled long before all training samples are read.
_MEAN_POSE_SAMPLES = 1000
_TRAINED_SCALE = "mean wrist to middle-MCP length of the training hands"


@dataclass(frozen=True, slots=True)
class CropPoses:
    """Predictions for a batch of crops of right hands.

    Attributes:
        joints_px: (B, 21, 2) in the crop; NaN where nothing was found.
        relative_mm: (B, 21, 3) relative to the wrist, metric, camera axes; NaN where nothing was found.
        confidence: (B, 21) in [0, 1].
        found: (B,).
    """

    joints_px: NDArray[np.float64]
    relative_mm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    found: NDArray[np.bool_]


class PosePredictor(Protocol):
    """Anything that turns crops of right hands into poses."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for the report: kind, file, metric scale."""

    @property
    def input_px(self) -> int:
        """Side of the square crop it takes."""

    @property
    def crop_scale(self) -> float:
        """Side of the crop in larger extents of the true 2D joints."""

    def predict(self, crops_rgb: NDArray[np.uint8]) -> CropPoses:
        """Poses of crops (B, S, S, 3) uint8."""

    def close(self) -> None:
        """Free what it holds."""


class FinetunedPose:
    """A model of ``simhand finetune``; its metric scale is the mean bone length of its training hands.

    Args:
        path: run folder or model file.
        device: "cpu" or "cuda".
    """

    def __init__(self, path: Path, device: str) -> None:
        # Imported here: baselines need no torch.
        from simhand_cli.labelled.sample_crop import EVAL_CROP_SCALE
        from simhand_cli.models.hand_predictor import load_predictor

        self._predictor: HandPredictor = load_predictor(path, device)
        bone_length_mm = self._predictor.facts.bone_length_mm
        self.input_px: int = self._predictor.input_px
        self.crop_scale: float = EVAL_CROP_SCALE
        self.facts: dict[str, Any] = {
            "kind": "fine-tuned",
            "path": str(path),
            "metric_scale": _TRAINED_SCALE if bone_length_mm is not None else "none: a model of 2D joints alone",
            "bone_length_mm": bone_length_mm,
        }

    def predict(self, crops_rgb: NDArray[np.uint8]) -> CropPoses:
        """Poses of crops (B, S, S, 3)."""
        given = self._predictor.predict(crops_rgb)
        joints_rel = np.asarray(given.joints_rel, dtype=np.float64)
        relative = joints_rel * self._predictor.bone_length_mm
        joints_px = np.asarray(given.joints_px, dtype=np.float64)
        # A model whose weights went bad answers NaN, which counts as no hand.
        finite = np.isfinite(joints_rel).all(axis=(1, 2)) & np.isfinite(joints_px).all(axis=(1, 2))
        found = np.asarray(finite, dtype=bool)
        return CropPoses(joints_px, relative, np.asarray(given.confidence, dtype=np.float64), found)

    def close(self) -> None:
        """Nothing to free."""


class MediaPipePose:
    """MediaPipe's hand landmarker as a baseline, with its world landmarks as metric pose.

    Args:
        model_path: ``hand_landmarker.task``; None for the installed one.
    """

    input_px: int = _MEDIAPIPE_INPUT_PX
    crop_scale: float = MEDIAPIPE_CROP_SCALE

    def __init__(self, model_path: Path | None = None) -> None:
        from simhand_cli.hands.mediapipe_landmarker import HandLandmarkerAdapter

        # Two hands, since a wide crop can show another one, and a low threshold: a crop holds a hand for certain.
        self._adapter: HandLandmarkerAdapter = HandLandmarkerAdapter(model_path, max_hands=2, min_confidence=0.3)
        # Open from here to close(), over many calls of predict.
        self._adapter.__enter__()
        self.facts: dict[str, Any] = {"kind": "mediapipe", "metric_scale": "MediaPipe's world landmarks"}

    def predict(self, crops_rgb: NDArray[np.uint8]) -> CropPoses:
        """Poses of crops (B, S, S, 3); of several hands in a crop, the one nearest its centre."""
        batch = len(crops_rgb)
        joints_px = np.full((batch, NUM_JOINTS, 2), np.nan)
        relative = np.full((batch, NUM_JOINTS, 3), np.nan)
        confidence = np.zeros((batch, NUM_JOINTS))
        found = np.zeros(batch, dtype=bool)
        for i, crop in enumerate(crops_rgb):
            hand = _most_central(self._adapter.detect(crop), (crop.shape[0] - 1) / 2)
            if hand is not None:
                joints_px[i] = hand.landmarks_px
                relative[i] = hand.world_mm - hand.world_mm[WRIST]
                # MediaPipe has one score for a hand, none for its joints.
                confidence[i] = hand.score
                found[i] = True
        return CropPoses(joints_px, relative, confidence, found)

    def close(self) -> None:
        """Close the landmarker."""
        self._adapter.__exit__(None, None, None)


def _most_central(hands: "list[DetectedHand]", middle_px: float) -> "DetectedHand | None":
    def distance(hand: "DetectedHand") -> float:
        points = np.asarray(hand.landmarks_px)
        return float(np.linalg.norm((points.min(axis=0) + points.max(axis=0)) / 2 - middle_px))

    # Nearest the middle, where the labelled hand is; the surest may be the other one.
    return min(hands, key=distance, default=None)


class ConstantPose:
    """The same answer for every image: a baseline whose errors a model must get below.

    Args:
        pose_mm: (21, 3) relative to the wrist, of a right hand.
        facts: what it is, for the report.
    """

    # The picture is not looked at, so the smallest crop will do.
    input_px: int = 16
    crop_scale: float = 1.6

    def __init__(self, pose_mm: NDArray[np.float64], facts: dict[str, Any]) -> None:
        self.pose_mm = pose_mm
        self.facts = facts

    def predict(self, crops_rgb: NDArray[np.uint8]) -> CropPoses:
        """The pose for every crop, its shadow filling the part of the crop a hand fills."""
        batch, side = crops_rgb.shape[:2]
        # An orthographic shadow: without a picture there is no depth to project with.
        flat = self.pose_mm[:, :2]
        low, high = flat.min(axis=0), flat.max(axis=0)
        # The hand fills the crop's share that every labelled hand fills, whatever its true size.
        scale = side / self.crop_scale / max(float((high - low).max()), 1e-9)
        shadow = (flat - (low + high) / 2) * scale + (side - 1) / 2
        return CropPoses(
            np.repeat(shadow[None], batch, axis=0),
            np.repeat(self.pose_mm[None], batch, axis=0),
            np.ones((batch, NUM_JOINTS)),
            np.ones(batch, dtype=bool),
        )

    def close(self) -> None:
        """Nothing to free."""


def mean_pose(training: LabelledSet, usable: NDArray[np.int64], seed: int) -> ConstantPose:
    """The mean of a training split's wrist-relative joints: the baseline of errors in which rotation counts.

    Hands seen from all sides nearly cancel out in it, so that its shape is flat: after Procrustes alignment
    :func:`mean_shape` is the harder one to beat.

    Args:
        training: the split.
        usable: (U,) positions of the samples that may be averaged.
        seed: of the choice among them.

    Raises:
        InputProblem: none of them is fully labelled.
    """
    poses = _training_poses(training, usable, seed)
    return _constant("mean-pose", poses.mean(axis=0), poses, training)


def mean_shape(training: LabelledSet, usable: NDArray[np.int64], seed: int) -> ConstantPose:
    """The mean hand shape of a training split, every hand first turned and scaled onto it: for Procrustes errors.

    Generalised Procrustes analysis (Gower 1975); its answer is turned to fit the mean pose best. Arguments and errors
    are those of :func:`mean_pose`.
    """
    poses = _training_poses(training, usable, seed)
    return _constant("mean-shape", mean_of_aligned(poses), poses, training)


def _constant(kind: str, pose: NDArray[np.float64], poses: NDArray[np.float64], training: LabelledSet) -> ConstantPose:
    # Averaging shrinks a hand; the mean bone length is restored.
    length = float(np.linalg.norm(poses[:, MIDDLE_MCP], axis=-1).mean())
    facts = {
        "kind": kind,
        "of": f"{training.name}/{training.split}, {len(poses)} samples",
        "metric_scale": "mean wrist to middle-MCP length of these samples",
        "bone_length_mm": length,
    }
    return ConstantPose(pose * (length / max(float(np.linalg.norm(pose[MIDDLE_MCP])), 1e-9)), facts)


def _training_poses(training: LabelledSet, usable: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """(M, 21, 3) wrist-relative poses, mm, of at most :data:`_MEAN_POSE_SAMPLES` samples fully labelled in 3D."""
    order = np.random.default_rng(seed).permutation(usable)[:_MEAN_POSE_SAMPLES]
    # In order, so that files are read one after the other.
    samples = (training[int(i)].as_right() for i in np.sort(order))
    known = (s for s in samples if s.joint_valid.all() and np.isfinite(s.joints_mm).all())
    poses = [s.joints_mm - s.joints_mm[WRIST] for s in known]
    if not poses:
        raise InputProblem(f"no mean hand: {training.name}/{training.split} has no fully labelled sample")
    return np.stack(poses)
