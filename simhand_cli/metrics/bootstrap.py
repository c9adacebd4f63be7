"""Bootstrap intervals of figures that are means over joints of per-joint means.

Frames of one sequence resemble each other, so resampling frames makes intervals too narrow; whole groups (sequences
or subjects) are drawn instead where there are enough of them. Since MPJPE and AUC are ratios of sums, only the sums of
each group are needed and all repeats are one matrix product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Fewer groups than this cannot show their own spread; samples are drawn instead.
MIN_GROUPS: Final = 10
#: Rows of the draw matrix built at a time, which bounds memory at large N.
_BLOCK_ENTRIES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """What is drawn with replacement.

    Attributes:
        group: (N,) int64 index of the group each sample belongs to.
        groups: number of groups.
        unit: what a group is: "sequence", "subject" or "sample".
        repeats: number of draws.
        seed: of the draws.
        too_few: how many groups there are of the unit that was asked for, and its name, where samples are drawn for
            want of them; None else.
    """

    group: NDArray[np.int64]
    groups: int
    unit: str
    repeats: int
    seed: int
    too_few: tuple[int, str] | None = None

    @property
    def caution(self) -> str:
        """What a reader of the intervals must know: samples are drawn though groups were asked for; else empty."""
        if self.too_few is None:
            return ""
        count, unit = self.too_few
        groups = f"{count} {unit}{'' if count == 1 else 's'}"
        return f"intervals drawn by picture: {groups} only; too narrow where pictures resemble each other"

    @property
    def drawn(self) -> str:
        """What was drawn, in words."""
        return f"{self.repeats} draws of {self.groups} {self.unit}s, seed {self.seed}"

    def describe(self) -> dict[str, object]:
        """The facts to store beside an interval."""
        return {"level": 0.95, "drawn": self.unit, "groups": self.groups, "repeats": self.repeats, "seed": self.seed}


def resampling(labels: Sequence[str], unit: str, repeats: int, seed: int) -> Resampling:
    """Choose what to draw: the groups named by ``labels`` (N,), or samples when there are too few groups."""
    names, group = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(names) < MIN_GROUPS:
        too_few = None if unit == "sample" else (len(names), unit)
        return Resampling(np.arange(len(labels)), len(labels), "sample", repeats, seed, too_few)
    return Resampling(group.astype(np.int64), len(names), unit, repeats, seed)


def intervals_95(figures: Sequence[tuple[Floats, Mask]], how: Resampling) -> list[tuple[float, float]]:
    """95 % percentile intervals of several ``mean over joints of (mean of values over samples)``.

    All figures see the same draws, so their intervals are comparable.

    Args:
        figures: (values, valid) of each figure, both (N, J): errors or areas; non-finite entries are left out, as in
            the point estimate.
        how: what is drawn.

    Returns:
        (low, high) of each figure; NaN, NaN where fewer than two groups have a value: one alone shows no spread.
    """
    if not figures:
        return []
    joints = figures[0][0].shape[1]
    uses = [valid & np.isfinite(values) for values, valid in figures]
    sums = np.hstack([_group_sums(np.where(use, f[0], 0.0), how) for f, use in zip(figures, uses, strict=True)])
    counts = np.hstack([_group_sums(use.astype(np.float64), how) for use in uses])
    # One generator for all blocks: the draws do not depend on how many fit into memory.
    rng = np.random.default_rng(how.seed)
    block = max(1, _BLOCK_ENTRIES // max(how.groups, 1))
    drawn: list[Floats] = []
    for start in range(0, how.repeats, block):
        draws = _draw_counts(rng, min(block, how.repeats - start), how.groups)
        drawn.append(_joint_averages(draws @ sums, draws @ counts, joints))
    repeats = np.vstack(drawn)
    measured = (counts.reshape(how.groups, -1, joints) > 0).any(axis=2).sum(axis=0)
    nothing = float("nan"), float("nan")
    return [_percentiles(repeats[:, k]) if measured[k] > 1 else nothing for k in range(len(figures))]


def _joint_averages(sums: Floats, counts: Floats, joints: int) -> Floats:
    """(B, M) mean over joints of sums / counts (B, M * J); joints a draw has no sample of are left out."""
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0).reshape(len(sums), -1, joints)
    known = (counts > 0).reshape(means.shape).sum(axis=2)
    averages: Floats = np.divide(means.sum(axis=2), known, out=np.full(known.shape, np.nan), where=known > 0)
    return averages


def _percentiles(drawn: Floats) -> tuple[float, float]:
    # A draw may hold no sample of a figure at all.
    low, high = np.percentile(drawn[np.isfinite(drawn)], [2.5, 97.5])
    return float(low), float(high)


def _group_sums(values: Floats, how: Resampling) -> Floats:
    """(G, J) sums of values (N, J) over each group."""
    # Every sample a group of its own: sorting is faster than adding up.
    if how.groups == len(values):
        order = np.argsort(how.group, kind="stable")
        return values[order]
    sums = np.zeros((how.groups, values.shape[1]))
    np.add.at(sums, how.group, values)
    return sums


def _draw_counts(rng: np.random.Generator, rows: int, groups: int) -> Floats:
    """(rows, groups) how often each group is in each draw of ``groups`` with replacement."""
    picks = rng.integers(0, groups, size=(rows, groups))
    # One bincount for all draws, each in a range of numbers of its own.
    flat = (picks + np.arange(rows)[:, None] * groups).ravel()
    return np.bincount(flat, minlength=rows * groups).reshape(rows, groups).astype(np.float64)
