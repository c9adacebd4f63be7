"""Writing the demo to an mp4 that plays everywhere, whole or cut short."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.workspace.atomic import atomic_path

#: MPEG's usual clock: fine enough for any rate, so that frames keep the source's own times.
_TIME_BASE = Fraction(1, 90_000)
#: Shown when a source gives no rate; only a hint for players, timestamps rule.
_NOMINAL_FPS = 30


class VideoFile:
    """An open H.264 file; all frames have the first one's size (odd sizes lose their last row or column)."""

    def __init__(self, path: Path, first_shape: tuple[int, ...]) -> None:
        import av

        # faststart puts the index first: browsers then play the file before all of it has arrived.
        self._container: Any = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            self._stream: Any = self._container.add_stream("libx264", rate=_NOMINAL_FPS)
        except (av.error.FFmpegError, ValueError) as error:
            self._container.close()
            raise EnvironmentProblem(f"--out: this PyAV cannot encode H.264 ({error})") from error
        # 4:2:0 chroma halves both sides.
        self._height, self._width = first_shape[0] // 2 * 2, first_shape[1] // 2 * 2
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE
        self._stream.options = {"crf": "19", "preset": "veryfast"}
        self._last_pts = -1

    def write(self, image_rgb: NDArray[np.uint8], timestamp_s: float) -> None:
        """Append a frame at its time; times that do not increase are moved on."""
        import av

        image = np.ascontiguousarray(image_rgb[: self._height, : self._width])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        # The muxer refuses times that stand still, as two frames of a camera within one tick would.
        self._last_pts = max(round(timestamp_s / _TIME_BASE), self._last_pts + 1)
        frame.pts, frame.time_base = self._last_pts, _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the index without which an mp4 does not open."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


@contextmanager
def video_file(path: Path, first_shape: tuple[int, ...]) -> Iterator[VideoFile]:
    """A file that appears at ``path`` when the block ends without an error."""
    with atomic_path(path) as part:
        file = VideoFile(part, first_shape)
        yield file
        file.close()
