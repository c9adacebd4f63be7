"""Photographs as backgrounds: the few that come with simhand, or a folder of the user's own."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped
from simhand_cli.synth.assets import asset_path
from simhand_cli.synth.hand.skin import linear
from simhand_cli.synth.scene.panorama import LUMINANCE

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
#: Pictures are kept at this size at most; a part of one fills the background.
_KEPT_PX: Final = 1024
_SMALLEST_PX: Final = 16
#: Smallest part of a picture's shorter side that is shown.
_SMALLEST_PART: Final = 0.4


def list_pictures(folder: Path) -> list[Path]:
    """Picture files directly in a folder, sorted by name.

    Raises:
        InputProblem: it is no folder, cannot be read, or holds no picture.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise InputProblem(f"--backgrounds {folder}: {error.strerror or error}") from None
    if not found:
        raise InputProblem(f"--backgrounds {folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return found


@dataclass(frozen=True)
class Pictures:
    """The user's usable pictures, in order; ``digest`` stands for their names and contents."""

    paths: tuple[Path, ...]
    digest: str


def check_pictures(folder: Path, console: Console) -> tuple[Pictures, list[Dropped]]:
    """Decode every picture once.

    Args:
        folder: of the pictures.
        console: shows progress.

    Returns:
        the usable pictures, and the files that are not usable.

    Raises:
        InputProblem: as :func:`list_pictures`, or not one is usable.
    """
    digest, dropped, usable = hashlib.sha256(), [], []
    paths = list_pictures(folder)
    with console.progress("backgrounds", len(paths), "pictures") as ticker:
        for path in paths:
            content = _content(path)
            ticker.advance()
            if _decode(content) is None:
                dropped.append(Dropped(path.name, 1, "cannot be used as a background picture"))
                continue
            usable.append(path.resolve())
            # Names count as well as contents: they decide the order, and with it which picture is drawn.
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(content).digest())
    if not usable:
        raise InputProblem(f"--backgrounds {folder}: none of its {len(dropped)} pictures can be decoded")
    return Pictures(tuple(usable), digest.hexdigest()[:16]), dropped


def photo_view(rng: np.random.Generator, own: Pictures | None, size_wh: tuple[int, int], brightness: float) -> Floats:
    """A random part of a random photograph, (H, W, 3) linear.

    Args:
        rng: source of chance.
        own: the user's pictures; None: the packaged ones.
        size_wh: size in pixels.
        brightness: median luminance to bring it near.
    """
    import cv2

    if own is None:
        picture = _packaged()[int(rng.integers(len(_packaged())))]
    else:
        picture = _load(own.paths[int(rng.integers(len(own.paths)))], own.digest)
    height, width = picture.shape[:2]
    ratio = size_wh[0] / size_wh[1]
    largest = min(width, height * ratio)
    part = max(int(largest * rng.uniform(_SMALLEST_PART, 1.0)), 2)
    tall = min(max(int(part / ratio), 2), height)
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - tall + 1))
    cut = picture[y : y + tall, x : x + part]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    # Averaging when it gets smaller, against aliasing; smooth interpolation when it gets larger.
    shrinks = part > size_wh[0]
    sized = cv2.resize(cut, size_wh, None, 0, 0, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    light = linear(np.arange(256.0))[sized]
    middle = float(np.median(light @ LUMINANCE))
    # A photograph has no light of its own here: it is brought near the panorama that lights the hand.
    gain = brightness * float(rng.uniform(0.6, 1.4)) / max(middle, 0.05)
    return np.ascontiguousarray(light * np.float32(gain), np.float32)


@lru_cache(maxsize=1)
def _packaged() -> list[Bytes]:
    with np.load(asset_path("photos.npz"), allow_pickle=False) as data:
        pictures = [_decode(data[name].tobytes()) for name in sorted(data.files)]
    return [picture for picture in pictures if picture is not None]


@lru_cache(maxsize=32)
def _load(path: Path, digest: str) -> Bytes:
    """A picture that was usable when it was checked; ``digest`` keeps pictures of another time apart."""
    del digest
    picture = _decode(_content(path))
    if picture is None:
        raise InputProblem(f"--backgrounds: {path} can no longer be decoded")
    return picture


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _decode(content: bytes) -> Bytes | None:
    import cv2

    if not content:
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # more pixels than OpenCV allows
        return None
    if picture is None:
        return None
    larger = max(picture.shape[:2])
    if larger > _KEPT_PX:
        scale = _KEPT_PX / larger
        picture = cv2.resize(picture, None, None, scale, scale, cv2.INTER_AREA)
    if min(picture.shape[:2]) < _SMALLEST_PX:
        return None
    return np.asarray(picture, np.uint8)
