"""Stream JSON files that hold one big nested list of numbers into an array.

FreiHAND and HanCo publish their labels so. ``json.load`` would build a Python object for every float (about
2.5 GB for FreiHAND's vertices); here brackets and commas become blanks and numpy parses block by block.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem

_PUNCTUATION = bytes.maketrans(b"[],\n\r\t", b"      ")
#: Large enough that parsing, not calling it, takes the time; small enough for a loader's memory.
_BLOCK_BYTES = 8 << 20
_FOREIGN = re.compile(rb"[^0-9eE+.\-\sNaInfity]")


def read_json_numbers(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The numbers of a JSON list of equally shaped items.

    Args:
        path: a file holding ``[item, item, ...]``, each item nested lists of ``item_shape`` numbers (or, for
            ``()``, a plain number).
        item_shape: shape of one item.

    Returns:
        (N, *item_shape) float32.

    Raises:
        InputProblem: the file is missing, holds something else than numbers, or not a whole number of items.
    """
    try:
        blocks = [_parse(block, path) for block in _blocks(path)]
    except FileNotFoundError:
        raise InputProblem(f"{path} is missing") from None
    numbers = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    size = int(np.prod(item_shape))
    # Blanks in place of brackets lose the nesting, so a file cut short is known only by its count.
    if numbers.size % size:
        raise InputProblem(f"{path}: {numbers.size} numbers are not whole items of {size}; truncated?")
    return numbers.reshape(-1, *item_shape)


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's text with blanks for punctuation, in blocks that never cut a number in two."""
    rest = b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            text = rest + block.translate(_PUNCTUATION)
            # The number at the end of a block may go on in the next one.
            cut = text.rfind(b" ") + 1
            rest = text[cut:]
            yield text[:cut]
    if rest.strip():
        yield rest


def _parse(text: bytes, path: Path) -> NDArray[np.float32]:
    # Checked before parsing: numpy would stop at the first foreign character and return what came before.
    if foreign := _FOREIGN.search(text):
        found = foreign.group().decode(errors="replace")
        raise InputProblem(f"{path}: expected nested lists of numbers, found {found!r}")
    if not text.strip():
        return np.zeros(0, np.float32)
    with warnings.catch_warnings():
        # numpy warns, instead of raising, when the text stops being numbers.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            # Parsed in double and rounded once.
            return np.fromstring(text, dtype=np.float64, sep=" ").astype(np.float32)
        except (DeprecationWarning, ValueError):
            raise InputProblem(f"{path}: damaged number list") from None
