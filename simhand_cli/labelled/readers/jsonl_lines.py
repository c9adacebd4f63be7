"""Read ``labels.jsonl`` line by line: which lines are damaged, and what in it is no damage but likely a mistake."""

import difflib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped

LABELS_NAME: Final = "labels.jsonl"
NEEDED: Final = ("image", "joints_mm", "intrinsics", "hand")
_KNOWN: Final = (*NEEDED, "split", "subject", "sequence", "camera")
_SPLITS: Final = ("train", "val", "test")
_EXPECTED: Final = "one JSON object a line is expected"


@dataclass
class BadLines:
    """Damaged lines of a file, counted, the first one in words.

    Attributes:
        path: the file.
        count: how many there are.
        first: number and fault of the first one.
    """

    path: Path
    count: int = 0
    first: str = ""

    def note(self, number: int, why: str) -> None:
        """One more."""
        self.first = self.first or f"line {number}: {why}"
        self.count += 1

    def refuse(self) -> None:
        """Raises InputProblem if there are any."""
        if self.count:
            others = f" (and {self.count - 1:,} more damaged lines)" if self.count > 1 else ""
            raise InputProblem(f"{self.path}, {self.first}{others}")


def read_lines(path: Path, bad: BadLines) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number (from 1) and content of every line that is not blank, one at a time; damaged ones are only noted.

    Raises:
        InputProblem: the file cannot be read.
    """
    for number, text in _raw_lines(path):
        # Files that people write by hand end in blank lines.
        if not text.strip():
            continue
        try:
            line = json.loads(text.decode("utf-8"))
        except UnicodeDecodeError as error:
            bad.note(number, f"not UTF-8 ({error})")
        except (ValueError, RecursionError) as error:
            bad.note(number, f"no JSON ({error}); {_EXPECTED}")
        else:
            if not isinstance(line, dict):
                bad.note(number, f"no JSON object; {_EXPECTED}")
            elif lacking := [name for name in NEEDED if name not in line]:
                bad.note(number, f"{lacking[0]} is missing")
            else:
                yield number, line


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            # As bytes, so that a line that is not UTF-8 costs itself and not the rest of the file.
            yield from enumerate(stream, 1)
    except OSError as error:
        raise InputProblem(f"{path} cannot be read: {error.strerror or error}") from None


def jsonl_splits(path: Path) -> list[str]:
    """The splits that the lines of a set's ``labels.jsonl`` name, in the order of their first lines.

    Raises:
        InputProblem: the file cannot be read, or lines are damaged; the first is named.
    """
    bad = BadLines(path / LABELS_NAME)
    # A dictionary keeps the order of the lines and each name once.
    found = list(dict.fromkeys(str(line.get("split", "train")) for _, line in read_lines(bad.path, bad)))
    bad.refuse()
    return found


def jsonl_findings(path: Path) -> list[Dropped]:
    """What refuses no line but is likely a mistake: unknown keys, unusual splits, pictures in several splits."""
    file = path / LABELS_NAME
    # Counted, not listed: a misspelt key is in every line.
    keys: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    pictures: dict[str, set[str]] = {}
    for _, line in read_lines(file, BadLines(file)):
        split = str(line.get("split", "train"))
        keys.update(name for name in line if name not in _KNOWN)
        splits[split] += 1
        # a.jpg and ./a.jpg are one picture.
        pictures.setdefault(posixpath.normpath(str(line["image"])), set()).add(split)
    lines = f"lines of {file}"
    found = [Dropped(lines, n, f"unknown key {key!r}, not read", _nearest(key, _KNOWN)) for key, n in keys.items()] + [
        Dropped(lines, n, f"split {name!r} is none of {', '.join(_SPLITS)}", _nearest(name, _SPLITS))
        for name, n in splits.items()
        if name not in _SPLITS
    ]
    shared = [name for name, its in pictures.items() if len(its) > 1]
    if shared:
        why = f"in several splits: {', '.join(sorted(pictures[shared[0]]))}"
        what = f"pictures of {path}, first: {shared[0]}"
        found.append(Dropped(what, len(shared), why, "figures of a test split that was trained on say nothing"))
    return found


def _nearest(name: str, known: tuple[str, ...]) -> str:
    # Only what is near enough to be a slip of the pen; a field of one's own gets no advice.
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
