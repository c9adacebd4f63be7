"""What is shown: the frame, 21 joints a hand, a 3D view of each, and a line of text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.demo.tracker import TrackedHand
from simhand_cli.demo.view3d import draw_hand_3d
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.lettering import Pen, fit_text, text_width

Image = NDArray[np.uint8]
Rgb = tuple[int, int, int]

_PANEL: Final[Rgb] = (18, 20, 26)
_INK: Final[Rgb] = (242, 243, 245)
_PALE_INK: Final[Rgb] = (176, 182, 192)
_NOTE_INK: Final[Rgb] = (255, 205, 92)
#: How opaque: a line of text may let the picture through, thin bones in a 3D view would be lost in it.
_PANEL_STRENGTH: Final = 0.78
_VIEW_STRENGTH: Final = 0.93
#: Smaller frames are enlarged, or text and joints would be blobs.
_MIN_SIDE_PX: Final = 480
Corner = Literal["bottom right", "bottom left", "top right"]
#: Where the 3D views may stand, best first; the text has the fourth corner.
_CORNERS: Final[tuple[Corner, ...]] = ("bottom right", "bottom left", "top right")
#: The views stay in a corner for at least so many frames.
_CORNER_FRAMES: Final = 20


@dataclass(frozen=True)
class Look:
    """What is drawn beside the joints.

    Attributes:
        model: name of the model, shown in the top line.
        note: something the user must know; a second, highlighted line.
        hint: how to leave, shown pale behind the model.
        mirror: show the picture as a mirror does.
        view_3d: draw the 3D views.
    """

    model: str
    note: str = ""
    hint: str = ""
    mirror: bool = False
    view_3d: bool = True


class Painter:
    """Draws frame after frame; it remembers in which corner the 3D views are.

    Args:
        look: what to show.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._corner = _CORNERS[0]
        self._frames_there = _CORNER_FRAMES

    def draw(self, image_rgb: Image, hands: Sequence[TrackedHand], *, fps: float | None, yaw_rad: float) -> Image:
        """Draw everything over a frame.

        Args:
            image_rgb: (H, W, 3) the frame; untouched.
            hands: in that frame.
            fps: frames a second, None to leave it out.
            yaw_rad: angle of the 3D views about the vertical.

        Returns:
            (H', W', 3): the frame's size, or enlarged for frames under 480 px.
        """
        canvas, hands = _enlarge(image_rgb, hands)
        if self._look.mirror:
            canvas, hands = _mirror(canvas, hands)
        # After mirroring and enlarging, which NaN survives: a failed prediction is left out, not drawn somewhere.
        hands = [hand for hand in hands if np.isfinite(hand.joints_px).all()]
        for hand in hands:
            canvas = draw_skeleton(canvas, hand.joints_px, thickness=_bone_width(hand))
        # The frame is the caller's: text must not be written into it.
        if canvas is image_rgb:
            canvas = canvas.copy()
        unit = _text_px(canvas)
        for hand in hands:
            _tag(canvas, hand, unit)
        if self._look.view_3d and hands:
            self._draw_views(canvas, hands, yaw_rad, unit)
        _draw_lines(canvas, self._look, fps, unit)
        return canvas

    def _draw_views(self, canvas: Image, hands: Sequence[TrackedHand], yaw_rad: float, unit: int) -> None:
        """3D views side by side in a corner, in the hands' order from left to right."""
        height, width = canvas.shape[:2]
        side = round(min(height * 0.32, width * 0.28))
        gap = max(6, unit // 2)
        room = max(1, (width - gap) // (side + gap))
        # Ordered as the hands stand in the picture, so that one sees which view belongs to which.
        shown = sorted(hands, key=lambda h: float(h.joints_px[:, 0].mean()))[:room]
        block_wh = (len(shown) * (side + gap) - gap, side)
        self._choose_corner((width, height), block_wh, gap, hands)
        left, top = _corner_xy(self._corner, (width, height), block_wh, gap)
        for place, hand in enumerate(shown):
            x = left + place * (side + gap)
            _blend(canvas, draw_hand_3d(hand.joints_mm, side, yaw_rad), top, x, strength=_VIEW_STRENGTH)
            caption = _line(((f"3D  {hand.side}", _PALE_INK),), round(0.75 * unit), side)
            _blend(canvas, caption, top + 2, x + 2, strength=1.0)

    def _choose_corner(
        self, canvas_wh: tuple[int, int], block_wh: tuple[int, int], gap: int, hands: Sequence[TrackedHand]
    ) -> None:
        """Move the views when they cover a hand and another corner is clearly freer, but not back and forth."""
        self._frames_there += 1
        covered = {c: _covered(_corner_xy(c, canvas_wh, block_wh, gap), block_wh, hands) for c in _CORNERS}
        # The first of equals, so the preferred corner where nothing is covered.
        best = min(_CORNERS, key=lambda c: covered[c])
        settled = self._frames_there < _CORNER_FRAMES
        if covered[self._corner] > 0.05 and covered[best] < 0.5 * covered[self._corner] and not settled:
            self._corner, self._frames_there = best, 0


def _corner_xy(corner: Corner, canvas_wh: tuple[int, int], block_wh: tuple[int, int], gap: int) -> tuple[int, int]:
    """Left and top of the block of views in a corner."""
    left = gap if "left" in corner else canvas_wh[0] - block_wh[0] - gap
    top = gap if "top" in corner else canvas_wh[1] - block_wh[1] - gap
    return left, top


def _covered(left_top: tuple[int, int], block_wh: tuple[int, int], hands: Sequence[TrackedHand]) -> float:
    """Share of all joints that lie under the block."""
    joints = np.concatenate([hand.joints_px for hand in hands])
    low, high = np.array(left_top), np.array(left_top) + block_wh
    return float(((joints >= low) & (joints <= high)).all(axis=1).mean())


def fit_into(image_rgb: Image, height: int, width: int) -> Image:
    """The picture, shrunk or enlarged to fit and centred on black; unchanged if it has that size already."""
    import cv2

    if image_rgb.shape[:2] == (height, width):
        return image_rgb
    scale = min(height / image_rgb.shape[0], width / image_rgb.shape[1])
    rows, columns = max(1, round(image_rgb.shape[0] * scale)), max(1, round(image_rgb.shape[1] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[top : top + rows, left : left + columns] = cv2.resize(image_rgb, (columns, rows), interpolation=method)
    return canvas


def _enlarge(image: Image, hands: Sequence[TrackedHand]) -> tuple[Image, Sequence[TrackedHand]]:
    import cv2

    # Rounded up, and whole: pixels of the frame stay evenly large.
    factor = -(-_MIN_SIDE_PX // min(image.shape[0], image.shape[1]))
    if factor <= 1:
        return image, hands
    larger = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    # Pixel centres: (x + 0.5) is what scales.
    moved = [replace(h, joints_px=(h.joints_px + 0.5) * factor - 0.5) for h in hands]
    return np.asarray(larger, dtype=np.uint8), moved


def _mirror(image: Image, hands: Sequence[TrackedHand]) -> tuple[Image, Sequence[TrackedHand]]:
    # Pixel centres: column 0 goes to the last one.
    last = image.shape[1] - 1
    flipped = [
        replace(
            hand,
            joints_px=np.column_stack([last - hand.joints_px[:, 0], hand.joints_px[:, 1]]),
            joints_mm=hand.joints_mm * [-1.0, 1.0, 1.0],
        )
        for hand in hands
    ]
    return np.ascontiguousarray(image[:, ::-1]), flipped


def _text_px(canvas: Image) -> int:
    return int(max(15, round(min(canvas.shape[0], canvas.shape[1]) / 34)))


def _bone_width(hand: TrackedHand) -> int:
    """Bones as thin as the hand is small."""
    extent = float((hand.joints_px.max(axis=0) - hand.joints_px.min(axis=0)).max())
    return int(np.clip(round(extent / 60), 2, 7))


def _tag(canvas: Image, hand: TrackedHand, unit: int) -> None:
    """The hand's side, below its lowest joint."""
    label = _line(((f"{hand.side} hand", _INK),), round(0.8 * unit), 10_000)
    x = round(float(hand.joints_px[:, 0].mean())) - label.shape[1] // 2
    y = round(float(hand.joints_px[:, 1].max()) + 0.8 * unit)
    bottom, right = canvas.shape[0] - label.shape[0] - 4, canvas.shape[1] - label.shape[1] - 4
    _blend(canvas, label, min(max(y, 4), bottom), min(max(x, 4), right))


def _draw_lines(canvas: Image, look: Look, fps: float | None, unit: int) -> None:
    pieces: list[tuple[str, Rgb]] = [(look.model, _INK)]
    if fps is not None:
        pieces.insert(0, (f"{fps:.0f} fps" if fps >= 9.5 else f"{fps:.1f} fps", _PALE_INK))
    if look.hint:
        pieces.append((look.hint, _PALE_INK))
    gap = max(6, unit // 2)
    line = _line(tuple(pieces), unit, canvas.shape[1] - 2 * gap)
    _blend(canvas, line, gap, gap)
    if look.note:
        _blend(canvas, _line(((look.note, _NOTE_INK),), unit, canvas.shape[1] - 2 * gap), gap + line.shape[0], gap)


@lru_cache(maxsize=256)
def _line(pieces: tuple[tuple[str, Rgb], ...], size_px: int, max_width_px: int) -> Image:
    """A dark strip with coloured pieces of text, kept: the same words come again in every frame."""
    pad, space = round(0.5 * size_px), round(0.9 * size_px)
    placed: list[tuple[int, str, Rgb]] = []
    x = pad
    for text, colour in pieces:
        shown = fit_text(text, max_width_px - x - pad, size_px)
        if not shown:
            break
        placed.append((x, shown, colour))
        x += text_width(shown, size_px) + space
    width = max(1, min(x - space + pad, max_width_px))
    pen = Pen(np.full((round(1.7 * size_px), width, 3), _PANEL, dtype=np.uint8))
    for left, text, colour in placed:
        pen.write((left, round(0.85 * size_px)), text, size_px, colour, anchor="lm")
    return pen.image


def _blend(canvas: Image, patch: Image, top: int, left: int, strength: float = _PANEL_STRENGTH) -> None:
    """Lay a patch over the canvas. Dark parts let the picture shine through; text stays fully opaque."""
    import cv2

    top, left = max(top, 0), max(left, 0)
    region = canvas[top : top + patch.shape[0], left : left + patch.shape[1]]
    patch = patch[: region.shape[0], : region.shape[1]]
    if region.size == 0:
        return
    mixed = cv2.addWeighted(patch, strength, region, 1.0 - strength, 0.0)
    # Text is brighter than its panel, so the maximum keeps it opaque.
    region[:] = np.maximum(mixed, patch)
