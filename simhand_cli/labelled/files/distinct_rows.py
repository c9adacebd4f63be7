"""Equal rows of big tables, told apart as opaque bytes."""

import numpy as np
from numpy.typing import NDArray


def distinct_rows(table: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are bit for bit the same; many times faster than ``np.unique`` along an axis.

    Args:
        table: (N, ...), N at least 1.

    Returns:
        (U,) the first row of every kind, and (N,) the kind of every row.
    """
    rows = np.ascontiguousarray(table).reshape(len(table), -1)
    # A row as one opaque value: sorting compares bytes, and NaN equals NaN.
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, kind = np.unique(whole, return_index=True, return_inverse=True)
    return first.astype(np.int64), kind.astype(np.int64).ravel()
