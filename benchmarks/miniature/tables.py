"""Tables from the figures of finished cells: mean, standard deviation, paired differences."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Seed -> MPJPE in mm.
Seeds = dict[int, float]
#: Alignment -> how tables call it.
TITLES = {"root": "root", "root_bone_scale": "root + bone scale", "procrustes_scale": "PA (Procrustes + scale)"}
_NONE = "–"


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, sample standard deviation (NaN for one seed), and how many seeds."""

    mean: float
    std: float
    seeds: int

    def text(self, *, signed: bool = False) -> str:
        """For a cell of a table, in mm."""
        if self.seeds == 0:
            return _NONE
        number = f"{self.mean:+.2f}" if signed else f"{self.mean:.2f}"
        return f"{number} ± {self.std:.2f}" if self.seeds > 1 else f"{number} (1 seed)"

    def record(self) -> dict[str, Any]:
        """As plain values; what is not known is None."""
        rounded = [None if math.isnan(v) else round(v, 3) for v in (self.mean, self.std)]
        return {"mean": rounded[0], "std": rounded[1], "seeds": self.seeds}


def spread(values: Iterable[float]) -> Spread:
    """Of the figures of several seeds."""
    found = list(values)
    if not found:
        return Spread(math.nan, math.nan, 0)
    return Spread(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else math.nan, len(found))


def paired(this: Seeds, other: Seeds) -> Spread:
    """This minus the other, seed by seed (the same labels and test hands), over the seeds that both have."""
    return spread(this[seed] - other[seed] for seed in sorted(this.keys() & other.keys()))


@dataclass(frozen=True)
class Figures:
    """Finished cells, each as a record with ``table``, ``row``, ``column``, ``seed`` and ``mpjpe_mm``."""

    cells: Sequence[dict[str, Any]]

    def seeds(self, table: str, row: str, column: str, test: str, alignment: str) -> Seeds:
        """The figures of one place of a table."""
        return {
            cell["seed"]: cell["mpjpe_mm"][test][alignment]
            for cell in self.cells
            if (cell["table"], cell["row"], cell["column"]) == (table, row, column)
            and alignment in cell["mpjpe_mm"].get(test, ())
        }

    def names(self, table: str, key: str) -> list[str]:
        """The rows or columns of a table, in the order of its cells."""
        return list(dict.fromkeys(cell[key] for cell in self.cells if cell["table"] == table))


def main_table(figures: Figures, test: str, against: Sequence[str], kinds: dict[str, str], compared: str) -> str:
    """All methods, one figure a column, and what one of them differs by from the given rows.

    Args:
        figures: finished cells.
        test: name of the test set.
        against: rows to take the difference from.
        kinds: name in ``mpjpe_mm`` -> heading.
        compared: which of them is compared.
    """
    (column,) = figures.names("main", "column") or ("",)
    rows = []
    for row in figures.names("main", "row"):
        texts = [spread(figures.seeds("main", row, column, test, kind).values()).text() for kind in kinds]
        this = figures.seeds("main", row, column, test, compared)
        for name in against:
            other = figures.seeds("main", name, column, test, compared)
            texts.append(_NONE if name == row else paired(this, other).text(signed=True))
        rows.append([row, *texts])
    return markdown(["method", *kinds.values(), *(f"minus {name}" for name in against)], rows)


def grid_table(figures: Figures, table: str, test: str, against: str, kind: str = "root_bone_scale") -> str:
    """Rows by columns, one kind of figure; in brackets the paired difference from a row of the same column."""
    columns = figures.names(table, "column")
    rows = []
    for row in figures.names(table, "row"):
        texts = []
        for column in columns:
            this = figures.seeds(table, row, column, test, kind)
            other = figures.seeds(table, against, column, test, kind)
            difference = paired(this, other)
            more = f" ({difference.mean:+.2f})" if row != against and difference.seeds else ""
            texts.append(spread(this.values()).text() + more)
        rows.append([row, *texts])
    return markdown(["", *columns], rows)


def summaries(figures: Figures, baseline_rows: Sequence[str]) -> list[dict[str, Any]]:
    """Every place of every table as plain values, with its paired differences from rows of the same column."""
    places = dict.fromkeys((cell["table"], cell["row"], cell["column"]) for cell in figures.cells)
    tests = list(dict.fromkeys(test for cell in figures.cells for test in cell["mpjpe_mm"]))
    found = []
    for table, row, column in places:
        for test in tests:
            for alignment in dict.fromkeys(name for cell in figures.cells for name in cell["mpjpe_mm"].get(test, ())):
                this = figures.seeds(table, row, column, test, alignment)
                others = {name: figures.seeds(table, name, column, test, alignment) for name in baseline_rows}
                found.append({
                    "table": table, "row": row, "column": column, "test": test, "alignment": alignment,
                    "mpjpe_mm": spread(this.values()).record(),
                    "minus": {name: paired(this, o).record() for name, o in others.items() if o and name != row},
                })  # fmt: skip
    return found


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
