"""Decoding video frames: upright, in presentation order, surviving damaged packets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem

#: Larger frames are refused: a damaged header can claim a size that would exhaust memory.
MAX_PIXELS = 16384 * 8192
_OPEN_TIMEOUT_S = (10.0, 30.0)


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        image_rgb: (H, W, 3) uint8, upright (rotation metadata applied).
        timestamp_s: seconds from the first frame.
        frame_index: position in presentation order, from 0.
    """

    image_rgb: NDArray[np.uint8]
    timestamp_s: float
    frame_index: int


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a container and its first real video stream with PyAV.

    Yields:
        (container, stream), decoding set to one thread, so that results are reproducible and a pool scales.

    Raises:
        InputProblem: not a video, or one without a usable stream.
    """
    import av

    # FFmpeg would report every damaged packet on stderr; what matters is raised or counted here.
    av.logging.set_level(None)
    try:
        # Tags in odd encodings must not make a video unreadable. Timeouts are of opening and of each read.
        container = av.open(str(path), timeout=_OPEN_TIMEOUT_S, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise InputProblem(f"not a readable video: {error.strerror or error}") from error
    with container:
        if not container.streams.video:
            raise InputProblem("no video stream in it")
        stream = container.streams.video[0]
        if stream.codec_context is None or not stream.width or not stream.height:
            raise InputProblem("its video stream has no known codec or size")
        if stream.width * stream.height > MAX_PIXELS:
            raise InputProblem(f"frames of {stream.width}x{stream.height} are larger than this reader accepts")
        stream.thread_count = 1
        yield container, stream


def raw_frames(container: Any, stream: Any) -> Iterator[tuple[Any, float]]:
    """Every intact frame as (PyAV frame, seconds from the first intact frame), skipping what cannot be decoded.

    Damaged packets and frames flagged corrupt are left out. Where a frame has no timestamp, or time runs backwards,
    it is put one frame duration after its predecessor.
    """
    import av

    # Some containers state no rate; 30 only spaces frames that have no time of their own.
    step_s = 1.0 / float(stream.average_rate or stream.guessed_rate or 30)
    first_s: float | None = None
    # So that a first frame without a time is at 0.
    last_s = -step_s
    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            return
        # A damaged packet costs its frames; the next may be whole. Other errors are taken for the end of the file.
        except av.error.InvalidDataError:
            continue
        # Nothing beyond such an error can be read; the frames before it are kept.
        except (av.error.FFmpegError, OSError):
            return
        for frame in frames:
            if frame.is_corrupt:
                continue
            time_s = frame.time
            # Many recordings start at an offset; ours start at 0, as sampling counts from there.
            if time_s is not None and first_s is None:
                first_s = time_s
            relative_s = last_s + step_s if time_s is None or first_s is None else time_s - first_s
            if relative_s <= last_s:
                relative_s = last_s + step_s
            last_s = relative_s
            yield frame, relative_s


def upright(frame: Any) -> NDArray[np.uint8]:
    """A PyAV frame as upright RGB (H, W, 3) uint8: the container's rotation metadata is applied."""
    image = frame.to_ndarray(format="rgb24")
    # Phones store frames as the sensor has them and say by how much to turn.
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def iterate_frames(path: Path, wanted: NDArray[np.int64] | None = None) -> Iterator[Frame]:
    """Decode a video, upright and in order.

    Args:
        path: the video file.
        wanted: sorted frame indices to yield, or None for all. Other frames are decoded but not converted, and
            decoding stops after the last one.

    Raises:
        InputProblem: the file cannot be opened as a video.
    """
    remaining = None if wanted is None else iter(wanted.tolist())
    # -1 where nothing is wanted (any more): no frame has that index.
    target = None if remaining is None else next(remaining, -1)
    with open_video(path) as (container, stream):
        for index, (frame, time_s) in enumerate(raw_frames(container, stream)):
            if target is not None and index != target:
                if target < 0:
                    return
                continue
            yield Frame(upright(frame), time_s, index)
            if remaining is not None:
                target = next(remaining, -1)
                if target < 0:
                    return
