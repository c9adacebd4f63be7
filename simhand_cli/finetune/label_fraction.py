"""Training on a part of the labels: which part."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.finetune.options import FractionRule

_FRACTION_STREAM = 12


def take_fraction(
    samples: NDArray[np.int64], groups: NDArray[np.int64], total: int, fraction: float, rule: FractionRule, seed: int
) -> NDArray[np.int64]:
    """A part of a set's training samples.

    Args:
        samples: (N,) positions in the set, ascending.
        groups: (N,) person (or recording, where people are not known) of every sample.
        total: samples of the whole set, those set aside for validation or unusable included.
        fraction: of the samples to take, in (0, 1].
        rule: ``random-frame`` draws pictures from all; ``stratified`` draws the same part of every group, at least
            one picture of each as far as the number allows; ``official-first`` takes those that are among the first
            ``total`` x ``fraction`` of the set's own order, as SiMHand's code does: FreiHAND's order is by background,
            so that its "FreiHand*" (10 %) are green-screen pictures only (fact sheet, section 5.6).
        seed: of the draws.

    Returns:
        (M,) ascending positions; M is N x fraction, rounded, at least 1, for the rules that draw.
    """
    if fraction >= 1 or len(samples) == 0:
        return samples
    if rule == "official-first":
        # Positions in the published order, so people set aside for validation leave gaps in it.
        return samples[samples < int(total * fraction)]
    count = max(1, round(len(samples) * fraction))
    # The beginning of one permutation: the samples of 10 % are among those of 20 %.
    order = np.random.default_rng([seed, _FRACTION_STREAM]).permutation(len(samples))
    if rule == "stratified":
        order = _evenly(groups[order], order)
    return np.asarray(np.sort(samples[order[:count]]))


def _evenly(groups: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The random order rearranged so that every beginning of it holds every group in proportion to its size.

    The k-th of a group's n samples stands at (k + 1/2) / n of the whole; the first ones of all groups come first.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rank = np.empty(len(groups), np.int64)
    by_group = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rank[by_group] = np.arange(len(groups)) - np.repeat(starts, sizes)
    place = np.where(rank == 0, 0.0, (rank + 0.5) / sizes[inverse])
    return order[np.lexsort((np.arange(len(groups)), place))]
