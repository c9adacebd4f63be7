"""Options of ``simhand detect`` and ``simhand keypoints``."""

from pathlib import Path

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.workspace.cores import usable_cores


class DetectConfig(CommandConfig):
    """Options of ``simhand detect``."""

    max_hands: int = option(2, "Hands looked for in a frame", ge=1, le=10, common=True)
    min_confidence: float = option(0.5, "Detection threshold of the landmarker, 0 to 1", ge=0, le=1, common=True)
    min_hand_px: float = option(
        24.0, "Smaller hands (longer side of the landmarks' box, pixels) are dropped", ge=1, common=True
    )
    crop_size_px: int = option(224, "Side of the stored crops in pixels", ge=64, le=1024, common=True)
    margin: float = option(2.0, "Side of a crop as a multiple of the hand's box", ge=1, le=4)
    jpeg_quality: int = option(92, "JPEG quality of the stored crops", ge=50, le=100)
    balance: bool = option(True, "Use as many right as left hands; the surplus stays stored", common=True)
    seed: int = option(0, "Seed of the balance's choice", ge=0, common=True)
    model_file: Path | None = option(None, "MediaPipe's hand_landmarker.task, if not the packaged one", common=True)
    workers: int = option(usable_cores(), "Processes", ge=1, le=1024, common=True)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Balance is decided anew after every run; the rest only changes how fast or from where."""
        return frozenset({"workers", "model_file", "balance"})


class KeypointsConfig(CommandConfig):
    """Options of ``simhand keypoints``."""

    min_confidence: float = option(0.5, "Threshold of the landmarker on the crop, 0 to 1", ge=0, le=1, common=True)
    model_file: Path | None = option(None, "MediaPipe's hand_landmarker.task, if not the packaged one", common=True)
    workers: int = option(usable_cores(), "Processes", ge=1, le=1024, common=True)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Only how fast or from where."""
        return frozenset({"workers", "model_file"})
