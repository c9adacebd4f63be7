"""Annotation files in COCO's form: lists of pictures and of what they show, tied by the pictures' ids."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.json_stream import stream_json

#: The row of what is not there.
ABSENT: Final = -1


def read_coco(path: Path, readers: Mapping[str, Callable[[dict[str, Any]], None]]) -> None:
    """Hand every entry of the named lists of a COCO-like file to its reader, one at a time.

    Raises:
        InputProblem: an entry lacks a field or has a wrong one; it is named.
    """
    # Other lists (licences, categories) stream by unread.
    for keys, entry in stream_json(path, 2):
        if len(keys) == 2 and keys[0] in readers:
            try:
                readers[keys[0]](entry)
            except KeyError as error:
                raise InputProblem(f"{path}: {keys[0]}[{keys[1]}] has no {error.args[0]}") from None
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                raise InputProblem(f"{path}: {keys[0]}[{keys[1]}] is damaged: {error}") from None


def rows_by_id(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows (N,) of the wanted ids (N,) among the known ones, -1 where an id is not known."""
    if not len(known):
        return np.full(len(wanted), ABSENT, np.int64)
    # A sorted search instead of a dictionary, which would hold millions of Python integers.
    order = np.argsort(known, kind="stable")
    # An id above all known ones would be looked for behind the end.
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    return np.asarray(np.where(known[order[place]] == wanted, order[place], ABSENT), np.int64)


def file_names(folder: Path) -> set[bytes]:
    """What lies in a folder, by name; nothing where it cannot be listed."""
    try:
        # As bytes, like the names that readers keep: file names need not be UTF-8.
        return {os.fsencode(entry.name) for entry in os.scandir(folder)}
    except OSError:
        return set()
