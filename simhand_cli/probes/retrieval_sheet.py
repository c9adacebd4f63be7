"""What retrieval finds: test hands, and beside each the gallery's nearest hand for every encoder."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.features.pictures import LabelledCrop, read_labelled
from simhand_cli.features.retrieval import ALIGNMENTS, pair_distances
from simhand_cli.features.sides import Embedded
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.sheet import Tile, contact_sheet

_TILE_PX: Final = 160
_SHOWN: Final = 8
_QUERY_FRAME: Final = (60, 160, 80)


def retrieval_sheet(
    test_set: LabelledSet,
    gallery_set: LabelledSet,
    test: Embedded,
    gallery: Embedded,
    titles: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
    oracle_rows: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """One row a test hand (framed green): its nearest hand by every encoder, and by the poses themselves.

    Args:
        test_set: where the test pictures are.
        gallery_set: where the gallery's are.
        test: the test samples.
        gallery: the gallery.
        titles: the encoders' names.
        rows: for each encoder (Q, K) rows of the gallery.
        oracle_rows: (Q, K) rows of the gallery with the nearest poses, -1 for samples that were not asked about.
    """
    asked = np.flatnonzero(oracle_rows[:, 0] >= 0)
    # Spread over the set: neighbours in it are often frames of one recording.
    chosen = asked[np.linspace(0, len(asked) - 1, min(_SHOWN, len(asked))).round().astype(int)]
    columns = [one[:, :1] for one in (*rows, oracle_rows)]
    # As in the table: root and bone scale, by which the oracle was ranked too.
    distances = [pair_distances(ALIGNMENTS[0], test.poses, gallery.poses, one) for one in columns]
    sheet = []
    for query in chosen:
        tiles = [_tile(test_set, int(test.indices[query]), "", _QUERY_FRAME)]
        for one, away in zip(columns, distances, strict=True):
            row = int(one[query, 0])
            caption = f"{away[query, 0]:.1f} mm" if row >= 0 else ""
            tiles.append(_tile(gallery_set, int(gallery.indices[row]), caption) if row >= 0 else Tile(None))
        sheet.append(tiles)
    return contact_sheet(
        sheet,
        tile_px=_TILE_PX,
        column_labels=["test hand", *titles, "oracle"],
        title="Nearest hands of others, mm: root + bone scale",
    )


def _tile(labelled: LabelledSet, index: int, caption: str, frame: tuple[int, int, int] | None = None) -> Tile:
    found = read_labelled(labelled, index, _TILE_PX)
    if not isinstance(found, LabelledCrop):
        return Tile(None, caption)
    crop = found.crop
    drawn = draw_skeleton(crop.image_rgb, crop.joints_px, joint_valid=crop.joint_valid, thickness=1)
    return Tile(drawn, caption or found.sample_id, frame)
