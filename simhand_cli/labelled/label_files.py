"""Read labels that lie in many small files; a file that cannot be read costs its own samples, not the set."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.fault import NEARLY_ALL
from simhand_cli.labelled.label_cache import cached_labels

_READERS: Final = 8
#: Files handed to the readers at a time: a future takes more memory than a row.
_AT_ONCE: Final = 4096
#: Fills the rows of files that cannot be read, also in the cache; NaN is for what a file says is absent.
_DAMAGED: Final = np.float32(np.inf)

ReadFile = Callable[[Path], NDArray[np.float32]]


def label_rows(
    name: str, root: Path, files: Sequence[Path], read: ReadFile, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """One row of every file, from the user's cache where that is still true.

    Files that could not be read are tried again each time, so that a passing trouble is not kept.

    Args:
        name: of the set, split and kind of file, for the cache.
        root: the set's folder.
        files: the label files, all below ``root``.
        read: gives the row (``shape``) of one file; called by several threads; raises InputProblem.
        shape: of one row.

    Returns:
        rows (N, *shape), NaN where the file cannot be read; and row -> why it cannot.

    Raises:
        InputProblem: at least 95 % of the files cannot be read; the first is named.
    """
    rows = cached_labels(name, root, files, partial(_read_all, read, shape))
    problems = {}
    for row in np.flatnonzero(np.isinf(rows).all(axis=tuple(range(1, rows.ndim)))).tolist():
        try:
            rows[row] = read(files[row])
        except InputProblem as problem:
            rows[row], problems[row] = np.nan, str(problem)
    return rows, problems


def _read_all(read: ReadFile, shape: tuple[int, ...], files: Sequence[Path]) -> NDArray[np.float32]:
    rows = np.empty((len(files), *shape), np.float32)
    problems: list[InputProblem] = []

    def row_of(file: Path) -> NDArray[np.float32] | InputProblem:
        try:
            return read(file)
        except InputProblem as problem:
            return problem

    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(files), _AT_ONCE):
            for number, row in enumerate(readers.map(row_of, files[start : start + _AT_ONCE]), start):
                if isinstance(row, InputProblem):
                    problems.append(row)
                    rows[number] = _DAMAGED
                else:
                    rows[number] = row
    if problems and len(problems) >= NEARLY_ALL * len(files):
        raise InputProblem(f"{problems[0]}; of {len(files):,} such files {len(problems):,} cannot be read")
    return rows
