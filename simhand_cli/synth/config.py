"""Options of ``simhand synth``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.workspace.cores import usable_cores

Format = Literal["labelled", "videos", "freihand", "hanco"]


class SynthConfig(CommandConfig):
    """Options of ``simhand synth``."""

    out: Path | None = option(None, "Folder to write (default: synth/FORMAT in the workspace)", short="-o", common=True)
    format: Format = option(
        "labelled", "Labelled pictures, mp4 videos, or labelled pictures in FreiHAND's or HanCo's layout", common=True
    )
    count: int | None = option(
        None,
        "Labelled pictures in all (default 1000), videos (16), FreiHAND hands (1000), or HanCo sequences (16)",
        formerly=("-n",),
        ge=1,
        common=True,
    )
    subjects: int = option(
        64, "People in a labelled set; every video has a person of its own", ge=1, le=99_999, common=True
    )
    test_fraction: float = option(0.2, "Share of the people (and pictures) held out as test split", ge=0, lt=1)
    image_px: int = option(256, "Side of the labelled pictures in pixels", ge=16, le=2048, common=True)
    cameras: int | None = option(None, "Cameras, a calibrated ring if several (default: 1, hanco 8)", ge=1, le=32)
    frames: int | None = option(
        None, "Frames of each sequence or video (default: 1, hanco 10, videos 75)", ge=1, le=1_000_000
    )
    fps: float = option(15.0, "Frames a second of sequences and videos", gt=0, le=240, common=True)
    frame_width: int = option(320, "Width of the videos' frames in pixels, even", ge=32, le=4096, multiple_of=2)
    frame_height: int = option(240, "Height of the videos' frames in pixels, even", ge=32, le=4096, multiple_of=2)
    view: Literal["moderate", "random", "ego"] = option(
        "moderate", "Upright hands from all sides, hands turned anyhow, or the own hand seen from the head", common=True
    )
    backdrop: Literal["mixed", "panorama", "photo", "clutter", "plain"] = option(
        "mixed", "What is behind the hand in labelled pictures and videos", common=True
    )
    backgrounds: Path | None = option(None, "Folder of your own pictures to put behind the hands")
    grasp: list[str] = option([], "Pose to make, of the 17 named ones; give the flag once per grasp (default: all)")
    things: float = option(
        0.0, "Share of the pictures or sequences in which the hand holds something", ge=0, le=1, common=True
    )
    second_hand: float = option(0.0, "Share with the person's other hand in sight", ge=0, le=1)
    vertices: bool = option(False, "Also store the mesh of every labelled picture (24 kB each)")
    depth: bool = option(False, "Also store the depth map of every labelled picture")
    seed: int = option(0, "Seed of everything", ge=0, common=True)
    workers: int = option(usable_cores(), "Processes", ge=1, le=1024, common=True)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where files lie and how many processes make the set do not change it; backgrounds count by content."""
        return frozenset({"out", "workers", "backgrounds"})
