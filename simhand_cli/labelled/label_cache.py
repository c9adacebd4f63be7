"""Keep labels that lie in hundreds of thousands of small files in one file in the user's cache folder.

Reading the label files of DexYCB or HanCo takes minutes, asking for their sizes and times seconds. What is kept counts
only as long as names, sizes and times of all label files are the same; where it is missing, stale, damaged or cannot be
kept, the label files themselves are read.
"""

import contextlib
import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.workspace.atomic import atomic_path, remove_leftovers_of
from simhand_cli.workspace.paths import cache_dir

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
    where = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    try:
        kept = cache_dir() / "labels" / f"{name}-{where}.npz"
    except RuntimeError:  # the user has no home
        return read(files)
    labels = _load(kept, signature)
    if labels is None or len(labels) != len(files):
        labels = read(files)
        with contextlib.suppress(OSError):
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
            for entry in sorted((e for e in entries if e.name in names), key=lambda e: e.name):
                with contextlib.suppress(OSError):  # a dangling link: reading it will say so
                    about = entry.stat()
                    digest.update(f"\n{entry.name} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()


def _load(kept: Path, signature: str) -> NDArray[np.float32] | None:
    try:
        with np.load(kept, allow_pickle=False) as stored:
            if str(stored["signature"]) != signature:
                return None
            return np.asarray(stored["labels"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile):
        return None


def _save(kept: Path, signature: str, labels: NDArray[np.float32]) -> None:
    with atomic_path(kept) as part, part.open("wb") as stream:
        np.savez(stream, signature=np.array(signature), labels=labels)
