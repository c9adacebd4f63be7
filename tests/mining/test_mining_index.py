"""The index file: the same bytes every time, checked after writing and before use."""

import json
from pathlib import Path

import numpy as np
import pytest

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.mining.index import IndexSettings, build_index, load_index, save_index


def random_rows(count: int = 300) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 14)).astype(np.float32)


def test_same_rows_give_the_same_file(tmp_path: Path) -> None:
    rows = random_rows()
    first = save_index(build_index(rows, IndexSettings()), tmp_path / "a" / "index.hnsw", rows, IndexSettings())
    second = save_index(build_index(rows, IndexSettings()), tmp_path / "b" / "index.hnsw", rows, IndexSettings())
    other_seed = IndexSettings(seed=1)
    third = save_index(build_index(rows, other_seed), tmp_path / "c" / "index.hnsw", rows, other_seed)
    assert first == second
    assert set(first) == {"index.hnsw", "index.json"}
    assert first["index.hnsw"] != third["index.hnsw"]


def test_reloaded_index_answers_alike_with_its_ef(tmp_path: Path) -> None:
    rows, settings = random_rows(), IndexSettings(ef=77)
    index = build_index(rows, settings)
    save_index(index, tmp_path / "index.hnsw", rows, settings)
    loaded, description = load_index(tmp_path / "index.hnsw")
    assert loaded.ef == 77
    assert (description["dim"], description["count"], description["space"]) == (14, 300, "l2")
    for before, after in zip(index.knn_query(rows, k=5), loaded.knn_query(rows, k=5), strict=True):
        assert np.array_equal(before, after)


def test_nonfinite_rows_are_refused() -> None:
    rows = random_rows()
    rows[17, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        build_index(rows, IndexSettings())


class _FullDisk:
    """An index whose save writes only part of the file, or nothing, without an error, as hnswlib does."""

    def __init__(self, index, keep: int | None) -> None:
        self._index, self._keep = index, keep

    def save_index(self, path: str) -> None:
        if self._keep is not None:
            self._index.save_index(path)
            Path(path).write_bytes(Path(path).read_bytes()[: self._keep])

    def __getattr__(self, name: str):
        return getattr(self._index, name)


@pytest.mark.parametrize("keep", [None, 0, 1000])
def test_silent_short_write_is_noticed(tmp_path: Path, keep: int | None) -> None:
    rows = random_rows()
    index = _FullDisk(build_index(rows, IndexSettings()), keep)
    with pytest.raises(EnvironmentProblem, match="disk full"):
        save_index(index, tmp_path / "index.hnsw", rows, IndexSettings())
    assert list(tmp_path.iterdir()) == []


def test_index_of_other_rows_is_noticed(tmp_path: Path) -> None:
    rows = random_rows()
    index = build_index(rows, IndexSettings())

    class Swapped(_FullDisk):
        def save_index(self, path: str) -> None:
            build_index(rows[::-1].copy(), IndexSettings()).save_index(path)

        def index_file_size(self) -> int:
            return build_index(rows[::-1].copy(), IndexSettings()).index_file_size()

    with pytest.raises(EnvironmentProblem, match="answers differently"):
        save_index(Swapped(index, None), tmp_path / "index.hnsw", rows, IndexSettings())


def test_damaged_or_foreign_files_are_refused(tmp_path: Path) -> None:
    rows, path = random_rows(), tmp_path / "index.hnsw"
    with pytest.raises(InputProblem, match=r"index\.json"):
        load_index(path)
    save_index(build_index(rows, IndexSettings()), path, rows, IndexSettings())
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputProblem, match="damaged"):
        load_index(path)
    description = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(description | {"schema_version": 2}))
    with pytest.raises(InputProblem, match="version 1"):
        load_index(path)
