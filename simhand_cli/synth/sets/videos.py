"""Synthetic videos: one person, one place and one moving hand each, to learn from without labels."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from simhand_cli.console import Console
from simhand_cli.errors import UsageProblem
from simhand_cli.stages.local_pool import StageJob
from simhand_cli.synth.hand.person import person_tone
from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.sets.card import CARD_NAME, tone_quarters, write_card
from simhand_cli.synth.sets.recipe import WAYS_OUT, do_all
from simhand_cli.synth.shots import video_shots
from simhand_cli.workspace.atomic import atomic_path


@dataclass(frozen=True)
class VideoJob:
    """One video file to make."""

    path: Path
    seed: int
    number: int
    variety: Variety
    size_wh: tuple[int, int]
    frames: int
    fps: float


def make_video(job: VideoJob) -> None:
    """Render and encode one mp4; one encoder thread, so that the same seed gives the same bytes."""
    import av

    # H.264 where this build of FFmpeg has an encoder for it, MPEG-4 part 2 elsewhere.
    codec, options = "mpeg4", {"b": "2000000"}
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"crf": "20", "preset": "veryfast"}
    # Containers want a ratio; 1001 keeps the broadcast rates such as 30000/1001 exact.
    rate = Fraction(job.fps).limit_denominator(1001)
    with atomic_path(job.path) as part, av.open(str(part), "w", format="mp4") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = job.size_wh
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for shot in video_shots(job.seed, job.number, job.variety, job.size_wh, job.frames, job.fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shot.image_rgb, format="rgb24")))
        # The encoder holds frames back to look ahead; this gets the last ones out.
        container.mux(stream.encode())


def is_done(job: VideoJob) -> bool:
    """Whether the file is there and holds the right number of frames (read from its header)."""
    import av

    if not job.path.is_file():
        return False
    try:
        with av.open(str(job.path)) as container:
            return int(container.streams.video[0].frames) == job.frames
    except (av.error.FFmpegError, IndexError):
        return False


def make_videos(folder: Path, jobs: list[VideoJob], workers: int, console: Console) -> int:
    """Make all videos that are not there yet; returns how many were found finished.

    Raises:
        UsageProblem: ``folder`` holds more videos than these.
    """
    found = set(folder.glob("person-*.mp4"))
    if found - {job.path for job in jobs}:
        raise UsageProblem(f"--count {len(jobs)}: {folder} holds {len(found)} videos; {WAYS_OUT}")
    todo = [job for job in jobs if not is_done(job)]
    do_all(
        [StageJob(job.path.name, job, job.frames) for job in todo],
        make_video, workers=workers, console=console, label="synth", unit="frames",
    )  # fmt: skip
    if todo or not (folder / CARD_NAME).is_file():
        _describe(folder, jobs)
    return len(jobs) - len(todo)


def _describe(folder: Path, jobs: list[VideoJob]) -> None:
    tones = tone_quarters(person_tone(job.seed, job.number) for job in jobs)
    counts = {"skin tone, light to dark quarters": tones}
    first = jobs[0]
    facts = {
        "videos, each of another person": len(jobs),
        "frames each": first.frames,
        "frames a second": first.fps,
        "size, px": f"{first.size_wh[0]} x {first.size_wh[1]}",
        "views": first.variety.view,
        "seed": first.seed,
    }
    write_card(folder, "Synthetic hand videos", counts, facts)
