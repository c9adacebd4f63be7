"""What tells whether two results were made with the same labels."""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.details import label_details
from simhand_cli.labelled.sample import LabelledSet, LabelledSet2D


def labels_sha256(labelled: LabelledSet) -> str:
    """sha256 of a set's labels: joints and which of them are valid, sides, K, people and recordings.

    The joints are those in 3D, and those in 2D of a set that is 2D only.

    Sides and K are those of :func:`~simhand_cli.labelled.details.label_details`: all, where the reader offers them
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
        distinct, codes = np.unique(np.asarray(texts, dtype=np.str_), return_inverse=True)
        digest.update(json.dumps(distinct.tolist()).encode())
        _add(digest, codes.astype(np.int64))
    return digest.hexdigest()


def _add(digest: Any, numbers: NDArray[Any]) -> None:
    """Add numbers with their shape, so that no two columns can be taken for one another."""
    digest.update(f"{numbers.shape}".encode())
    digest.update(np.ascontiguousarray(numbers).tobytes())
