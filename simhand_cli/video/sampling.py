"""Choosing frames by time, so that 1 fps means one frame a second whatever the video's own rate."""

import numpy as np
from numpy.typing import NDArray


def sample_by_time(timestamps_s: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Indices of the frames nearest to 0, 1/fps, 2/fps, ... seconds, as far as the video goes.

    Args:
        timestamps_s: (F,) strictly increasing seconds from the first frame; rates may vary.
        fps: frames wanted per second, > 0. Where the video has fewer, every frame is taken once.

    Returns:
        (S,) int64 sorted, without repeats. A target further than half a sampling step from any frame (a gap in the
        recording) yields none.
    """
    if len(timestamps_s) == 0:
        return np.zeros(0, np.int64)
    step_s = 1.0 / fps
    # A hair more than whole steps, or rounding would lose a target that lies on the last frame.
    targets_s = np.arange(int(np.floor(timestamps_s[-1] / step_s + 1e-9)) + 1) * step_s
    right = np.clip(np.searchsorted(timestamps_s, targets_s), 1, max(len(timestamps_s) - 1, 1))
    right = np.minimum(right, len(timestamps_s) - 1)
    left = np.maximum(right - 1, 0)
    # The earlier of two equally near frames, whatever the rounding of the timestamps.
    nearest = np.where(targets_s - timestamps_s[left] <= timestamps_s[right] - targets_s + 1e-9, left, right)
    close = np.abs(timestamps_s[nearest] - targets_s) <= step_s / 2 + 1e-9
    return np.unique(nearest[close]).astype(np.int64)
