"""The files of ``simhand embed``: features with their ids, made of parts so that a killed run can go on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.shards import new_h5, open_h5, write_h5

FEATURES_SCHEMA, FEATURES_VERSION = "simhand.features", 1
_PART_SCHEMA: Final = "simhand.features-part"
#: float32 tables; everything else in a part is a column of ids.
TABLES: Final = ("features", "projections")
Format = Literal["h5", "safetensors"]


def file_names(kind: Format) -> list[str]:
    """The files of a format: HDF5 holds everything; safetensors cannot hold text, so the ids lie beside it."""
    return ["features.h5"] if kind == "h5" else ["features.safetensors", "features.json"]


def write_part(
    path: Path, tables: Mapping[str, NDArray[np.float32]], ids: Sequence[dict[str, Any]], broken: list[str]
) -> None:
    """Write the features of some pictures.

    Args:
        path: the part's file.
        tables: name -> (n, D) features.
        ids: n rows of ids, all with the same columns.
        broken: messages of the pictures that could not be read.
    """
    columns = {name: _column([row[name] for row in ids]) for name in (ids[0] if ids else {})}
    write_h5(
        path, _PART_SCHEMA, FEATURES_VERSION, {**tables, **columns}, {"broken": json.dumps(broken), "rows": len(ids)}
    )


def broken_in(parts: Sequence[Path]) -> list[str]:
    """Messages of all pictures that could not be read."""
    found: list[str] = []
    for path in parts:
        with open_h5(path, _PART_SCHEMA, FEATURES_VERSION) as part:
            found += json.loads(part.attrs["broken"])
    return found


def join_parts(parts: Sequence[Path], folder: Path, kind: Format, facts: Mapping[str, Any]) -> int:
    """Write the final file of all parts, in their order.

    HDF5 is written part by part, so that the parts and the result are all the disk must hold. For safetensors the
    tables are gathered in files mapped into memory first, and pass through it once.

    Args:
        parts: files of :func:`write_part`.
        folder: where the result goes.
        kind: its format.
        facts: what the file says about itself, plain values.

    Returns:
        number of rows.
    """
    lengths = []
    for path in parts:
        with open_h5(path, _PART_SCHEMA, FEATURES_VERSION) as part:
            lengths.append(int(part.attrs["rows"]))
    filled = [path for path, length in zip(parts, lengths, strict=True) if length]
    (_join_h5 if kind == "h5" else _join_safetensors)(filled, sum(lengths), folder, facts)
    return sum(lengths)


def row_bytes(ids: Mapping[str, Any], numbers: int) -> int:
    """About how many bytes a row takes in HDF5.

    Args:
        ids: of a row.
        numbers: of all tables together.
    """
    # A text is 16 bytes in its column and an object with a header of 16 in the heap, in steps of 8.
    texts = [len(value.encode()) for value in ids.values() if isinstance(value, str)]
    return 4 * numbers + sum(32 + -(-size // 8) * 8 for size in texts) + 8 * (len(ids) - len(texts))


def _join_h5(parts: Sequence[Path], rows: int, folder: Path, facts: Mapping[str, Any]) -> None:
    with new_h5(folder / "features.h5", FEATURES_SCHEMA, FEATURES_VERSION, facts) as file:
        for name in _names(parts[0]):
            start = 0
            for path in parts:
                with open_h5(path, _PART_SCHEMA, FEATURES_VERSION) as part:
                    column = part[name]
                    if start == 0:
                        shape = (rows, *column.shape[1:])
                        joined = file.create_dataset(name, shape, column.dtype, track_times=False)
                    joined[start : start + len(column)] = column[...]
                    start += len(column)


def _gather(parts: Sequence[Path], name: str, rows: int, scratch: Path) -> NDArray[Any]:
    first = _read(parts[0], name)
    table = np.lib.format.open_memmap(scratch, "w+", np.dtype(np.float32), (rows, first.shape[1]))
    start = 0
    for path in parts:
        values = _read(path, name)
        table[start : start + len(values)] = values
        start += len(values)
    return np.asarray(table)


def _join_safetensors(parts: Sequence[Path], rows: int, folder: Path, facts: Mapping[str, Any]) -> None:
    import torch

    from simhand_cli.models.weight_file import write_weights

    names = _names(parts[0])
    scratch = {name: folder / f"{name}.npy.part" for name in names if name in TABLES}
    tables = {name: _gather(parts, name, rows, path) for name, path in scratch.items()}
    columns = {n: np.concatenate([_read(path, n) for path in parts]).tolist() for n in names if n not in TABLES}
    about = {"schema": FEATURES_SCHEMA, "schema_version": FEATURES_VERSION, **facts}
    write_json(folder / "features.json", {**about, "ids": columns})
    tensors = {name: torch.from_numpy(values) for name, values in tables.items()}
    write_weights(folder / "features.safetensors", tensors, {name: str(value) for name, value in about.items()})
    for path in scratch.values():
        path.unlink()


def _names(path: Path) -> list[str]:
    with open_h5(path, _PART_SCHEMA, FEATURES_VERSION) as part:
        return sorted(part, key=lambda name: (name not in TABLES, name))


def _read(path: Path, name: str) -> NDArray[Any]:
    import h5py

    with open_h5(path, _PART_SCHEMA, FEATURES_VERSION) as part:
        column = part[name]
        text = h5py.check_string_dtype(column.dtype) is not None
        return np.asarray(column.asstr()[...] if text else column[...])


def _column(values: list[Any]) -> NDArray[Any]:
    return np.array(values, dtype=object if isinstance(values[0], str) else None)
