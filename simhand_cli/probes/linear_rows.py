"""Which gallery samples the linear probe is fitted on: those with all joints labelled, of nobody who is tested."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.finetune.data import choose_validation, validation_groups
from simhand_cli.hands.skeleton import JOINT_NAMES
from simhand_cli.labelled.sample import LabelledSet

#: With fewer there is nothing to fit on.
LEAST_ROWS: Final = 5
#: Missing joints that a message names.
_NAMED: Final = 3


@dataclass(frozen=True)
class LinearRows:
    """What the probe is fitted on.

    Attributes:
        rows: (n,) of the gallery.
        held_out: (n,) True for those that the penalty is chosen on.
        described: what those are.
    """

    rows: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    described: str


def choose_linear_rows(
    labelled: LabelledSet,
    indices: NDArray[np.int64],
    joint_valid: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    fraction: float,
    seed: int,
) -> LinearRows | str:
    """The gallery rows that can be fitted on, and which of them are set aside by whole people; or why there are none.

    Args:
        labelled: the gallery's set.
        indices: (G,) numbers of the gallery's samples in it.
        joint_valid: (G, 21) which joints are labelled.
        tested: (G,) whether the same person or recording is tested too; such samples would tell the answers.
        fraction: part to set aside.
        seed: of that choice.
    """
    rows = np.flatnonzero(joint_valid.all(axis=1) & ~tested)
    if len(rows) < LEAST_ROWS:
        return _why_too_few(len(rows), joint_valid, tested)
    groups, kind = validation_groups(labelled, indices[rows])
    held_out = choose_validation(groups, fraction, seed)
    return LinearRows(rows, held_out, f"{int(held_out.sum())} samples of {len(np.unique(groups[held_out]))} {kind}")


def _why_too_few(left: int, joint_valid: NDArray[np.bool_], tested: NDArray[np.bool_]) -> str:
    reasons = []
    if tested.any():
        reasons.append(f"{int(tested.sum())} are of the people or recordings that are tested")
    missing = (~joint_valid).sum(axis=0)
    if missing.any():
        most = np.argsort(-missing, kind="stable")[:_NAMED]
        names = ", ".join(JOINT_NAMES[joint] for joint in most if missing[joint])
        reasons.append(f"{int((~joint_valid).any(axis=1).sum())} lack a joint's label (most often {names})")
    return f"{left} of {len(tested)} gallery samples can be fitted on, and {LEAST_ROWS} are needed: " + "; ".join(
        reasons or ["there are no more"]
    )
