"""Photographs as backgrounds: the few that come with simhand, or a folder of the user's own."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped
from simhand_cli.synth.hand_model import asset_path

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
#: Pictures are kept at this size at most; a part of one fills the background.
_KEPT_PX: Final = 1024
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


def check_pictures(folder: Path) -> tuple[str, list[Dropped]]:
    """Decode every picture once.

    Returns:
        a digest of the usable pictures' names and contents, and the files that are not usable.

    Raises:
        InputProblem: as :func:`list_pictures`, or not one is usable.
    """
    digest, dropped, usable = hashlib.sha256(), [], 0
    for path in list_pictures(folder):
        content = _content(path)
        if _decode(content) is None:
            dropped.append(Dropped(path.name, 1, "cannot be decoded as a picture; not used"))
            continue
        usable += 1
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(content).digest())
    if not usable:
        raise InputProblem(f"--backgrounds {folder}: none of its {len(dropped)} pictures can be decoded")
    return digest.hexdigest()[:16], dropped


def photo_view(rng: np.random.Generator, folder: Path | None, size_wh: tuple[int, int], brightness: float) -> Floats:
    """A random part of a random photograph, (H, W, 3) linear.

    Args:
        rng: source of chance.
        folder: of the user's pictures; None: the packaged ones.
        size_wh: size in pixels.
        brightness: median luminance to bring it near.
    """
    import cv2

    picture = _own(folder, rng) if folder else _packaged()[int(rng.integers(len(_packaged())))]
    height, width = picture.shape[:2]
    ratio = size_wh[0] / size_wh[1]
    largest = min(width, height * ratio)
    part = max(int(largest * rng.uniform(_SMALLEST_PART, 1.0)), 2)
    tall = min(max(int(part / ratio), 2), height)
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - tall + 1))
    cut = picture[y : y + tall, x : x + part]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    shrinks = part > size_wh[0]
    sized = cv2.resize(cut, size_wh, None, 0, 0, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    linear = _LINEAR[sized]
    middle = float(np.median(linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)))
    gain = brightness * float(rng.uniform(0.6, 1.4)) / max(middle, 0.05)
    return np.ascontiguousarray(linear * np.float32(gain), np.float32)


@lru_cache(maxsize=1)
def _packaged() -> list[Bytes]:
    with np.load(asset_path("photos.npz"), allow_pickle=False) as data:
        pictures = [_decode(data[name].tobytes()) for name in sorted(data.files)]
    return [picture for picture in pictures if picture is not None]


@lru_cache(maxsize=4)
def _paths(folder: Path) -> tuple[Path, ...]:
    return tuple(list_pictures(folder))


def _own(folder: Path, rng: np.random.Generator) -> Bytes:
    """A picture that can be decoded; broken ones were reported before and are passed over."""
    paths = _paths(folder)
    start = int(rng.integers(len(paths)))
    for step in range(len(paths)):
        picture = _load(paths[(start + step) % len(paths)])
        if picture is not None:
            return picture
    raise InputProblem(f"--backgrounds {folder}: its pictures can no longer be decoded")


@lru_cache(maxsize=32)
def _load(path: Path) -> Bytes | None:
    return _decode(_content(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _decode(content: bytes) -> Bytes | None:
    import cv2

    if not content:
        return None
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None or min(picture.shape[:2]) < 16:
        return None
    larger = max(picture.shape[:2])
    if larger > _KEPT_PX:
        scale = _KEPT_PX / larger
        picture = cv2.resize(picture, None, None, scale, scale, cv2.INTER_AREA)
    return np.asarray(picture, np.uint8)


def _linear_table() -> Floats:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR: Final = _linear_table()
