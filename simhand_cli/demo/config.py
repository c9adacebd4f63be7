"""Options of ``simhand demo``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, argument, option


class DemoConfig(CommandConfig):
    """Options of ``simhand demo``."""

    source: str = argument("'webcam', a camera's number, a video, an image, or a folder of images")
    out: Path | None = option(
        None,
        "File to write, .mp4 (an image: .png or .jpg too), instead of showing it",
        short="-o",
        formerly=("output",),
        common=True,
    )
    model: str | None = option(
        None,
        "Name or folder of a 'simhand finetune' run, a model file, or mediapipe (default: the newest run, else "
        "mediapipe)",
        none_was="",
        min_length=1,
        common=True,
    )
    hands: int = option(2, "Most hands to follow", ge=1, le=10, common=True)
    max_frames: int | None = option(None, "Stop after this many frames", ge=1, common=True)
    detect_every: int = option(3, "Frames from one search for hands to the next; boxes follow the joints between", ge=1)
    min_confidence: float = option(0.5, "MediaPipe's threshold for a hand, 0 to 1", ge=0, le=1)
    smooth: bool = option(True, "Steady the joints over time (not between images)", common=True)
    mirror: bool | None = option(
        None, "Show the picture as a mirror does; a camera is mirrored unless told otherwise", common=True
    )
    view_3d: bool = option(True, "Draw a small 3D view of each hand", common=True)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the network runs", common=True)
