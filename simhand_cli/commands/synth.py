"""Make synthetic hands: videos to learn from, or images with exact 3D labels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import UsageProblem
from simhand_cli.summary import Summary

if TYPE_CHECKING:
    from simhand_cli.synth.labelled_set import SetPlan
    from simhand_cli.synth.video_set import VideoJob

EXAMPLES: tuple[str, ...] = (
    "simhand synth --count 2000 --image-px 128",
    "simhand synth --format videos --count 8 --frames 60 --out synthetic-videos",
    "simhand synth --format freihand --count 500 --image-px 224 --out fake-freihand --dry-run",
)
# Rough costs for the plan, measured on one core.
_SECONDS_PER_PIXEL = 0.30e-6
_SECONDS_PER_PICTURE = 0.012
_BYTES_PER_PIXEL = 0.30


class SynthConfig(CommandConfig):
    """Options of ``simhand synth``."""

    out: Path | None = option(None, "Folder to write (default: synth/FORMAT in the workspace)", short="-o")
    format: Literal["labelled", "videos", "freihand"] = option(
        "labelled", "Labelled pictures, mp4 videos, or labelled pictures in FreiHAND's layout"
    )
    count: int = option(1000, "Labelled pictures in all, videos, or FreiHAND hands (4 pictures each)", short="-n", ge=1)
    subjects: int = option(64, "People in a labelled set; every video has a person of its own", ge=1, le=99_999)
    test_fraction: float = option(0.2, "Share of the people (and pictures) held out as test split", ge=0, lt=1)
    image_px: int = option(256, "Side of the labelled pictures in pixels", ge=16, le=2048)
    frames: int = option(75, "Frames of each video", ge=1, le=1_000_000)
    fps: float = option(15.0, "Frames a second of the videos", gt=0, le=240)
    frame_width: int = option(320, "Width of the videos' frames in pixels, even", ge=32, le=4096, multiple_of=2)
    frame_height: int = option(240, "Height of the videos' frames in pixels, even", ge=32, le=4096, multiple_of=2)
    view: Literal["moderate", "random", "ego"] = option(
        "moderate", "Upright hands from all sides, hands turned anyhow, or the own hand seen from the head"
    )
    backdrop: Literal["mixed", "panorama", "clutter", "plain"] = option("mixed", "What is behind the hand in pictures")
    vertices: bool = option(False, "Also store the mesh of every labelled picture (24 kB each)")
    depth: bool = option(False, "Also store the depth map of every labelled picture")
    seed: int = option(0, "Seed of everything", ge=0)
    workers: int = option(os.cpu_count() or 1, "Processes", ge=1, le=1024)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the set lies and how many processes make it do not change it."""
        return frozenset({"out", "workers"})


#: Options that matter to each format; the others are not compared when a set is gone on with.
_RELEVANT: dict[str, tuple[str, ...]] = {
    "labelled": ("count", "subjects", "test_fraction", "image_px", "view", "backdrop", "vertices", "depth", "seed"),
    "videos": ("frames", "fps", "frame_width", "frame_height", "view", "seed"),
    "freihand": ("count", "subjects", "test_fraction", "image_px", "view", "seed"),
}


def synth(config: SynthConfig, console: Console | None = None) -> Summary:
    """Make a synthetic set, or go on with one that was interrupted.

    Args:
        config: the options.
        console: where progress goes; None: nowhere.

    Returns:
        what was made and where it lies.

    Raises:
        UsageProblem: the folder holds a set made with other options or more videos, without ``--redo``; or files of
            another origin.
        EnvironmentProblem: the folder is in use by another run or cannot be written.
    """
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    folder = config.out or Workspace(config.workspace).synth_dir / config.format
    if folder.exists() and not folder.is_dir():
        raise UsageProblem(f"--out {folder} is a file, not a folder")
    if config.dry_run:
        return _plan(config, folder)
    return _make(config, folder, console)


def _make(config: SynthConfig, folder: Path, console: Console) -> Summary:
    from simhand_cli.errors import EnvironmentProblem
    from simhand_cli.synth.work import settle_recipe
    from simhand_cli.workspace.lock import workspace_lock

    options = {"format": config.format, **{k: v for k, v in config.identity().items() if k in _RELEVANT[config.format]}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with workspace_lock(folder, "synth"):
            settle_recipe(folder, options, config.redo)
            if config.format == "labelled":
                return _make_labelled(config, folder, console)
            if config.format == "videos":
                return _make_videos(config, folder, console)
            return _make_freihand(config, folder, console)
    except OSError as error:
        raise EnvironmentProblem(f"--out {folder}: {error.strerror or error}") from error


def _set_plan(config: SynthConfig) -> "SetPlan":
    from simhand_cli.synth.labelled_set import SetPlan

    people = min(config.subjects, config.count)
    backdrop = None if config.backdrop == "mixed" else config.backdrop
    return SetPlan(
        config.seed, config.count, people, config.test_fraction, config.image_px, config.view, backdrop,
        config.vertices, config.depth,
    )  # fmt: skip


def _make_labelled(config: SynthConfig, folder: Path, console: Console) -> Summary:
    from simhand_cli.synth.labelled_set import make_set
    from simhand_cli.synth.sheets import labelled_sheet

    plan = _set_plan(config)
    shards, kept = make_set(folder, plan, config.workers, console)
    labelled_sheet(folder)
    facts: dict[str, int | float | str] = {"pictures": plan.count, "people": plan.subjects}
    facts |= {f"{split} pictures": len(numbers) for split, (numbers, _) in plan.splits().items()}
    facts |= {"shards": shards, "shards found finished": kept, "size (px)": plan.image_px}
    outputs = {"set": folder, "contact sheet": folder / "contact_sheet.png"}
    return Summary("synth", facts, outputs=outputs, hint=f"simhand finetune --data {folder}")


def _video_jobs(config: SynthConfig, folder: Path) -> "list[VideoJob]":
    from simhand_cli.synth.video_set import VideoJob

    size = (config.frame_width, config.frame_height)
    return [
        VideoJob(folder / f"person-{k:05d}.mp4", config.seed, k, config.view, size, config.frames, config.fps)
        for k in range(config.count)
    ]


def _make_videos(config: SynthConfig, folder: Path, console: Console) -> Summary:
    from simhand_cli.synth.sheets import video_sheet
    from simhand_cli.synth.video_set import make_videos

    jobs = _video_jobs(config, folder)
    kept = make_videos(folder, jobs, config.workers, console)
    video_sheet(folder, [job.path for job in jobs])
    facts: dict[str, int | float | str] = {
        "videos": len(jobs),
        "videos found finished": kept,
        "frames": config.frames * len(jobs),
        "size (px)": f"{config.frame_width} x {config.frame_height}",
        "seconds each": round(config.frames / config.fps, 2),
    }
    outputs = {"videos": folder, "contact sheet": folder / "contact_sheet.png"}
    return Summary("synth", facts, outputs=outputs, hint=f"simhand ingest {folder}")


def _make_freihand(config: SynthConfig, folder: Path, console: Console) -> Summary:
    from simhand_cli.synth.freihand_set import make_freihand

    plan = _set_plan(config)
    pictures = make_freihand(folder, plan, config.workers, console)
    facts: dict[str, int | float | str] = {"hands": plan.count, "people": plan.subjects, "pictures": pictures}
    return Summary("synth", facts, outputs={"set": folder}, hint=f"simhand finetune --data {folder}")


def _plan(config: SynthConfig, folder: Path) -> Summary:
    """What would be done: counts, bytes and time."""
    if config.format == "videos":
        pictures, pixels = config.count * config.frames, config.frame_width * config.frame_height
    else:
        pictures, pixels = config.count * (4 if config.format == "freihand" else 1), config.image_px**2
    seconds = pictures * (_SECONDS_PER_PICTURE + _SECONDS_PER_PIXEL * pixels) / config.workers
    facts: dict[str, int | float | str] = {
        "pictures": pictures,
        "disk, roughly": format_bytes(pictures * (pixels * _BYTES_PER_PIXEL + 1500)),
        "time, roughly": format_duration(seconds),
    }
    return Summary("synth", facts, outputs={"set": folder})
