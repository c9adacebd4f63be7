"""What a video or image folder holds: identity, size, frames that really decode, and which to sample."""

import hashlib
from pathlib import Path

import numpy as np

from simhand_cli.errors import InputProblem
from simhand_cli.video.decode import open_video, raw_frames
from simhand_cli.video.images import image_files, read_image
from simhand_cli.video.sampling import sample_by_time
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.catalog import VideoRecord

_SUFFIXES = """
    .mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .3g2 .ogv .vob .mxf .asf .gif .mjpeg .mjpg
"""
#: Names tried below a folder; a file named by the user is tried whatever its suffix.
VIDEO_SUFFIXES = frozenset(_SUFFIXES.split())


def video_id_of(sha256: str) -> str:
    """The id of a content hash: its first 16 hex digits."""
    return sha256[:16]


def probe_video(path: Path, fps: float) -> VideoRecord:
    """Decode a whole video once and choose the frames to sample.

    Headers lie about the number of frames, so every frame is decoded; a difference is noted.

    Raises:
        InputProblem: the file is not a video, or no frame of it can be decoded.
    """
    if path.stat().st_size == 0:
        raise InputProblem("the file is empty")
    with open_video(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        length_s = float(container.duration or 0) / 1e6
        # Many containers state no number of frames, only a length.
        declared = int(stream.frames) or round(length_s * rate)
        codec = str(stream.codec_context.name)
        times: list[float] = []
        rotation, width, height = 0, int(stream.width), int(stream.height)
        for frame, time_s in raw_frames(container, stream):
            if not times:
                rotation, width, height = round(frame.rotation), frame.width, frame.height
            times.append(time_s)
    if not times:
        raise InputProblem("no frame of it can be decoded")
    # Sizes are those of the upright picture, as everything after this sees it.
    if round(rotation / 90) % 2:
        width, height = height, width
    timestamps_s = np.array(times)
    sampled = sample_by_time(timestamps_s, fps)
    sha256 = sha256_file(path)
    return VideoRecord(
        video_id=video_id_of(sha256),
        sha256=sha256,
        kind="video",
        path=str(path),
        width=width,
        height=height,
        rotation=rotation,
        declared_frames=declared,
        decodable_frames=len(times),
        duration_s=float(timestamps_s[-1]),
        native_fps=rate,
        codec=codec,
        frame_index=sampled,
        timestamp_s=timestamps_s[sampled],
        note=_frame_count_note(declared, len(times)),
    )


def _frame_count_note(declared: int, decodable: int) -> str:
    # A container's duration rounds to a frame or two; only a real gap is worth a word.
    if decodable < declared - max(2, declared // 100):
        return f"only {decodable} of {declared} declared frames decode"
    return ""


def probe_images(folder: Path) -> VideoRecord:
    """A folder of images as one sequence: every image is sampled, one second apart.

    Raises:
        InputProblem: no image of it can be read.
    """
    files = image_files(folder)
    digest = hashlib.sha256()
    readable: list[int] = []
    size = (0, 0)
    for index, file in enumerate(files):
        # A digest of digests: where one file ends counts, its name does not.
        digest.update(bytes.fromhex(sha256_file(file)))
        image = read_image(file)
        if image is not None:
            # The first readable image's size stands for the sequence; others may differ.
            size = size if readable else (image.shape[1], image.shape[0])
            readable.append(index)
    if not readable:
        raise InputProblem("none of its images can be read")
    sha256 = digest.hexdigest()
    broken = len(files) - len(readable)
    indices = np.array(readable, np.int64)
    return VideoRecord(
        video_id=video_id_of(sha256),
        sha256=sha256,
        kind="images",
        path=str(folder),
        width=size[0],
        height=size[1],
        rotation=0,
        declared_frames=len(files),
        decodable_frames=len(readable),
        duration_s=float(len(files) - 1),
        native_fps=1.0,
        codec="images",
        frame_index=indices,
        timestamp_s=indices.astype(np.float64),
        note=f"{broken} of {len(files)} images cannot be read" if broken else "",
    )
