"""Contact sheets of synthetic sets: what was made, at a glance."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

SHEET_NAME: Final = "contact_sheet.png"
_COLUMNS: Final = 8
_ROWS: Final = 6


def labelled_sheet(folder: Path) -> None:
    """Pictures spread over a labelled set, every second row with its joints drawn; written into the set's folder."""
    from simhand_cli.labelled.readers.synth import SynthSet
    from simhand_cli.report.draw import draw_skeleton
    from simhand_cli.report.sheet import Tile, contact_sheet, save_image

    labelled = SynthSet(folder, "train")
    chosen = _spread(len(labelled), _COLUMNS * _ROWS // 2)
    rows: list[list[Tile]] = []
    for start in range(0, len(chosen), _COLUMNS):
        samples = [labelled[int(i)] for i in chosen[start : start + _COLUMNS]]
        rows.append([Tile(s.image_rgb, f"{s.subject}, {s.hand}") for s in samples])
        rows.append([Tile(draw_skeleton(s.image_rgb, s.joints_px)) for s in samples])
    title = f"{len(labelled)} synthetic training pictures: a sample, and its joints below"
    save_image(folder / SHEET_NAME, contact_sheet(rows, tile_px=160, title=title))


def picture_sheet(folder: Path, pictures: list[Path], title: str) -> None:
    """Pictures spread over a list of files; written into ``folder``."""
    import cv2

    from simhand_cli.report.sheet import Tile, contact_sheet, save_image

    chosen = [pictures[int(i)] for i in _spread(len(pictures), _COLUMNS * _ROWS)]
    tiles = [Tile(np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)) for path in chosen]
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    save_image(folder / SHEET_NAME, contact_sheet(rows, tile_px=160, title=title))


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Up to ``wanted`` different indices spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def video_sheet(folder: Path, videos: list[Path]) -> None:
    """Frames of up to eight videos, one row each; written into the videos' folder."""
    from simhand_cli.report.sheet import Tile, contact_sheet, save_image

    chosen = [videos[int(i)] for i in _spread(len(videos), 8)]
    rows = [[Tile(frame) for frame in _spread_frames(path)] for path in chosen]
    labels = [path.stem for path in chosen]
    title = f"{len(videos)} synthetic videos"
    save_image(folder / SHEET_NAME, contact_sheet(rows, tile_px=160, row_labels=labels, title=title))


def _spread_frames(path: Path) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as container:
        total = int(container.streams.video[0].frames)
        wanted = set(np.linspace(0, total - 1, min(_COLUMNS, total)).astype(int).tolist())
        frames = enumerate(container.decode(video=0))
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for k, f in frames if k in wanted]
