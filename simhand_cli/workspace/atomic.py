"""Atomic writes: a temporary name beside the target, fsync, rename, fsync of the folder."""

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none that can be read."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


PART_SUFFIX = ".part"


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it is fsynced and renamed to ``final``.

    On an exception the temporary file is removed and ``final`` is untouched. The temporary name holds the process id,
    so that a worker outliving its killed parent cannot write into its successor's file; leftovers are swept by
    :func:`remove_leftovers` at the next start.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a rename is atomic within a file system only.
    part = final.with_name(f"{final.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # Before the rename, or a power cut could leave the name with nothing behind it.
    _fsync(part)
    part.replace(final)
    # The new name itself survives a power cut only once the folder is on disk.
    _fsync(final.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Delete temporary files of killed writers in a folder; the caller holds its lock."""
    for part in directory.glob(f"*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def remove_leftovers_of(final: Path) -> None:
    """Delete temporary files of ``final`` whose writers are dead, where no lock keeps other writers away."""
    for part in final.parent.glob(f"{glob.escape(final.name)}.*{PART_SUFFIX}"):
        writer = part.name.removeprefix(f"{final.name}.").removesuffix(PART_SUFFIX)
        if writer.isdecimal() and not _is_alive(int(writer)):
            part.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    # Somebody else's process, or no possible number: in doubt, the file is left alone.
    except (PermissionError, OverflowError):
        return True
    return True


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically, indented, non-finite numbers refused."""
    # NaN would make a file that other programs refuse.
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
