"""The paper's comparison on synthetic videos: pre-train, fine-tune on few labels, evaluate; tables and a plot.

Usage: python benchmarks/miniature/run.py [--scale cpu|gpu|trial] [--work DIR] [--only main,sizes,...] [--seeds 3]

README.md in this folder says what is compared and what is fixed. Everything lies in DIR and can be interrupted: the
same command goes on. Results are benchmarks/results/miniature_SCALE.json, .md and .png, rewritten after every cell.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
sys.path.append(str(_HERE.parent))  # machine.py and synth_transfer.py lie there

from cells import Cell, cells_of  # noqa: E402
from compute import Computer  # noqa: E402
from initial import initial_weights  # noqa: E402
from machine import machine  # noqa: E402
from prepare import Places, prepare, refuse_other_settings  # noqa: E402
from report import Report  # noqa: E402
from scales import ASKED_FOR, SCALES, TABLES, Scale, Table  # noqa: E402
from simhand_command import CommandFailed  # noqa: E402

from simhand_cli.workspace.atomic import write_json  # noqa: E402

_REAL = _HERE.parents[2] / "shared" / "data" / "labelled3d" / "hand_graph_cnn_real"
_DEFAULT_TABLES = tuple(table for table in TABLES if table not in ASKED_FOR)


def main() -> int:
    """Prepare the data, compute the cells, write the tables."""
    given = _arguments()
    scale: Scale = SCALES[given.scale]
    real = given.real if given.real.is_dir() else None
    if real is None:
        print(f"no real labelled set at {given.real}: evaluated on synthetic people only", flush=True)
    places = Places(given.work.resolve(), real and real.resolve())
    end = time.monotonic() + 3600 * (given.hours or scale.hours)
    refuse_other_settings(scale, places)
    initial_weights(scale, places)  # now, so that a missing package is told before the data are made
    data = prepare(scale, places)
    if given.prepare_only:
        return 0
    report = Report(
        scale, given.seeds, machine("cuda" if scale.gpus else "cpu"), data,
        _once(places.work / "pairs.json", lambda: _pairs(scale, places)),
        _once(places.work / f"baselines{'' if real else '-synthetic'}.json", lambda: _baselines(places)),
    )  # fmt: skip
    cells, computer = cells_of(scale, given.only, given.seeds), Computer(scale, places)
    failed = _compute(cells, computer, report, given.out, end)
    for cell, why in failed.items():
        print(f"{cell.name}: {why}", flush=True)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--work", type=Path, default=Path("miniature"), help="folder for data and runs")
    parser.add_argument("--only", type=_tables, default=_DEFAULT_TABLES, help=f"of {','.join(TABLES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hours", type=float, help="start no cell after so long (default: the scale's)")
    parser.add_argument("--real", type=Path, default=_REAL, help="real labelled set, left out where absent")
    parser.add_argument("--out", type=Path, default=_HERE.parent / "results")
    parser.add_argument("--prepare-only", action="store_true", help="make the data and end")
    return parser.parse_args()


def _tables(text: str) -> tuple[Table, ...]:
    unknown = sorted(set(text.split(",")) - set(TABLES))
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    return tuple(table for table in TABLES if table in text.split(","))


def _compute(cells: list[Cell], computer: Computer, report: Report, out: Path, end: float) -> dict[Cell, str]:
    """Compute the cells that are missing, as long as there is time; returns those that failed."""
    failed: dict[Cell, str] = {}

    def step(cell: Cell) -> None:
        if computer.known(cell) is None and time.monotonic() < end:
            print(f"{time.strftime('%H:%M:%S')} {cell.table}: {cell.name}", flush=True)
            computer.compute(cell)

    _write(cells, computer, report, out, failed)
    with ThreadPoolExecutor(computer.scale.at_once) as pool:
        running = {pool.submit(step, cell): cell for cell in cells if computer.known(cell) is None}
        for done in as_completed(running):
            try:
                done.result()
            except CommandFailed as problem:
                failed[running[done]] = str(problem)
            _write(cells, computer, report, out, failed)
    return failed


def _write(cells: Iterable[Cell], computer: Computer, report: Report, out: Path, failed: dict[Cell, str]) -> None:
    known = {cell: computer.known(cell) for cell in cells}
    found = {cell: figures for cell, figures in known.items() if figures is not None}
    missing = {cell: failed.get(cell, "not run yet") for cell, figures in known.items() if figures is None}
    report.write(out, found, missing)


def _once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Made by an earlier start, or made now."""
    if not path.is_file():
        write_json(path, make())
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _pairs(scale: Scale, places: Places) -> dict[str, Any]:
    from pairs import pair_distances

    from simhand_cli.workspace.paths import Workspace

    return pair_distances(Workspace(places.workspace()), scale.ranks)


def _baselines(places: Places) -> dict[str, Any]:
    from baselines import baselines

    return baselines(places)


if __name__ == "__main__":
    sys.exit(main())
