"""Read JSON files of gigabytes value by value.

AssemblyHands and InterHand2.6M publish millions of labels in single files, of which ``json.load`` would make tens of
gigabytes of Python objects. Here the outer objects and lists are opened one after the other, and only one inner value
at a time is built.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from simhand_cli.errors import InputProblem

#: The keys (of objects) and positions (in lists) on the way to a value.
Keys = tuple[Any, ...]

#: A file of 4 GB is then a thousand reads, and a value of a few kB seldom lies across two blocks.
_BLOCK_CHARACTERS: Final = 4 << 20
#: No single value is larger: a longer one that cannot be decoded is damage, not a value cut by the end of a block.
_VALUE_CHARACTERS: Final = 16 * _BLOCK_CHARACTERS
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


def stream_json(path: Path, depth: int) -> Iterator[tuple[Keys, Any]]:
    """The values that lie ``depth`` keys deep, in the order of the file.

    Args:
        path: a JSON file.
        depth: how many objects and lists to open: with 2, ``{"a": [x, y], "b": z}`` gives ``(("a", 0), x)``,
            ``(("a", 1), y)`` and ``(("b",), z)``.

    Yields:
        keys and value; the keys are fewer where a plain value lies higher up.

    Raises:
        InputProblem: the file is missing or is not JSON; where is said.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            text = _Text(stream)
            try:
                yield from _values(text, depth, ())
                # A file cut and fetched again from the wrong place can hold more than one document.
                if text.peek():
                    raise ValueError("more text after the end")
            # Lists nested thousands deep end the decoder by recursion; they are damage too.
            except (ValueError, RecursionError):
                where = f"near character {text.position:,}"
                raise InputProblem(f"{path}: no JSON {where}: truncated or damaged, fetch it again") from None
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    except OSError as error:
        raise InputProblem(f"{path} cannot be read: {error}") from None


class _Text:
    """A window on a file's text, which moves on as values are taken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._window = ""
        self._at = 0
        self._passed = 0

    @property
    def position(self) -> int:
        """How many characters were taken."""
        return self._passed + self._at

    def _extend(self) -> bool:
        """Drop what was taken and read another block; False at the end of the file."""
        # What was taken is dropped, so that memory stays at a block and a value.
        block = self._stream.read(_BLOCK_CHARACTERS)
        self._passed += self._at
        self._window, self._at = self._window[self._at :] + block, 0
        return bool(block)

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            blanks = _BLANKS.match(self._window, self._at)
            assert blanks is not None
            self._at = blanks.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._extend():
                return ""

    def take(self, character: str) -> None:
        """Pass over one expected character."""
        if self.peek() != character:
            raise ValueError(f"expected {character}")
        self._at += 1

    def value(self) -> Any:
        """Decode the next value whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except ValueError:
                # Damaged, or cut by the end of the window.
                if len(self._window) - self._at > _VALUE_CHARACTERS or not self._extend():
                    raise
                continue
            length = end - self._at
            # A number may go on behind the window: of 1.5 or 1e+3, the part 1 decodes and . or e+ is left.
            if end + len("e+") < len(self._window) or not self._extend():
                self._at += length
                return value


def _values(text: _Text, depth: int, keys: Keys) -> Iterator[tuple[Keys, Any]]:
    opening = text.peek()
    if depth == 0 or opening not in ("{", "["):
        yield keys, text.value()
        return
    text.take(opening)
    closing = "}" if opening == "{" else "]"
    count = 0
    if text.peek() == closing:
        text.take(closing)
        return
    while True:
        key: Any = count
        if opening == "{":
            key = text.value()
            text.take(":")
        yield from _values(text, depth - 1, (*keys, key))
        count += 1
        if text.peek() == closing:
            text.take(closing)
            return
        text.take(",")
