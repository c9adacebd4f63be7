"""Where the demo's frames come from: a camera, a video, an image or a folder of images."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.video.decode import Frame, iterate_frames, open_video
from simhand_cli.video.images import IMAGE_SUFFIXES, image_files, iterate_images, read_image

Kind = Literal["camera", "video", "image", "images"]

_CAMERA_SIZE = (1280, 720)
#: Consecutive failed reads after which a camera counts as gone.
_MAX_FAILED_READS = 10


@dataclass(frozen=True)
class Source:
    """Frames to run on.

    Attributes:
        kind: what it is.
        name: for people.
        path: of the file or folder; None for a camera.
        camera: index of the camera; None for files.
    """

    kind: Kind
    name: str
    path: Path | None = None
    camera: int | None = None

    def frames(self) -> Iterator[Frame]:
        """Upright frames in order.

        Raises:
            EnvironmentProblem: the camera cannot be opened or stops giving frames.
            InputProblem: the file cannot be read.
        """
        if self.camera is not None:
            return _camera_frames(self.camera)
        assert self.path is not None
        if self.kind == "image":
            return _one_image(self.path)
        if self.kind == "images":
            return iterate_images(self.path, np.arange(len(image_files(self.path))))
        return _video_frames(self.path)

    def count_hint(self) -> int | None:
        """How many frames there seem to be (a video's header may lie); None for a camera."""
        if self.path is None:
            return None
        if self.kind == "image":
            return 1
        if self.kind == "images":
            return len(image_files(self.path))
        try:
            with open_video(self.path) as (container, stream):
                rate = float(stream.average_rate or 0)
                # A header may say nothing (0): then length times rate. PyAV counts durations in microseconds.
                return int(stream.frames) or round(float(container.duration or 0) / 1e6 * rate) or None
        except InputProblem as problem:
            raise InputProblem(f"{self.path}: {problem}") from problem


def find_source(text: str) -> Source:
    """What the user named: ``webcam``, a camera's number, or a path.

    Raises:
        InputProblem: no such file, or an empty folder.
    """
    if text == "webcam":
        return Source("camera", "webcam", camera=0)
    # A file may be called "0"; what exists is meant.
    if text.isdecimal() and not Path(text).exists():
        return Source("camera", f"camera {text}", camera=int(text))
    path = Path(text)
    if path.is_dir():
        if not image_files(path):
            raise InputProblem(f"{path}: a folder without images in it (folders inside it are not searched)")
        return Source("images", path.name, path)
    if not path.exists():
        raise InputProblem(f"{path}: no such file (SOURCE is 'webcam', a camera number, a video, an image or a folder)")
    if not path.is_file():
        raise InputProblem(f"{path}: not a regular file")
    kind: Kind = "image" if path.suffix.lower() in IMAGE_SUFFIXES else "video"
    return Source(kind, path.name, path)


def _one_image(path: Path) -> Iterator[Frame]:
    image = read_image(path)
    if image is None:
        raise InputProblem(f"{path}: cannot be read as an image")
    yield Frame(image, 0.0, 0)


def _video_frames(path: Path) -> Iterator[Frame]:
    try:
        yield from iterate_frames(path)
    except InputProblem as problem:
        raise InputProblem(f"{path}: {problem}") from problem


def _camera_frames(index: int) -> Iterator[Frame]:
    with _opened_camera(index) as capture:
        start = time.monotonic()
        failed = frame_index = 0
        while failed < _MAX_FAILED_READS:
            # Cameras drop single frames, most of all while they start.
            ok, image_bgr = capture.read()
            if not ok or image_bgr is None:
                failed += 1
                continue
            failed = 0
            yield Frame(np.ascontiguousarray(image_bgr[..., ::-1]), time.monotonic() - start, frame_index)
            frame_index += 1
    raise EnvironmentProblem(f"camera {index} stopped giving frames")


@contextmanager
def _opened_camera(index: int) -> Iterator[Any]:
    import cv2

    # OpenCV reports every backend it tries on stderr; one line of our own says it better.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise EnvironmentProblem(
                f"no camera {index} can be opened; connect one, name another number, or give a video or image file"
            )
        # A wish: cameras that cannot do it give their nearest size.
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, _CAMERA_SIZE[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, _CAMERA_SIZE[1])
        # Old frames waiting in a queue would be shown late.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        yield capture
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(level)
