"""Contact sheets: rows of captioned pictures in one image, and images saved atomically."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.report.lettering import Pen, fit_text, text_width
from simhand_cli.workspace.atomic import write_bytes

Rgb = tuple[int, int, int]
_PAPER: Rgb = (250, 250, 248)
_INK: Rgb = (28, 30, 36)
_PALE_INK: Rgb = (96, 100, 110)
_EMPTY: Rgb = (232, 232, 228)
_GAP = 8
_MARGIN = 16
_FRAME = 3
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        image_rgb: (H, W, 3) uint8 of any size; fitted into the square tile. None leaves the place empty.
        caption: text below the picture; a line break starts a second line. Too long lines end in an ellipsis.
        frame_rgb: colour of a frame around the picture; None for no frame.
    """

    image_rgb: NDArray[np.uint8] | None
    caption: str = ""
    frame_rgb: Rgb | None = None


@dataclass(frozen=True)
class _Layout:
    tile: int
    text: int
    label_width: int
    top: int
    row_tops: tuple[int, ...]
    height: int
    width: int

    def tile_left(self, column: int) -> int:
        return _MARGIN + self.label_width + column * (self.tile + _GAP)


def contact_sheet(
    rows: Sequence[Sequence[Tile]],
    *,
    tile_px: int = 128,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str = "",
) -> NDArray[np.uint8]:
    """Lay out rows of tiles on light paper, with captions, labels and a title.

    Args:
        rows: tiles, row by row; rows may differ in length.
        tile_px: side of the square each picture is fitted into.
        row_labels: text left of each row (line breaks allowed), or None.
        column_labels: text above each column, or None.
        title: heading of the sheet.

    Returns:
        (H, W, 3) uint8.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    layout = _lay_out(rows, tile_px, row_labels or (), column_labels or (), title)
    canvas = np.empty((layout.height, layout.width, 3), np.uint8)
    canvas[:] = _PAPER
    for top, row in zip(layout.row_tops, rows, strict=True):
        for column, tile in enumerate(row):
            _place(canvas, tile, top, layout.tile_left(column), tile_px)
    pen = Pen(canvas)
    if title:
        pen.write((_MARGIN, _MARGIN), title, round(layout.text * 1.45), _INK, bold=True)
    for column, label in enumerate(column_labels or ()):
        middle = layout.tile_left(column) + tile_px // 2
        text = fit_text(label, tile_px, layout.text, bold=True)
        pen.write((middle, layout.top - layout.text - 6), text, layout.text, _INK, bold=True, anchor="ma")
    for top, label in zip(layout.row_tops, row_labels or (), strict=False):
        _write_row_label(pen, label, top, layout)
    for top, row in zip(layout.row_tops, rows, strict=True):
        for column, tile in enumerate(row):
            _write_caption(pen, tile.caption, top, layout.tile_left(column), layout)
    return pen.image


def _lay_out(
    rows: Sequence[Sequence[Tile]],
    tile_px: int,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
) -> _Layout:
    text = max(11, round(tile_px / 11))
    label_lines = [line for label in row_labels for line in label.split("\n")]
    label_width = max((text_width(line, text) for line in label_lines), default=0)
    # Long labels are shortened rather than pushing the pictures off the sheet.
    label_width = min(label_width, 2 * tile_px) + (_GAP * 2 if label_lines else 0)
    top = _MARGIN + (round(text * 1.45) + 14 if title else 0) + (text + 8 if column_labels else 0)
    row_tops, cursor = [], top
    for row in rows:
        row_tops.append(cursor)
        # Room for the longest caption of a row, so that its pictures stay in line.
        lines = max((tile.caption.count("\n") + 1 if tile.caption else 0 for tile in row), default=0)
        cursor += tile_px + lines * _line_height(text) + (4 if lines else 0) + _GAP + 2
    columns = max(max(len(row) for row in rows), len(column_labels), 1)
    width = 2 * _MARGIN + label_width + columns * (tile_px + _GAP) - _GAP
    if title:
        width = max(width, 2 * _MARGIN + text_width(title, round(text * 1.45), bold=True))
    return _Layout(tile_px, text, label_width, top, tuple(row_tops), cursor - _GAP + _MARGIN, width)


def _line_height(text_px: int) -> int:
    return round(text_px * 1.25)


def _place(canvas: NDArray[np.uint8], tile: Tile, top: int, left: int, tile_px: int) -> None:
    """Fit the picture into its square, centred; shrinking averages, so that lines stay smooth."""
    import cv2

    square = canvas[top : top + tile_px, left : left + tile_px]
    square[:] = _EMPTY if tile.image_rgb is None else tile.frame_rgb or _EMPTY
    if tile.image_rgb is None:
        return
    room = tile_px - (2 * _FRAME if tile.frame_rgb else 0)
    height, width = tile.image_rgb.shape[:2]
    scale = room / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(np.ascontiguousarray(tile.image_rgb), (new_width, new_height), interpolation=method)
    y, x = (tile_px - new_height) // 2, (tile_px - new_width) // 2
    square[y : y + new_height, x : x + new_width] = picture


def _write_caption(pen: Pen, caption: str, top: int, left: int, layout: _Layout) -> None:
    for number, line in enumerate(caption.split("\n") if caption else ()):
        y = top + layout.tile + 4 + number * _line_height(layout.text)
        text = fit_text(line, layout.tile, layout.text)
        pen.write((left, y), text, layout.text, _INK if number == 0 else _PALE_INK)


def _write_row_label(pen: Pen, label: str, top: int, layout: _Layout) -> None:
    lines = label.split("\n")
    first = top + (layout.tile - len(lines) * _line_height(layout.text)) // 2
    for number, line in enumerate(lines):
        text = fit_text(line, layout.label_width - _GAP, layout.text)
        y = first + number * _line_height(layout.text)
        pen.write((_MARGIN, y), text, layout.text, _INK if number == 0 else _PALE_INK)


def encode_image(image_rgb: NDArray[np.uint8], suffix: str) -> bytes:
    """The bytes of an image file of the kind a suffix (".png", ".jpg", ".jpeg") names.

    Raises:
        ValueError: another suffix.
    """
    import cv2

    kind = suffix.lower()
    if kind not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"images are saved as .png or .jpg, not {suffix!r}")
    options = [] if kind == ".png" else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, encoded = cv2.imencode(kind, image_rgb[..., ::-1], options)
    if not done:
        raise ValueError(f"the image of shape {image_rgb.shape} could not be encoded as {kind}")
    return bytes(encoded.tobytes())


def save_image(path: Path, image_rgb: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB to a .png or .jpg file, atomically."""
    write_bytes(path, encode_image(image_rgb, path.suffix))
