"""Render docs/images/synth.jpg, the README's picture of synthetic hands.

Usage: python tools/build_synth_picture.py [docs/images/synth.jpg]
"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.shots import labelled_sequence

TILE_PX, COLUMNS = 128, 8


def row(variety: Variety, seed: int, numbers: range, frames: int = 1, cameras: int = 1) -> np.ndarray:
    """One row of pictures: of several sequences, or of one."""
    shots = (
        made.shot.image_rgb
        for number in numbers
        for made in labelled_sequence(seed, number, number, variety, TILE_PX, frames, cameras, fps=6.0)
    )
    return np.concatenate(list(islice(shots, COLUMNS)), axis=1)


def main() -> None:
    """Two rows of stills, then held things, second hands, the own hand, a ring, a sequence."""
    rows = [
        row(Variety(), 1, range(8)),
        row(Variety(view="random"), 1, range(8, 16)),
        row(Variety(things=1.0), 5, range(16, 24)),
        row(Variety(second_hand=1.0), 5, range(24, 32)),
        row(Variety(view="ego"), 1, range(32, 40)),
        row(Variety(backdrop="panorama"), 1, range(41, 42), cameras=8),
        row(Variety(backdrop="panorama"), 1, range(44, 45), frames=8),
    ]
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/synth.jpg")
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate(rows, axis=0)
    cv2.imwrite(str(out), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 86])
    print(out, out.stat().st_size, "bytes", sheet.shape)


if __name__ == "__main__":
    main()
