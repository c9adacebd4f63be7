"""Options of ``simhand demo``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, argument, option


class DemoConfig(CommandConfig):
    """Options of ``simhand demo``."""

    source: str = argument("'webcam', a camera's number, a video, an image, or a folder of images")
    output: Path | None = option(None, "Write this .mp4 (an image: .png or .jpg too) instead of showing it", short="-o")
    model: str = option(
        "", "Name or folder of a 'simhand finetune' run, a model file, or 'mediapipe'; none: newest run, else MediaPipe"
    )
    hands: int = option(2, "Most hands to follow", ge=1, le=10)
    max_frames: int | None = option(None, "Stop after this many frames", ge=1)
    detect_every: int = option(3, "Frames from one search for hands to the next; boxes follow the joints between", ge=1)
    min_confidence: float = option(0.5, "MediaPipe's threshold for a hand, 0 to 1", ge=0, le=1)
    smooth: bool = option(True, "Steady the joints over time (not between images)")
    mirror: bool | None = option(None, "Show the picture as a mirror does; a camera is mirrored unless told otherwise")
    view_3d: bool = option(True, "Draw a small 3D view of each hand")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the model runs")
