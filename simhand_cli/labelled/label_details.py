"""What is labelled beside the joints (side, camera, K), read without decoding pictures; and a digest of all labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.distinct_rows import distinct_rows
from simhand_cli.labelled.sample import LabelledSet, LabelledSet2D

#: Samples read where a reader does not offer the details of all.
_READ: Final = 64


@dataclass(frozen=True)
class LabelDetails:
    """Labels of M samples of a set.

    Attributes:
        samples: (M,) int64, which samples, ascending.
        right: (M,) bool, the stated side.
        intrinsics: (M, 3, 3) float64; NaN where the camera is not known.
        cameras: M names.
        stated_px: (M, 21, 2) 2D joints of the layout's own, NaN where there are none; None if it has none.
        size_px: (M, 2) width and height that the labels state; None if they do not.
        box_xyxy_px: (M, 4) the boxes of the hands that the labels state; None if they do not.
        names_sequences: whether the set says which samples are of one recording.
        names_cameras: whether it says which are of one camera.
    """

    samples: NDArray[np.int64]
    right: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    cameras: Sequence[str]
    stated_px: NDArray[np.floating] | None = None
    size_px: NDArray[np.int64] | None = None
    box_xyxy_px: NDArray[np.floating] | None = None
    names_sequences: bool = True
    names_cameras: bool = True

    def lenses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(U,) the first row of every different K, and (M,) which of them a row has; an unknown K is like no other."""
        first, kind = distinct_rows(self.intrinsics)
        unknown = np.flatnonzero(np.isnan(self.intrinsics).any(axis=(1, 2)))
        if not len(unknown):
            return first, kind
        # NaN is bitwise equal to itself in distinct_rows, which would make one camera of all unknown ones.
        kind[unknown] = len(first) + np.arange(len(unknown))
        _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
        return first.astype(np.int64), kind.astype(np.int64)


@runtime_checkable
class DetailedSet(Protocol):
    """A labelled set whose reader knows the details of all samples."""

    def details(self) -> LabelDetails:
        """Of all samples, in sample order."""


def label_details(labelled: LabelledSet) -> LabelDetails:
    """The details of all samples, or where the reader does not offer them, of 64 spread over the set.

    Raises:
        InputProblem: none of the 64 can be read.
    """
    if isinstance(labelled, DetailedSet):
        return labelled.details()
    found, problem = [], None
    # Spread, since the first samples of a set are mostly of one recording and one person.
    for index in spread(len(labelled), _READ).tolist():
        try:
            found.append((index, labelled[index]))
        except InputProblem as error:
            # One damaged picture must not hide what the others tell.
            problem = problem or error
    if not found:
        raise problem or InputProblem(f"{labelled.name}/{labelled.split} is empty")
    return LabelDetails(
        samples=np.array([index for index, _ in found], np.int64),
        right=np.array([sample.hand == "right" for _, sample in found]),
        intrinsics=np.stack([sample.intrinsics for _, sample in found]),
        cameras=[sample.camera for _, sample in found],
        stated_px=np.stack([sample.joints_px for _, sample in found]),
    )


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the positions 0..count-1, evenly spread."""
    # unique, because rounding can give the same position twice.
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def labels_sha256(labelled: LabelledSet) -> str:
    """sha256 of a set's labels: joints and which of them are valid, sides, K, people and recordings.

    The joints are those in 3D, and those in 2D of a set that is 2D only.

    Sides and K are those of :func:`label_details`: all, where the reader offers them
    without decoding pictures. Pictures, their paths and the names of cameras do not count.
    """
    joints_mm, valid = labelled.joints()
    details = label_details(labelled)
    digest = hashlib.sha256()
    for numbers in (joints_mm, valid, details.samples, details.right, details.intrinsics.astype(np.float64)):
        _add(digest, numbers)
    if isinstance(labelled, LabelledSet2D):
        _add(digest, labelled.joints_px())
    for texts in (labelled.subjects, labelled.sequences):
        # Names once and a number each: the digest of millions of names costs as little as that of the joints.
        distinct, codes = np.unique(np.asarray(texts, dtype=np.str_), return_inverse=True)
        digest.update(json.dumps(distinct.tolist()).encode())
        _add(digest, codes.astype(np.int64))
    return digest.hexdigest()


def _add(digest: Any, numbers: NDArray[Any]) -> None:
    """Add numbers with their shape, so that no two columns can be taken for one another."""
    digest.update(f"{numbers.shape}".encode())
    digest.update(np.ascontiguousarray(numbers).tobytes())
