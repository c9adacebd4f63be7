"""A folder of images as one sequence."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.video.decode import Frame

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})


def image_files(folder: Path) -> list[Path]:
    """The images directly in a folder (any case of suffix), in natural order: ``img2`` before ``img10``."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(found, key=lambda p: (_natural(p.name), p.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.casefold())
    # Tuples of one shape, so that numbers and text can be compared where names differ in form.
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """An image as upright RGB (H, W, 3) uint8 (EXIF orientation applied), or None if it cannot be decoded."""
    import cv2

    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread fails on some unicode paths
    except OSError:
        return None
    if len(data) == 0:
        return None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # a header that claims more pixels than OpenCV accepts
        return None
    return None if image is None else np.asarray(image, np.uint8)


def iterate_images(folder: Path, wanted: NDArray[np.int64]) -> Iterator[Frame]:
    """Decode chosen images of a folder in natural order; those that cannot be read are left out."""
    files = image_files(folder)
    for index in wanted.tolist():
        if index >= len(files):
            return
        image = read_image(files[index])
        if image is not None:
            yield Frame(image, float(index), index)
