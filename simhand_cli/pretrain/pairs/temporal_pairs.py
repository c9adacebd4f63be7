"""The same hand a moment later: TempCLR's positives (Ziani et al., 3DV 2022; SiMHand, Sec. 6.3).

A hand is followed from one sampled frame to the next by overlap: the boxes of a pair overlap most, show the same side,
and nobody else's box is taken. Where detection failed for a frame or two, the hand is looked for behind the gap.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION
from simhand_cli.crops.geometry import box_iou
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5

#: Boxes that overlap less (intersection over union) are not taken for the same hand.
SMALLEST_OVERLAP: Final = 0.1


def next_of_same_hand(
    timestamp_s: NDArray[np.float64],
    handedness: NDArray[np.integer],
    box_xyxy_px: NDArray[np.floating],
    largest_gap: int,
) -> NDArray[np.int64]:
    """For every crop of one video, the crop of the same hand in the next sampled frame it is found in.

    Args:
        timestamp_s: (n,) of the crops' frames, in any order.
        handedness: (n,) side.
        box_xyxy_px: (n, 4) of the hands, in frame pixels.
        largest_gap: sampled frames without the hand that may lie between. The sampling step is the smallest distance
            between two frames with hands.

    Returns:
        (n,) positions, -1 where the hand is not found again. No crop follows two others.
    """
    following = np.full(len(timestamp_s), -1, np.int64)
    times, frame = np.unique(timestamp_s, return_inverse=True)
    if len(times) < 2:
        return following
    # Detection leaves frames out, but hardly ever every second one all along.
    step_s = float(np.diff(times).min())
    crops_of = _grouped(frame)
    taken = np.zeros(len(timestamp_s), bool)
    for first in range(len(times)):
        for second in range(first + 1, len(times)):
            # Half a step of room: frames are not sampled to the microsecond.
            if times[second] - times[first] > (largest_gap + 1.5) * step_s:
                break
            # A hand that was found in the next frame is not looked for behind it.
            earlier = [int(i) for i in crops_of[first] if following[i] < 0]
            later = [int(i) for i in crops_of[second] if not taken[i]]
            _match(earlier, later, handedness, box_xyxy_px, following, taken)
    return following


def _grouped(frame: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions of the crops of each frame."""
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(frame[order])) + 1)


def _match(
    earlier: list[int],
    later: list[int],
    handedness: NDArray[np.integer],
    box_xyxy_px: NDArray[np.floating],
    following: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> None:
    """Join pairs of the same side, the one that overlaps most first."""
    found = [
        (overlap, a, b)
        for a in earlier
        for b in later
        if handedness[a] == handedness[b] and (overlap := box_iou(box_xyxy_px[a], box_xyxy_px[b])) >= SMALLEST_OVERLAP
    ]
    # Greedy, the surest first: with two hands of a side in a frame this is the best assignment, nearly always.
    for _, a, b in sorted(found, key=lambda pair: -pair[0]):
        if following[a] < 0 and not taken[b]:
            following[a], taken[b] = b, True


def temporal_positives(
    workspace: Workspace,
    video_ids: list[str],
    video_index: NDArray[np.int32],
    crop_index: NDArray[np.int32],
    largest_gap: int,
) -> NDArray[np.int64]:
    """For every row of the embeddings file, the row that shows the same hand a moment later; -1 where there is none.

    Args:
        workspace: with the crops' shards.
        video_ids: V ids.
        video_index: (N,) indices into them, rows of a video together.
        crop_index: (N,) rows in the videos' shards.
        largest_gap: see :func:`next_of_same_hand`.

    Raises:
        InputProblem: a shard is missing or damaged.
    """
    positive = np.full(len(video_index), -1, np.int64)
    order = np.argsort(video_index, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(video_index[order])) + 1):
        if len(rows) == 0:
            continue
        # Shard by shard: of millions of crops only one video's boxes are in memory.
        with open_h5(workspace.crops_shard(video_ids[int(video_index[rows[0]])]), CROPS_SCHEMA, CROPS_VERSION) as file:
            names = ("timestamp_s", "handedness", "box_xyxy_px")
            times, sides, boxes = (file[name][:][crop_index[rows]] for name in names)
        following = next_of_same_hand(times, sides, boxes, largest_gap)
        positive[rows] = np.where(following >= 0, rows[following], -1)
    return positive
