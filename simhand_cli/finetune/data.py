"""Which samples a fine-tuning run trains and validates on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.hands.skeleton import MIDDLE_MCP, WRIST
from simhand_cli.labelled.checks import check_labels
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.summary import Dropped

#: Sets without known people are validated on blocks of neighbouring recordings, at most so many blocks.
_BLOCKS = 20
#: Random streams of one seed, so that options do not change each other's choices.
_VALIDATION_STREAM, _FRACTION_STREAM = 11, 12


@dataclass(frozen=True)
class TrainingData:
    """The chosen samples of all sets.

    Attributes:
        sets: the opened sets (their ``train`` splits).
        train: (N, 2) int64 rows of (set, sample).
        val: (M, 2) int64.
        validation: one line per set: what the validation samples are.
        bone_length_mm: mean length of the bone wrist - middle knuckle over ``train``.
        dropped: samples left out, and why.
        digests: what the labels of each set were, for telling whether data has changed.
    """

    sets: list[LabelledSet]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    validation: list[str]
    bone_length_mm: float
    dropped: list[Dropped]
    digests: list[str]

    def record(self) -> dict[str, Any]:
        """The choice as plain values: per set, the sample numbers trained and validated on."""
        return {
            "sets": [
                {
                    "name": labelled.name,
                    "labels_sha256": self.digests[s],
                    "validation": self.validation[s],
                    "train": self.train[self.train[:, 0] == s, 1].tolist(),
                    "val": self.val[self.val[:, 0] == s, 1].tolist(),
                }
                for s, labelled in enumerate(self.sets)
            ]
        }


def choose_samples(paths: Sequence[Path], *, val_fraction: float, label_fraction: float, seed: int) -> TrainingData:
    """Open the sets, drop unusable labels, set people aside for validation, take the fraction.

    Args:
        paths: folders of labelled sets; only their ``train`` splits are touched.
        val_fraction: part of the samples to validate on, taken by whole people.
        label_fraction: part of the remaining samples to train on, drawn at random by image.
        seed: of both choices.

    Raises:
        InputProblem: an unusable set, or nothing left to train on.
    """
    sets = [open_labelled(path, "train") for path in paths]
    train, val, validation, dropped, digests, lengths = [], [], [], [], [], []
    for s, (path, labelled) in enumerate(zip(paths, sets, strict=True)):
        check = check_labels(labelled, path, (WRIST, MIDDLE_MCP))
        dropped += [*labelled.problems(), *check.dropped]
        usable = np.flatnonzero(check.usable)
        groups, kind = validation_groups(labelled, usable)
        chosen = choose_validation(groups, val_fraction, seed)
        validation.append(_describe(path, kind, groups, chosen))
        rest = _take_fraction(usable[~chosen], label_fraction, seed + s)
        train.append(_rows(s, rest))
        val.append(_rows(s, usable[chosen]))
        joints_mm = labelled.joints()[0]
        digests.append(hashlib.sha256(np.ascontiguousarray(joints_mm).tobytes()).hexdigest())
        lengths.append(np.linalg.norm(joints_mm[rest, MIDDLE_MCP] - joints_mm[rest, WRIST], axis=1))
    rows = np.concatenate(train)
    if len(rows) == 0:
        raise InputProblem("no sample is left to train on; use a smaller --val-fraction or more --label-fraction")
    bone_length_mm = float(np.concatenate(lengths).astype(np.float64).mean())
    return TrainingData(sets, rows, np.concatenate(val), validation, bone_length_mm, dropped, digests)


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
    if fraction <= 0 or len(names) < 2:
        return np.zeros(len(groups), dtype=bool)
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(len(names))
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
    if len(people) > 1:
        return number.astype(np.int64), "people"
    sequences, number = np.unique(np.asarray(labelled.sequences)[usable], return_inverse=True)
    if len(sequences) < 2:
        # One recording: its frames in order are all there is to divide.
        sequences, number = np.arange(len(usable)), np.arange(len(usable))
    blocks = min(_BLOCKS, len(sequences))
    return number.astype(np.int64) * blocks // max(len(sequences), 1), "blocks of neighbouring recordings"


def _take_fraction(samples: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    if fraction >= 1 or len(samples) == 0:
        return samples
    count = max(1, round(len(samples) * fraction))
    chosen = np.random.default_rng([seed, _FRACTION_STREAM]).permutation(len(samples))[:count]
    return np.asarray(np.sort(samples[chosen]))


def _rows(set_number: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.column_stack([np.full(len(samples), set_number, np.int64), samples])


def _describe(path: Path, kind: str, groups: NDArray[np.int64], chosen: NDArray[np.bool_]) -> str:
    if not chosen.any():
        return f"{path}: none"
    of = len(np.unique(groups))
    return f"{path}: {int(chosen.sum())} samples of {len(np.unique(groups[chosen]))} of {of} {kind}"
