"""One kind of mistake found in the labels of a set, and when it is the whole set's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: With this share of the tested samples at fault, the set itself is wrong (unit, order, side, K), not single labels.
NEARLY_ALL: Final = 0.95
#: A label is of use only if some of the fingers are there; in 3D also root and reference bone.
MIN_VALID_JOINTS: Final = 10


@dataclass(frozen=True)
class Fault:
    """Samples with the same mistake.

    Attributes:
        kind: short name for machines: ``unlabelled``, ``span``, ``joint-order``, ...
        samples: (K,) int64, positions in the set, ascending.
        why: what is wrong, in a few words.
        meaning: what it usually comes from and what to do; empty where ``why`` says it all.
        refusal: one line if the whole set is wrong and must not be used; empty where leaving the samples out will do.
    """

    kind: str
    samples: NDArray[np.int64]
    why: str
    meaning: str = ""
    refusal: str = ""


def rows_where(bad: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Positions of the True entries."""
    return np.flatnonzero(bad).astype(np.int64)


def nearly_all(bad: NDArray[np.bool_], tested: NDArray[np.bool_]) -> bool:
    """Whether (nearly) all tested samples are bad; both (N,). False where nothing was tested."""
    return bool(tested.any()) and float(bad[tested].mean()) >= NEARLY_ALL


#: Hands in a chunk.
#: Checks need several temporaries of (N, 21, 3) in float64, which take 2 MB each in a chunk.
CHUNK: Final = 4096


def by_chunks(judge: Callable[..., NDArray[Any]], *arrays: NDArray[Any]) -> NDArray[Any]:
    """What ``judge(*arrays)`` returns, put together from chunks; all arrays and the result have a row for each hand."""
    count = len(arrays[0])
    parts = [judge(*(array[start : start + CHUNK] for array in arrays)) for start in range(0, count, CHUNK)]
    return np.concatenate(parts) if parts else judge(*arrays)
