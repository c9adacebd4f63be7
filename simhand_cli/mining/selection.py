"""Which crops take part in mining, and why the others do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.mining.pose_embedding import has_shape
from simhand_cli.summary import Dropped


@dataclass(frozen=True)
class Selection:
    """Rows kept and the counts of those left out; each row is counted under the first reason that applies.

    Attributes:
        rows: (n,) int64 rows of the crop set that take part, ascending.
        invalid: crops without a hand according to the keypoint stage.
        low_confidence: crops below the wanted confidence (or with none).
        nonfinite: crops whose keypoints are not finite, or all in one place.
    """

    rows: NDArray[np.int64]
    invalid: int
    low_confidence: int
    nonfinite: int

    def dropped(self) -> list[Dropped]:
        """The counts as lines of the summary."""
        lines = [
            Dropped("crops", self.invalid, "keypoints collapsed or mostly outside the crop"),
            Dropped("crops", self.low_confidence, "keypoint confidence too low", "--min-confidence"),
            Dropped("crops", self.nonfinite, "keypoints not finite, or all in one place"),
        ]
        return [line for line in lines if line.count]


def select_rows(
    keypoints_px: NDArray[np.floating],
    valid: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    min_confidence: float,
) -> Selection:
    """Choose the rows whose keypoints can be mined.

    Args:
        keypoints_px: (N, 21, 2).
        valid: (N,) the keypoint stage's verdict.
        confidence: (N,) 0 to 1; a confidence that is not a number counts as too low.
        min_confidence: rows below are left out.
    """
    valid = np.asarray(valid, dtype=bool)
    # NaN compares as False, and so counts as too low.
    confident = confidence >= min_confidence
    shaped = has_shape(keypoints_px)
    return Selection(
        rows=np.flatnonzero(valid & confident & shaped),
        invalid=int((~valid).sum()),
        low_confidence=int((valid & ~confident).sum()),
        nonfinite=int((valid & confident & ~shaped).sum()),
    )
