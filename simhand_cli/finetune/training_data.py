"""Which samples a fine-tuning run trains and validates on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.finetune.label_fraction import take_fraction
from simhand_cli.finetune.options import FractionRule, LossOptions, Mix
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import LabelledSet, LabelledSet2D, require_3d
from simhand_cli.labelled.set_aside import choose_validation, validation_groups
from simhand_cli.skeleton import MIDDLE_MCP, WRIST
from simhand_cli.summary import Dropped

if TYPE_CHECKING:
    from simhand_cli.finetune.weak_2d import WeakCrops


_LOSS = LossOptions()
_NEEDS_3D = (
    "a 3D model needs others, too: give another --data with 3D labels, or --loss.location 0 --loss.delta 0 for a model "
    "of 2D joints alone"
)


@dataclass(frozen=True)
class TrainingData:
    """The chosen samples of all sets.

    Attributes:
        sets: the opened sets, and the crops of --weak-2d last where there are any.
        train: (N, 2) int64 rows of (set, sample), set after set.
        quotas: how many samples of each set come in an epoch.
        labelled: how many of ``train`` are of labelled sets; the crops of --weak-2d come after them.
        val: (M, 2) int64.
        validation: one line per set: what the validation samples are.
        bone_length_mm: mean length of the bone wrist - middle knuckle over ``train``; None of a model of 2D joints
            alone.
        dropped: samples left out, and why.
        digests: what the labels of each set were, for telling whether data has changed.
    """

    sets: list[LabelledSet]
    train: NDArray[np.int64]
    quotas: list[int]
    labelled: int
    val: NDArray[np.int64]
    validation: list[str]
    bone_length_mm: float | None
    dropped: list[Dropped]
    digests: list[str]

    @property
    def sizes(self) -> list[int]:
        """How many training samples each set has."""
        return [int(count) for count in np.bincount(self.train[:, 0], minlength=len(self.sets))]

    @property
    def labelled_2d(self) -> int:
        """How many of the labelled training samples have 2D labels only."""
        flat = [s for s, one in enumerate(self.sets) if isinstance(one, LabelledSet2D)]
        return int(np.isin(self.train[: self.labelled, 0], flat).sum())

    @property
    def judged_in_3d(self) -> bool:
        """Whether the 3D error decides which epoch is best: the model and some validation samples have joints in 3D."""
        return self.bone_length_mm is not None and any(
            not isinstance(self.sets[s], LabelledSet2D) for s in np.unique(self.val[:, 0]).tolist()
        )

    @property
    def choice_sha256(self) -> str:
        """Of the rows trained and validated on: the same labels may be divided otherwise."""
        return hashlib.sha256(self.train.tobytes() + b"|" + self.val.tobytes()).hexdigest()

    def counts(self) -> dict[str, int | float | str]:
        """Labelled samples, those in 2D only among them, and unlabelled crops, for people."""
        weak = len(self.train) - self.labelled
        flat = {"of them with 2D labels only": self.labelled_2d} if self.labelled_2d else {}
        return {"training samples": self.labelled, **flat, **({"unlabelled crops": weak} if weak else {})}

    def with_weak(self, crops: "WeakCrops", share: float) -> "TrainingData":
        """This data and unlabelled crops, of which an epoch has so many that they are ``share`` of it."""
        return replace(
            self,
            sets=[*self.sets, crops],
            # Last, so that the labelled rows keep their positions and with them their random numbers.
            train=np.concatenate([self.train, _rows(len(self.sets), np.arange(len(crops)))]),
            # share of the new total, hence share / (1 - share) of the labelled part.
            quotas=[*self.quotas, max(1, round(sum(self.quotas) * share / (1 - share)))],
            validation=[*self.validation, f"{crops.name}: none"],
            dropped=[*self.dropped, *crops.problems()],
            digests=[*self.digests, crops.digest],
        )

    def _used(self, s: int) -> NDArray[np.int64]:
        """Samples of a set that are trained or validated on."""
        return np.concatenate([rows[rows[:, 0] == s, 1] for rows in (self.train, self.val)])

    def record(self) -> dict[str, Any]:
        """The choice as plain values: per set, the people and sample numbers trained and validated on."""
        return {
            "sets": [
                {
                    "name": labelled.name,
                    "subjects": sorted(set(np.asarray(labelled.subjects)[self._used(s)].tolist())),
                    "labels_sha256": self.digests[s],
                    "validation": self.validation[s],
                    "train": self.train[self.train[:, 0] == s, 1].tolist(),
                    "val": self.val[self.val[:, 0] == s, 1].tolist(),
                }
                for s, labelled in enumerate(self.sets)
            ]
        }


def choose_samples(
    paths: Sequence[Path],
    *,
    split: str = "train",
    val_fraction: float,
    label_fraction: float,
    seed: int,
    fraction_rule: FractionRule = "random-frame",
    mix: Mix = "by-size",
    loss: LossOptions = _LOSS,
) -> TrainingData:
    """Open the sets, drop unusable labels, set people aside for validation, take the fraction.

    Args:
        paths: folders of labelled sets.
        split: the only split of theirs that is touched.
        val_fraction: part of the samples to validate on, taken by whole people.
        label_fraction: part of the remaining samples to train on.
        seed: of both choices.
        fraction_rule: which part, see :func:`~simhand_cli.finetune.label_fraction.take_fraction`.
        mix: an epoch has every sample once, or the same number of samples of every set.
        loss: what is learnt; labels may all be 2D only where that is nothing in 3D.

    Raises:
        InputProblem: an unusable set, nothing left to train on, or nothing with 3D labels.
    """
    sets = [open_labelled(path, split) for path in paths]
    if (loss.location or loss.delta) and all(isinstance(labelled, LabelledSet2D) for labelled in sets):
        require_3d(sets[0], paths[0], _NEEDS_3D)
    train, val, validation, dropped, digests, lengths = [], [], [], [], [], []
    for s, (path, labelled) in enumerate(zip(paths, sets, strict=True)):
        # Root and reference bone: without them a sample has no unit of length.
        check = check_labels(labelled, path, (WRIST, MIDDLE_MCP))
        dropped += [*labelled.problems(), *check.dropped]
        usable = np.flatnonzero(check.usable)
        groups, kind = validation_groups(labelled, usable)
        # Before the fraction of labels, so that every fraction is judged on the same people.
        chosen = choose_validation(groups, val_fraction, seed)
        validation.append(_describe(path, kind, groups, chosen))
        others = usable[~chosen], groups[~chosen]
        # Another seed for each set: two copies of one layout would give the same positions.
        rest = take_fraction(*others, len(labelled), label_fraction, fraction_rule, seed + s)
        train.append(_rows(s, rest))
        val.append(_rows(s, usable[chosen]))
        digests.append(labels_sha256(labelled))
        if not isinstance(labelled, LabelledSet2D):
            joints_mm = labelled.joints()[0]
            lengths.append(np.linalg.norm(joints_mm[rest, MIDDLE_MCP] - joints_mm[rest, WRIST], axis=1))
    rows = np.concatenate(train)
    if len(rows) == 0:
        raise InputProblem("no sample is left to train on; use a smaller --val-fraction or more --label-fraction")
    measured = np.concatenate([np.empty(0), *lengths])
    if not loss.only_2d and not len(measured):
        raise InputProblem("no sample with 3D labels is left to train on; use a smaller --val-fraction")
    bone_length_mm = None if loss.only_2d else float(measured.mean())
    sizes = [len(one) for one in train]
    # The epoch keeps its length, so that --mix changes shares and not the amount of training.
    quotas = sizes if mix == "by-size" else [round(len(rows) / len(sizes)) if size else 0 for size in sizes]
    return TrainingData(
        sets, rows, quotas, len(rows), np.concatenate(val), validation, bone_length_mm, dropped, digests
    )


def _rows(set_number: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.column_stack([np.full(len(samples), set_number, np.int64), samples])


def _describe(path: Path, kind: str, groups: NDArray[np.int64], chosen: NDArray[np.bool_]) -> str:
    if not chosen.any():
        return f"{path}: none"
    of = len(np.unique(groups))
    return f"{path}: {int(chosen.sum())} samples of {len(np.unique(groups[chosen]))} of {of} {kind}"
