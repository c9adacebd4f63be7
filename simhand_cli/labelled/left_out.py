"""What a reader leaves out on opening a set, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from simhand_cli.summary import Dropped


@dataclass(frozen=True)
class LeftOut:
    """Samples, or the files or folders that hold them, left out for one reason.

    Attributes:
        what: the things, plural ("pictures of FOLDER").
        why: the reason, in a few words.
        names: all of them; at least one.
        count: how many are left out; a folder counts for everything in it.
    """

    what: str
    why: str
    names: Sequence[str]
    count: int

    def dropped(self) -> Dropped:
        """The same with the first name only."""
        return Dropped(f"{self.what}, first: {self.names[0]}", self.count, self.why)


@runtime_checkable
class NamingSet(Protocol):
    """A labelled set whose reader names everything it left out."""

    def left_out(self) -> Sequence[LeftOut]:
        """What :meth:`~simhand_cli.labelled.sample.LabelledSet.problems` counts, with all names."""


def left_out(what: str, why: str, names: Sequence[str], count: int | None = None) -> list[LeftOut]:
    """One entry, or none where nothing is named; each name counts for one unless a count is given."""
    return [LeftOut(what, why, names, len(names) if count is None else count)] if names else []
