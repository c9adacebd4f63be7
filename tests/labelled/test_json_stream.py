"""Streaming gives what ``json.loads`` gives, wherever the blocks end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files import json_stream
from simhand_cli.labelled.files.json_stream import stream_json

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def opened(value: Any, depth: int, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if depth and isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from opened(inner, depth - 1, (*keys, key))
    else:
        yield keys, value


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=JSON,
    depth=st.integers(0, 4),
    block=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_values_and_keys_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, depth: int, block: int, indent: int, ascii_only: bool
) -> None:
    monkeypatch.setattr(json_stream, "_BLOCK_CHARACTERS", block)
    path = tmp_path / "file.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", newline="\n")
    assert list(stream_json(path, depth)) == list(opened(value, depth))


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": [1, 2', '{"a": [1 2]}', '{"a" 1}', '{"a": 1,}', '{"a": [1]} 2', '{"a": "x', "[1, 2]]", "\x00"],
)
def test_damage_and_truncation_are_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputProblem, match=r"file\.json: no JSON near character \d+: truncated or damaged"):
        list(stream_json(path, 2))


def test_a_damaged_value_does_not_pull_the_whole_file_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_BLOCK_CHARACTERS", 10)
    monkeypatch.setattr(json_stream, "_VALUE_CHARACTERS", 40)
    path = tmp_path / "file.json"
    path.write_text('{"a": [{"b" 1}, ' + "1, " * 1000 + "1]}")
    taken = []
    extend = json_stream._Text._extend
    monkeypatch.setattr(json_stream._Text, "_extend", lambda text: taken.append(1) or extend(text))
    with pytest.raises(InputProblem):
        list(stream_json(path, 2))
    assert len(taken) < 10


def test_a_missing_file_and_a_wrong_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputProblem, match=r"nothing\.json is missing"):
        list(stream_json(tmp_path / "nothing.json", 1))
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(InputProblem, match=r"latin\.json: no JSON"):
        list(stream_json(tmp_path / "latin.json", 1))
