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
    from simhand_cli.labelled.synth import SynthSet
    from simhand_cli.report.draw import draw_skeleton
    from simhand_cli.report.sheet import Tile, contact_sheet, save_image

    labelled = SynthSet(folder, "train")
    chosen = np.unique(np.linspace(0, len(labelled) - 1, _COLUMNS * _ROWS // 2).astype(int))
    rows: list[list[Tile]] = []
    for start in range(0, len(chosen), _COLUMNS):
        samples = [labelled[int(i)] for i in chosen[start : start + _COLUMNS]]
        rows.append([Tile(s.image_rgb, f"{s.subject}, {s.hand}") for s in samples])
        rows.append([Tile(draw_skeleton(s.image_rgb, s.joints_px)) for s in samples])
    title = f"{len(labelled)} synthetic training pictures: a sample, and its joints below"
    save_image(folder / SHEET_NAME, contact_sheet(rows, tile_px=160, title=title))


def video_sheet(folder: Path, videos: list[Path]) -> None:
    """Frames of up to eight videos, one row each; written into the videos' folder."""
    from simhand_cli.report.sheet import Tile, contact_sheet, save_image

    chosen = [videos[int(i)] for i in np.unique(np.linspace(0, len(videos) - 1, min(8, len(videos))).astype(int))]
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
