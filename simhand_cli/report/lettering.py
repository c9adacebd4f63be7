"""Text drawn into images: anti-aliased, any script DejaVu Sans has, shortened to fit."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import ImageFont


@lru_cache(maxsize=16)
def font(size_px: int, bold: bool = False) -> "ImageFont.FreeTypeFont":
    """DejaVu Sans, which matplotlib carries, at a size in pixels."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


def text_width(text: str, size_px: int, bold: bool = False) -> int:
    """Width in pixels of one line of text."""
    return int(np.ceil(font(size_px, bold).getlength(text)))


def fit_text(text: str, width_px: int, size_px: int, bold: bool = False) -> str:
    """The text, or its beginning and an ellipsis, so that one line fits the width."""
    if text_width(text, size_px, bold) <= width_px:
        return text
    # Letter widths differ, so the cut is found by trying; captions are short.
    for length in range(len(text) - 1, 0, -1):
        shorter = text[:length].rstrip() + "…"
        if text_width(shorter, size_px, bold) <= width_px:
            return shorter
    return ""


class Pen:
    """Writes lines of text onto one image; :attr:`image` returns the result.

    Args:
        image_rgb: (H, W, 3) uint8 to write on; it is copied.
    """

    def __init__(self, image_rgb: NDArray[np.uint8]) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.fromarray(image_rgb)
        self._draw = ImageDraw.Draw(self._image)

    def write(
        self,
        xy: tuple[int, int],
        text: str,
        size_px: int,
        colour: tuple[int, int, int],
        *,
        bold: bool = False,
        anchor: str = "la",
    ) -> None:
        """Write one line; ``anchor`` as in Pillow (horizontal l, m, r; vertical a(scender), m(iddle))."""
        self._draw.text(xy, text, font=font(size_px, bold), fill=colour, anchor=anchor)

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 with the text written so far."""
        return np.array(self._image, dtype=np.uint8)
