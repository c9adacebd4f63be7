"""The hnswlib index: built the same way every time, saved atomically, reloaded and asked before it is trusted.

hnswlib reports no failed write, loads a file with the wrong dimension and forgets ``ef`` on loading; so every save is
read back here, and every load is checked against ``index.json``.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.workspace.atomic import atomic_path, sha256_file, write_json

SCHEMA: Final = "simhand.index"
SCHEMA_VERSION: Final = 1
#: Rows added between two updates of the progress bar.
_ADD_ROWS: Final = 8192
#: Rows asked about after a save, spread over all, so that damage anywhere in the file is likely to be met.
_CHECKED_ROWS: Final = 256


@dataclass(frozen=True)
class IndexSettings:
    """How the graph is built and searched.

    Attributes:
        m: links of a node.
        ef_construction: candidates looked at when a row is added.
        ef: candidates looked at in a search (raised to the number of neighbours asked for).
        seed: of the random levels.
    """

    m: int = 16
    ef_construction: int = 200
    ef: int = 64
    seed: int = 0


def build_index(embedding: NDArray[np.float32], settings: IndexSettings, ticker: Ticker | None = None) -> Any:
    """Build an ``hnswlib.Index`` (squared L2) whose labels are the row ids.

    One thread: with more, the links depend on which thread comes first, and a run killed and repeated would end in
    another file.

    Args:
        embedding: (N, D) finite float32; one non-finite row would spoil the answers of many others.
        settings: how to build it.
        ticker: advanced by the rows added.

    Raises:
        ValueError: a row is not finite.
    """
    import hnswlib

    if not np.isfinite(embedding).all():
        raise ValueError("the index takes finite rows only")
    index = hnswlib.Index(space="l2", dim=embedding.shape[1])
    index.init_index(
        max_elements=len(embedding),
        M=settings.m,
        ef_construction=settings.ef_construction,
        random_seed=settings.seed + 1,  # its generator takes 0 and 1 for the same seed
    )
    for start in range(0, len(embedding), _ADD_ROWS):
        block = embedding[start : start + _ADD_ROWS]
        # Labels are row ids, said and not left to hnswlib's own counting.
        index.add_items(block, np.arange(start, start + len(block)), num_threads=1)
        if ticker is not None:
            ticker.advance(len(block))
    index.set_ef(settings.ef)
    return index


def save_index(index: Any, path: Path, embedding: NDArray[np.float32], settings: IndexSettings) -> dict[str, str]:
    """Write ``path`` and ``path.json`` (suffix replaced), atomically, after reading the index back.

    Returns:
        file name -> sha256 of the two files.

    Raises:
        EnvironmentProblem: what was written is not the index (full disk, failing disk).
    """
    with atomic_path(path) as part:
        index.save_index(str(part))
        expected, written = index.index_file_size(), part.stat().st_size if part.exists() else 0
        if written != expected:
            raise EnvironmentProblem(f"{path}: {written} of {expected} bytes written; is the disk full?")
        # Before the file gets its name: a bad index never takes the place of a good one.
        _check_answers(index, _load(part, embedding.shape[1], settings.ef), embedding, path)
        digest = sha256_file(part)
    description = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": "hnsw",
        "space": "l2",
        "dim": embedding.shape[1],
        "count": len(embedding),
        **asdict(settings),
        "bytes": written,
        "sha256": digest,
    }
    described = path.with_suffix(".json")
    write_json(described, description)
    return {path.name: digest, described.name: sha256_file(described)}


def load_index(path: Path) -> tuple[Any, dict[str, Any]]:
    """Load a saved index after checking it against its ``.json``.

    Returns:
        the ``hnswlib.Index``, with ``ef`` set, and its description.

    Raises:
        InputProblem: a file is missing, damaged or of another kind.
    """
    described = path.with_suffix(".json")
    try:
        description: dict[str, Any] = json.loads(described.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputProblem(f"{described} cannot be read ({error}); run 'simhand mine --redo'") from error
    if (description.get("schema"), description.get("schema_version")) != (SCHEMA, SCHEMA_VERSION):
        raise InputProblem(f"{described} is not {SCHEMA} version {SCHEMA_VERSION}; run 'simhand mine --redo'")
    if not path.is_file() or sha256_file(path) != description["sha256"]:
        raise InputProblem(f"{path} is missing or damaged; run 'simhand mine --redo'")
    return _load(path, int(description["dim"]), int(description["ef"])), description


def _load(path: Path, dimensions: int, ef: int) -> Any:
    import hnswlib

    index = hnswlib.Index(space="l2", dim=dimensions)
    index.load_index(str(path))
    index.set_ef(ef)
    return index


def _check_answers(index: Any, reloaded: Any, embedding: NDArray[np.float32], path: Path) -> None:
    rows = np.unique(np.linspace(0, len(embedding) - 1, _CHECKED_ROWS).astype(np.int64))
    same = reloaded.get_current_count() == len(embedding)
    if same:
        asked = embedding[rows]
        # On one thread, and both by the same call: any difference is the file's.
        before, after = (i.knn_query(asked, k=1, num_threads=1) for i in (index, reloaded))
        same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    if not same:
        raise EnvironmentProblem(f"{path} read back answers differently than the index in memory; is the disk failing?")
