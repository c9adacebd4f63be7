"""HDF5 files with a schema: written atomically and byte-for-byte reproducibly, refused when unknown."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli import __version__
from simhand_cli.errors import InputProblem
from simhand_cli.workspace.atomic import atomic_path, sha256_file

CREATED_BY = f"simhand {__version__}"


def write_h5(
    path: Path, schema: str, version: int, arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
) -> str:
    """Write arrays to one HDF5 file, atomically; the same content gives the same bytes.

    Args:
        path: where the file shall appear.
        schema: name of the file's kind, e.g. ``simhand.crops``.
        version: version of that kind.
        arrays: dataset name -> array, written contiguously in this order. Object arrays of str become UTF-8.
        attributes: file attributes (str, int, float, bool or small arrays).

    Returns:
        sha256 of the file.
    """
    import h5py

    with new_h5(path, schema, version, attributes) as file:
        for name, array in arrays.items():
            dtype = h5py.string_dtype() if array.dtype.kind in "OU" else array.dtype
            # Without times, which would make files of equal content differ.
            file.create_dataset(name, data=array, dtype=dtype, track_times=False)
    return sha256_file(path)


@contextmanager
def new_h5(path: Path, schema: str, version: int, attributes: Mapping[str, Any]) -> Iterator[Any]:
    """Like :func:`write_h5`, for callers that cannot hold the arrays: they write the datasets of the open file.

    Yields:
        the ``h5py.File``, under a temporary name until the caller is done.
    """
    import h5py

    # A fixed format: bytes must not depend on the version of HDF5.
    with atomic_path(path) as part, h5py.File(part, "w", libver=("v110", "v110")) as file:
        file.attrs["schema"] = schema
        file.attrs["schema_version"] = version
        file.attrs["created_by"] = CREATED_BY
        for name, value in attributes.items():
            file.attrs[name] = value
        yield file


@contextmanager
def open_h5(path: Path, schema: str, version: int) -> Iterator[Any]:
    """Open a file written by :func:`write_h5` for reading, checking its schema.

    Yields:
        the open ``h5py.File``.

    Raises:
        InputProblem: the file is missing, unreadable, of another kind or of an unknown version.
    """
    file = open_h5_file(path, schema, version)
    try:
        yield file
    finally:
        file.close()


def open_h5_file(path: Path, schema: str, version: int) -> Any:
    """Like :func:`open_h5`, for callers that keep the handle; the caller closes it."""
    import h5py

    try:
        # A file that has its name never changes, and HDF5's locks fail on some network file systems.
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing (expected a {schema} file)") from None
    except OSError as error:
        raise InputProblem(f"{path} cannot be read as HDF5: {error}") from error
    found, found_version = file.attrs.get("schema"), file.attrs.get("schema_version")
    if found != schema or found_version != version:
        file.close()
        raise InputProblem(f"{path} is {found} version {found_version}; this simhand reads {schema} version {version}")
    return file


def pack_blobs(blobs: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Concatenate byte strings into a flat uint8 array and (N + 1) int64 offsets."""
    # One offset more than blobs: the end of the last needs no special case.
    offsets = np.zeros(len(blobs) + 1, dtype=np.int64)
    np.cumsum([len(b) for b in blobs], out=offsets[1:])
    return np.frombuffer(b"".join(blobs), dtype=np.uint8), offsets
