"""Both hands of a frame in the world, from the predictions of all cameras that see them, in AssemblyHands' layout.

The HANDS 2023 challenge (``README.md`` and ``challenge_submit.py`` of ut-vision/HANDS2023-AssemblyHands) takes a JSON
file in the form of the 3D annotation: ``annotations`` -> recording -> frame -> ``world_coord``, 42 x 3 in mm, right
hand first, each finger from tip to palm, then the wrist; zeros for a hand that no picture has a box of. Predictions of
several cameras are to be merged. ``joint_valid``, which the annotation has too and the toolkit's visualiser reads, is 1
where there is a prediction.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.readers.two_hands import SIDES, TWO_HANDS, WRIST_FIRST, Views
from simhand_cli.skeleton import NUM_JOINTS, WRIST
from simhand_cli.workspace.atomic import atomic_path

#: Digits kept: a nanometre.
_MM_DIGITS = 6


@dataclass(frozen=True)
class FusedHands:
    """The hands of F frames, right and left.

    Attributes:
        world_mm: (F, 2, 21, 3) in the world, wrist first; zeros where no camera has a prediction, the wrist at the
            origin where none has a place for it.
        views: (F, 2) cameras with a prediction.
        placed: (F, 2) cameras whose prediction has a place before them.
    """

    world_mm: NDArray[np.float64]
    views: NDArray[np.int64]
    placed: NDArray[np.int64]


def fuse_views(
    views: Views, relative_mm: NDArray[np.float64], camera_mm: NDArray[np.float64], frames: int
) -> FusedHands:
    """Turn every prediction into the world and take the mean over the cameras of a frame.

    Pose and place are averaged apart: the joints minus the wrist over all cameras, the wrist over those that have a
    place for it. So a view without a place still counts for the pose. All cameras weigh the same: no confidence is kept
    with predictions, and how well one would tell good views from bad ones has not been measured.

    Args:
        views: of n predictions: frame, side, camera.
        relative_mm: (n, 21, 3) joints relative to any common origin, camera axes.
        camera_mm: (n, 21, 3) the same in the camera's frame; NaN where not determined.
        frames: F, how many there are.
    """
    # The inverse of what the reader applies to the labels, also where R is rounded.
    world_from_camera = np.linalg.inv(views.camera_from_world[:, :, :3])
    # Right and left hand of a frame side by side.
    slot = 2 * views.frame + views.side
    pose_mm = (relative_mm - relative_mm[:, WRIST : WRIST + 1]) @ world_from_camera.transpose(0, 2, 1)
    placed = np.isfinite(camera_mm).all(axis=(1, 2))
    from_camera = camera_mm[:, WRIST] - views.camera_from_world[:, :, 3]
    wrist_mm = (world_from_camera @ from_camera[:, :, None])[..., 0]
    pose, count = _means(slot, pose_mm, 2 * frames)
    wrist, place_count = _means(slot[placed], wrist_mm[placed], 2 * frames)
    world_mm = (pose + wrist[:, None]).reshape(frames, 2, NUM_JOINTS, 3)
    return FusedHands(world_mm, count.reshape(frames, 2), place_count.reshape(frames, 2))


def _means(
    slot: NDArray[np.int64], values: NDArray[np.float64], slots: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of the values (n, ...) of each slot, zero where there are none, and their number."""
    count = np.bincount(slot, minlength=slots)
    total = np.zeros((slots, *values.shape[1:]))
    # Not total[slot] += values, which counts a slot that comes several times only once.
    np.add.at(total, slot, values)
    return total / np.maximum(count, 1).reshape(-1, *[1] * (values.ndim - 1)), count


def write_world_coord(path: Path, frames: Sequence[tuple[str, str]], hands: FusedHands) -> None:
    """Write the challenge's JSON file, atomically.

    Args:
        path: of the file.
        frames: F recordings and frames by their published keys.
        hands: of these frames.
    """
    by_recording: dict[str, list[int]] = {}
    for row, (recording, _) in enumerate(frames):
        by_recording.setdefault(recording, []).append(row)
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write('{"annotations": {')
        for number, (recording, rows) in enumerate(by_recording.items()):
            stream.write(f"{',' if number else ''}\n{json.dumps(recording)}: {{\n")
            stream.write(",\n".join(_entries(frames, hands, rows)))
            stream.write("\n}")
        stream.write("\n}}\n")


def _entries(frames: Sequence[tuple[str, str]], hands: FusedHands, rows: Sequence[int]) -> Iterator[str]:
    published = np.empty((len(SIDES), NUM_JOINTS, 3))
    for row in rows:
        # Assigned through the same table that the reader takes joints by: its inverse without a second table.
        published[:, WRIST_FIRST] = np.round(hands.world_mm[row], _MM_DIGITS)
        entry = {
            "world_coord": published.reshape(TWO_HANDS, 3).tolist(),
            "joint_valid": np.repeat((hands.views[row] > 0).astype(int), NUM_JOINTS).tolist(),
        }
        yield f"{json.dumps(frames[row][1])}: {json.dumps(entry, allow_nan=False)}"
