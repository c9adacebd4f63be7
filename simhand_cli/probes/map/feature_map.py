"""Maps of the test hands in every encoder's feature space: what lies together, and why."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.features.knn import unit_rows
from simhand_cli.features.pictures import LabelledCrop, read_labelled
from simhand_cli.features.retrieval import Poses
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet
from simhand_cli.probes.map.tsne import tsne
from simhand_cli.report.map_plot import Colouring, MapPanel
from simhand_cli.skeleton import FINGERS, MIDDLE_MCP, WRIST

Floats = NDArray[np.float64]

_THUMBNAILS: Final = 28
_THUMBNAIL_PX: Final = 64
_INDEX_MCP, _LITTLE_MCP = FINGERS["index"][0], FINGERS["little"][0]
_TIPS: Final = [FINGERS[name][-1] for name in ("index", "middle", "ring", "little")]


def hand_openness(poses: Poses) -> Floats:
    """(N,) mean distance of the four fingertips from the wrist in lengths of the bone wrist - middle knuckle.

    Below 1 for a fist, about 2 for an open hand; NaN where a label it needs is missing.
    """
    joints = np.where(poses.valid[..., None], poses.joints_mm, np.nan)
    # Without the thumb, which lies beside the palm in open hands and fists alike.
    reach = np.linalg.norm(joints[:, _TIPS] - joints[:, WRIST : WRIST + 1], axis=-1).mean(axis=1)
    openness: Floats = reach / np.linalg.norm(joints[:, MIDDLE_MCP] - joints[:, WRIST], axis=-1)
    return openness


def palm_facing(poses: Poses) -> Floats:
    """(N,) cosine between the palm's outward normal and the direction to the camera: 1 palm seen, -1 back seen.

    For right hands in a camera frame (x right, y down, z forward); the line of sight is taken as parallel to z.
    """
    joints = np.where(poses.valid[..., None], poses.joints_mm, np.nan)
    wrist = joints[:, WRIST]
    normal = np.cross(joints[:, _INDEX_MCP] - wrist, joints[:, _LITTLE_MCP] - wrist)
    # Minus: z points away from the camera, and a palm that is seen looks towards it.
    facing: Floats = -normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    return facing


def colourings(poses: Poses, subjects: Sequence[str]) -> list[Colouring]:
    """What the maps are coloured by: person (where several are known), hand closed or open, palm or back."""
    found = [
        Colouring("closed to open hand", hand_openness(poses)),
        Colouring("back to palm", palm_facing(poses)),
    ]
    known = {subject for subject in subjects if subject != UNKNOWN_SUBJECT}
    return [Colouring("person", np.array(subjects, dtype=str)), *found] if len(known) > 1 else found


def map_panel(
    title: str,
    features: NDArray[np.float32],
    labelled: LabelledSet,
    indices: NDArray[np.int64],
    perplexity: float,
) -> MapPanel:
    """The t-SNE of one encoder's features, with pictures of hands spread over it.

    Args:
        title: the encoder.
        features: (N, D), compared by cosine as in retrieval.
        labelled: the set.
        indices: (N,) numbers of the samples in it.
        perplexity: of t-SNE.
    """
    # Of unit length: Euclidean distance then ranks as the cosine of retrieval does.
    places = tsne(unit_rows(features), perplexity)
    thumbnails = {}
    for row in spread_rows(places, _THUMBNAILS):
        found = read_labelled(labelled, int(indices[row]), _THUMBNAIL_PX)
        if isinstance(found, LabelledCrop):
            thumbnails[row] = found.crop.image_rgb
    return MapPanel(title, places, thumbnails)


def spread_rows(places: Floats, count: int) -> list[int]:
    """Rows of points (N, 2) that lie far apart: each next one is the farthest from those taken."""
    # From the middle on; starting at a border would leave the middle for last.
    chosen = [int(np.linalg.norm(places - places.mean(axis=0), axis=1).argmin())]
    gap = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < min(count, len(places)):
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return chosen
