"""Which samples of a labelled set are set aside for validation: whole people, or blocks of frames."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.sample import LabelledSet

#: Sets without known people are validated on blocks of neighbouring recordings, at most so many blocks.
_BLOCKS = 20
#: Random stream of the choice of people, apart from that of the fraction.
_VALIDATION_STREAM = 11


def choose_validation(groups: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Set whole groups aside.

    Groups are taken in random order while that brings the number of samples closer to the wanted one, at least one
    group and never all of them.

    Args:
        groups: (N,) group number of every sample.
        fraction: wanted part of the samples; 0 takes none.
        seed: of the order.

    Returns:
        (N,) bool, True for validation.
    """
    names, counts = np.unique(groups, return_counts=True)
    # With a single group nothing would be left to train on.
    if fraction <= 0 or len(names) < 2:
        return np.zeros(len(groups), dtype=bool)
    # In random order, not the first or the largest ones, so that another seed sets other people aside.
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(len(names))
    # Without the last: all groups are never set aside.
    taken = np.cumsum(counts[order])[:-1]
    best = int(np.abs(taken - fraction * len(groups)).argmin())
    return np.isin(groups, names[order[: best + 1]])


def validation_groups(labelled: LabelledSet, usable: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """What is set aside together: people, or blocks of neighbouring recordings where no people are named.

    Args:
        labelled: the set.
        usable: (N,) positions of samples in it.

    Returns:
        (N,) number of the group of every usable sample, and what a group is.
    """
    subjects = np.asarray(labelled.subjects)[usable]
    people, number = np.unique(subjects, return_inverse=True)
    # People before recordings: a hand that was trained on in another recording makes the error too good.
    if len(people) > 1:
        return number.astype(np.int64), "people"
    found = np.asarray(labelled.sequences)[usable]
    sequences, first, number = np.unique(found, return_index=True, return_inverse=True)
    # Neighbours are neighbours in the set, not in the alphabet, where img10 stands beside img1.
    number = np.argsort(np.argsort(first))[number]
    count = len(sequences)
    if count < 2:
        # One recording: its frames in order are all there is to divide.
        count, number = len(usable), np.arange(len(usable))
    # Blocks, since neighbouring frames are nearly the same picture and would be on both sides if drawn singly.
    blocks = min(_BLOCKS, count)
    return number.astype(np.int64) * blocks // max(count, 1), "blocks of neighbouring recordings"
