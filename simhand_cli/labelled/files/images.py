"""Read label images, saying which file is at fault."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB.

    Raises:
        InputProblem: the file is missing or cannot be decoded.
    """
    import cv2

    # Always three channels of 8 bits: grey, alpha and 16-bit files come out the same way.
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        why = "cannot be decoded as an image" if path.is_file() else "no such image"
        raise InputProblem(f"{path}: {why}")
    return np.asarray(image, dtype=np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, from its header.

    Raises:
        InputProblem: the file is missing, or no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow reads the header alone; OpenCV would decode the whole picture.
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise InputProblem(f"{path}: no such image") from None
    except (OSError, UnidentifiedImageError) as error:
        raise InputProblem(f"{path}: cannot be decoded as an image") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask image as (H, W) bool: True above half of the value range.

    Raises:
        InputProblem: the file is missing or cannot be decoded.
    """
    # Masks stored as JPEG are not exactly 0 and 255.
    return np.asarray(read_rgb(path)[..., 0] > 127)
