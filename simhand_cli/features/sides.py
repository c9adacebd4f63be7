"""The two sides of a probe: gallery (training split) and test samples, with what an encoder makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.features.frozen_encoder import FrozenEncoder
from simhand_cli.features.pictures import READERS, LabelledCrop, ThreadedSet, read_labelled
from simhand_cli.features.retrieval import Poses
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.files.read_ahead import read_ahead
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet, choose_samples, require_3d
from simhand_cli.summary import Dropped

#: With fewer on a side there is no map to draw, and nothing to say.
LEAST_SAMPLES: Final = 5
#: Sets whose recordings have no names: a number counted within the split stands for each.
_NUMBERED: Final = frozenset({"freihand"})

#: What must not be its own neighbour; "mixed" where only some people are known.
Kind = Literal["person", "recording", "mixed"]


@dataclass(frozen=True)
class ProbeSide:
    """The chosen samples of a split.

    Attributes:
        labelled: the opened split.
        indices: (N,) usable, chosen samples.
        joint_valid: (N, 21) which of their joints are labelled.
        dropped: unusable ones, and why.
        digest: of the split's labels.
    """

    labelled: LabelledSet
    indices: NDArray[np.int64]
    joint_valid: NDArray[np.bool_]
    dropped: list[Dropped]
    digest: str

    @property
    def name(self) -> str:
        """The set and the split."""
        return f"{self.labelled.name}/{self.labelled.split}"

    def who(self) -> list[str]:
        """(N) what must not be its own neighbour: the person where known, else the recording.

        Where recordings are but numbered within a split, equal numbers of two splits are different recordings.
        """
        subjects, sequences = self.labelled.subjects, self.labelled.sequences
        of = f"{self.labelled.split} " if self.labelled.name in _NUMBERED else ""
        return [
            f"person {subjects[i]}" if subjects[i] != UNKNOWN_SUBJECT else f"recording {of}{sequences[i]}"
            for i in self.indices
        ]

    @property
    def kind(self) -> Kind:
        """What :meth:`who` names."""
        subjects = self.labelled.subjects
        return _one_kind({"recording" if subjects[i] == UNKNOWN_SUBJECT else "person" for i in self.indices})


def common_kind(test: ProbeSide, gallery: ProbeSide) -> Kind:
    """What must not be its own neighbour on either side."""
    return _one_kind({test.kind, gallery.kind})


def _one_kind(kinds: set[Kind]) -> Kind:
    return kinds.pop() if len(kinds) == 1 else "mixed"


def open_side(path: Path, split: str, limit: int, seed: int) -> ProbeSide:
    """Open a split and choose its samples.

    Raises:
        InputProblem: no such split, an empty one, or no usable label in it.
    """
    labelled = open_labelled(path, split)
    require_3d(labelled, path, "a probe compares hands in 3D")
    check = check_labels(labelled, path)
    indices = choose_samples(np.flatnonzero(check.usable), limit, seed)
    joint_valid = labelled.joints()[1][indices]
    return ProbeSide(labelled, indices, joint_valid, [*labelled.problems(), *check.dropped], labels_sha256(labelled))


def common_groups(first: Sequence[str], second: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Names of two lists as numbers, equal where the names are equal."""
    # Both lists together, or the same name would get two numbers.
    numbers = np.unique([*first, *second], return_inverse=True)[1].astype(np.int64)
    return numbers[: len(first)], numbers[len(first) :]


def check_sides(test: ProbeSide, gallery: ProbeSide, path: Path) -> None:
    """Refuse samples that cannot be probed before anything is written or computed.

    Raises:
        InputProblem: too few samples, or a gallery of one person who is also tested.
    """
    for side in (test, gallery):
        if len(side.indices) < LEAST_SAMPLES:
            raise InputProblem(
                f"{side.name}: {len(side.indices)} usable samples; a probe needs {LEAST_SAMPLES} or more a side"
            )
    queries, others = common_groups(test.who(), gallery.who())
    if len(np.unique(others)) == 1 and np.isin(others[0], queries):
        raise InputProblem(
            f"--data {path}: the gallery (split {gallery.labelled.split!r}) has nobody but {gallery.who()[0]}, who is "
            "also tested; choose another --gallery-split, or a set with more people"
        )


@dataclass(frozen=True)
class Embedded:
    """A side as all encoders see it; samples that could not be read are left out.

    Attributes:
        features: for each encoder (N, D) float32.
        poses: their labels, right hands, camera frame.
        indices: (N,) numbers in the set.
        who: (N) see :meth:`ProbeSide.who`.
        subjects, sequences: (N) as the set names them.
        unreadable: messages.
    """

    features: list[NDArray[np.float32]]
    poses: Poses
    indices: NDArray[np.int64]
    who: list[str]
    subjects: list[str]
    sequences: list[str]
    unreadable: list[str]


def embed_side(
    side: ProbeSide, encoders: Sequence[FrozenEncoder], size_px: int, batch_size: int, ticker: Ticker
) -> Embedded:
    """Read every sample once and show it to all encoders.

    Raises:
        InputProblem: nearly no sample could be read.
    """
    threaded = ThreadedSet(side.labelled)

    def read(index: int) -> LabelledCrop | str:
        return read_labelled(threaded, index, size_px)

    kept: list[LabelledCrop] = []
    unreadable: list[str] = []
    features: list[list[NDArray[np.float32]]] = [[] for _ in encoders]
    joints: list[NDArray[np.float64]] = []
    for batch in read_ahead(read, side.indices.tolist(), batch_size, READERS):
        good = [item for item in batch if isinstance(item, LabelledCrop)]
        unreadable += [item for item in batch if isinstance(item, str)]
        if good:
            images = np.stack([item.crop.image_rgb for item in good])
            # Every picture is decoded once, however many encoders are compared.
            for encoder, found in zip(encoders, features, strict=True):
                found.append(encoder(images).pooled)
            joints += [item.crop.joints_mm for item in good]
            kept += [item.without_picture() for item in good]
        ticker.advance(len(batch))
    if len(kept) < LEAST_SAMPLES:
        what = f"{len(kept)} of {len(side.indices)} samples of {side.name} could be read"
        raise InputProblem(f"only {what}, first: {unreadable[0]}")
    # By the sample's number: some samples may have been left out as unreadable.
    place = {int(index): name for index, name in zip(side.indices, side.who(), strict=True)}
    return Embedded(
        features=[np.concatenate(found) for found in features],
        poses=Poses(np.stack(joints), np.stack([item.crop.joint_valid for item in kept])),
        indices=np.array([item.index for item in kept], np.int64),
        who=[place[item.index] for item in kept],
        subjects=[item.subject for item in kept],
        sequences=[item.sequence for item in kept],
        unreadable=unreadable,
    )
