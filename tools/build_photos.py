"""Derive assets/photos.npz (sharp backgrounds) from the CC0 photographs in the PyPI wheel ``scikit-image`` 0.26.0.

Usage: python tools/build_photos.py FOLDER_OF_UNPACKED_WHEEL/skimage/data [assets/photos.npz]

Only pictures whose maker released them as CC0 or into the public domain are taken (see assets/PROVENANCE.md).
"""

import sys
from pathlib import Path

import cv2
import numpy as np

NAMES = ("brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png", "rocket.jpg")
LARGER_PX, QUALITY = 400, 85


def main() -> None:
    """Read, shrink and store."""
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "assets/photos.npz")
    stored = {}
    for name in NAMES:
        picture = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        if picture is None:
            raise SystemExit(f"{folder / name} cannot be read")
        scale = LARGER_PX / max(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, None, scale, scale, cv2.INTER_AREA)
        stored[Path(name).stem] = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    np.savez(out, **stored)
    print(out, out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
