"""Figures of a probe: values with intervals, alike for every encoder, and paired differences between encoders."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.metrics.alignment import ALIGNMENT_MEANING, AlignmentName
from simhand_cli.metrics.bootstrap import Resampling, intervals_95
from simhand_cli.metrics.joint_errors import finite_or_none, joint_means, mean_over_joints

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        metric: ``retrieval_1``, ``retrieval_5``, ``retrieval_10`` or ``linear``.
        alignment: what was forgiven.
        values: (N, J) errors of the test samples in mm; J is 1 for retrieval.
        valid: (N, J) which count.
    """

    metric: str
    alignment: AlignmentName
    values: Floats
    valid: Mask

    @property
    def key(self) -> tuple[str, AlignmentName]:
        """What tells it from an encoder's other figures."""
        return self.metric, self.alignment

    @property
    def mean(self) -> float:
        """Mean over joints of the mean over samples; NaN where nothing was measured."""
        return mean_over_joints(joint_means(self.values, self.valid))

    def minus(self, other: "Figure") -> "Figure":
        """The difference on every sample that both have."""
        # Sample by sample: hard hands are hard for every encoder, so differences vary less than errors.
        return Figure(self.metric, self.alignment, self.values - other.values, self.valid & other.valid)


def retrieval_figure(k: int, alignment: AlignmentName, distances: Floats) -> Figure:
    """The figure of the (N,) mean distances to k neighbours."""
    return Figure(f"retrieval_{k}", alignment, distances[:, None], np.isfinite(distances)[:, None])


def figure_record(figure: Figure, how: Resampling) -> dict[str, Any]:
    """A figure with the conditions it was taken under."""
    low, high = intervals_95([(figure.values, figure.valid)], how)[0]
    return {
        "metric": figure.metric,
        "value": finite_or_none(figure.mean),
        "unit": "mm",
        "alignment": figure.alignment,
        "alignment_meaning": ALIGNMENT_MEANING[figure.alignment],
        "samples": int(figure.valid.any(axis=1).sum()),
        "interval": {"low": finite_or_none(low), "high": finite_or_none(high), **how.describe()},
    }


def find_figure(records: list[dict[str, Any]], metric: str, alignment: str) -> dict[str, Any] | None:
    """The record of a metric and alignment, None where it was not taken."""
    return next((r for r in records if (r["metric"], r["alignment"]) == (metric, alignment)), None)
