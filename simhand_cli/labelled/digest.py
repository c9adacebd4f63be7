"""What tells whether two results were made with the same labels."""

import hashlib

import numpy as np

from simhand_cli.labelled.sample import LabelledSet


def labels_sha256(labelled: LabelledSet) -> str:
    """sha256 of a set's 3D labels and of which of them are valid."""
    joints_mm, valid = labelled.joints()
    digest = hashlib.sha256(np.ascontiguousarray(joints_mm).tobytes())
    digest.update(np.ascontiguousarray(valid).tobytes())
    return digest.hexdigest()
