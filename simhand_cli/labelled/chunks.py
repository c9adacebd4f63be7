"""Judge millions of hands a chunk at a time: float64 temporaries of all at once would take gigabytes."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Hands in a chunk.
CHUNK: Final = 4096


def by_chunks(judge: Callable[..., NDArray[Any]], *arrays: NDArray[Any]) -> NDArray[Any]:
    """What ``judge(*arrays)`` returns, put together from chunks; all arrays and the result have a row for each hand."""
    count = len(arrays[0])
    parts = [judge(*(array[start : start + CHUNK] for array in arrays)) for start in range(0, count, CHUNK)]
    return np.concatenate(parts) if parts else judge(*arrays)
