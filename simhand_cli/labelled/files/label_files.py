"""Read labels that lie in many small files; a file that cannot be read costs its own samples, not the set."""

import contextlib
import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import NEARLY_ALL
from simhand_cli.workspace.atomic import atomic_path, remove_leftovers_of
from simhand_cli.workspace.paths import cache_dir

#: Threads, since opening small files is waiting for a disk or network, not computing.
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
    # Few at most, so one by one; an error that went away meanwhile is repaired here.
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

    # In batches, so that a set of 582,000 files does not queue as many futures.
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


#: Of the kept file; to be raised when the readers make other rows of the same label files.
_VERSION = 2


def cached_labels(
    name: str, root: Path, files: Sequence[Path], read: Callable[[Sequence[Path]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What ``read(files)`` returns, from the cache where that is kept and still true.

    Args:
        name: of the set and split; each keeps one file for each ``root``.
        root: the set's folder.
        files: the label files, all below ``root``.
        read: gives one row (N, ...) for every file; what it raises is passed on, and nothing kept.
    """
    signature = _signature(root, files)
    # Two copies of a set have caches of their own: their files' times differ.
    where = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    try:
        kept = cache_dir() / "labels" / f"{name}-{where}.npz"
    except RuntimeError:  # the user has no home
        return read(files)
    labels = _load(kept, signature)
    if labels is None or len(labels) != len(files):
        labels = read(files)
        with contextlib.suppress(OSError):
            # A cache that cannot be written (full disk, no rights) only costs time.
            remove_leftovers_of(kept)
            _save(kept, signature, labels)
    return labels


def _signature(root: Path, files: Sequence[Path]) -> str:
    """Digest of the names, sizes and times of modification of all files; each folder is listed once."""
    digest = hashlib.sha256(f"{_VERSION}".encode())
    wanted: dict[Path, set[str]] = {}
    for file in files:
        wanted.setdefault(file.parent, set()).add(file.name)
    for folder, names in wanted.items():
        digest.update(b"\n\n" + os.fsencode(folder.relative_to(root)))
        with os.scandir(folder) as entries:
            # scandir's order is the file system's and changes.
            for entry in sorted((e for e in entries if e.name in names), key=lambda e: e.name):
                with contextlib.suppress(OSError):  # a dangling link: reading it will say so
                    about = entry.stat()
                    digest.update(f"\n{entry.name} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()


def _load(kept: Path, signature: str) -> NDArray[np.float32] | None:
    try:
        # The cache lies where other programs can write: no pickles.
        with np.load(kept, allow_pickle=False) as stored:
            if str(stored["signature"]) != signature:
                return None
            return np.asarray(stored["labels"], np.float32)
    # A damaged cache is as good as none; these are what numpy raises for files that are cut or changed.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile):
        return None


def _save(kept: Path, signature: str, labels: NDArray[np.float32]) -> None:
    with atomic_path(kept) as part, part.open("wb") as stream:
        np.savez(stream, signature=np.array(signature), labels=labels)
