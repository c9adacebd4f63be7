"""The committed results: JSON, tables in Markdown, a plot; written anew after every cell."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import FROM_SCRATCH, Cell
from compute import FROZEN, PROBES, REAL, UNSEEN
from plots import draw
from scales import Scale
from tables import TITLES, Figures, grid_table, main_table, markdown, summaries

from simhand_cli.workspace.atomic import write_bytes, write_json, write_text

_AGAINST = ("PeCLR", FROM_SCRATCH)
#: Table -> heading, and the row that the figures in brackets are compared with.
_GRIDS = {
    "weights": ("Adaptive weights (Table 3)", "PeCLR"),
    "sizes": ("Videos to learn from (the paper's Table 2)", "PeCLR"),
    "topk": ("Which neighbour is the positive (Table 4)", ""),
    "weak": ("Weak 2D labels instead of pre-training (Table 6)", ""),
    "fractions": ("Labels to fine-tune on", "PeCLR"),
    "recipes": ("Where paper and released code differ", "PeCLR"),
    "precision": ("Number format of pre-training", ""),
    "why": ("What could decide between mined positives and PeCLR", "PeCLR"),
}
#: Tables whose columns share their encoders before fine-tuning.
_SAME_ENCODERS = ("fractions", "weak")


@dataclass(frozen=True)
class Report:
    """What is known before the cells: the scale, the machine, the data."""

    scale: Scale
    seeds: int
    machine: dict[str, Any]
    data: dict[str, Any]
    pairs: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, Any]]

    def write(self, folder: Path, found: dict[Cell, dict[str, Any]], missing: dict[Cell, str]) -> None:
        """Write ``miniature_SCALE.json``, ``.md`` and ``.png``.

        Args:
            folder: where to.
            found: finished cells and their figures.
            missing: the others, and why they are.
        """
        places = ("table", "row", "column", "seed", "fraction")
        records = [{**{key: getattr(cell, key) for key in places}, **figures} for cell, figures in found.items()]
        figures = Figures(records)
        document = {
            "scale": dataclasses.asdict(self.scale), "seeds": self.seeds, "machine": self.machine, "data": self.data,
            "pairs": self.pairs, "baselines": self.baselines, "tables": summaries(figures, _AGAINST),
            "cells": records,
            "missing": [{"table": c.table, "name": c.name, "why": why} for c, why in missing.items()],
        }  # fmt: skip
        start = folder / f"miniature_{self.scale.name}"
        write_json(start.with_suffix(".json"), document)
        write_text(start.with_suffix(".md"), self._text(figures, missing))
        floor = self.baselines[UNSEEN]["mean pose"]["root_bone_scale"]
        write_bytes(start.with_suffix(".png"), draw(figures, UNSEEN, floor))

    def _text(self, figures: Figures, missing: dict[Cell, str]) -> str:
        scale, used = self.scale, self.data["mine"]["crops"]
        labels = round(scale.label_fraction * scale.training_pictures)
        lines = [
            f"# The paper in miniature: scale {scale.name}",
            f"{used:,} crops of {scale.videos} synthetic people, {scale.encoder} at {scale.view_px} px from "
            f"{scale.initial} weights, {_length(scale, used)}; fine-tuned on {labels} labelled "
            f"pictures of other people. MPJPE in mm, mean ± standard deviation over up to {self.seeds} seeds; "
            "differences are paired by seed and "
            "after root + bone scale; negative is better. Design: benchmarks/miniature/README.md.",
            f"Machine: {', '.join(f'{key} {value}' for key, value in self.machine.items())}.",
            _missing_text(missing),
        ]
        for test in (UNSEEN, REAL):
            if any(test in cell["mpjpe_mm"] for cell in figures.cells):
                table = main_table(figures, test, _AGAINST, TITLES, "root_bone_scale")
                lines += [f"## Methods, {test} (Tables 1 and 5)", table]
            if test in self.baselines:
                lines.append(self._baseline_table(test))
        if any(FROZEN in cell["mpjpe_mm"] for cell in figures.cells):
            titles = dict(zip(PROBES, ("linear probe", "nearest neighbour"), strict=True))
            table = main_table(figures, FROZEN, _AGAINST, titles, "linear")
            lines += ["## What the encoders know before fine-tuning", _FROZEN, table]
        if REAL not in self.baselines:
            lines.append("## Methods, real hands\n\nNot evaluated: the real labelled set was not there.")
        for table, (title, against) in _GRIDS.items():
            if figures.names(table, "row"):
                note = f" In brackets the difference from {against}." if against else ""
                lines += [f"## {title}", f"Root + bone scale, mm.{note}", *_grids(figures, table, against)]
        lines += ["## The pairs", _PAIRS, self._pair_table()]
        return "\n\n".join(lines) + "\n"

    def _baseline_table(self, test: str) -> str:
        rows = [
            [f"{name} ({row['hands found']} hands)", *(f"{row[alignment]:.2f}" for alignment in TITLES)]
            for name, row in self.baselines[test].items()
        ]
        return markdown(["without training", *TITLES.values()], rows)

    def _pair_table(self) -> str:
        header = ["second crop", *next(iter(self.pairs.values()))]
        return markdown(header, [[name, *map(str, row.values())] for name, row in self.pairs.items()])


def _grids(figures: Figures, table: str, against: str) -> list[str]:
    """The table on every test set, and of the frozen encoders where it compares encoders."""
    kinds = {UNSEEN: "root_bone_scale", REAL: "root_bone_scale", FROZEN: "linear"}
    if table in _SAME_ENCODERS:
        kinds.pop(FROZEN)
    known = {test: kind for test, kind in kinds.items() if any(test in cell["mpjpe_mm"] for cell in figures.cells)}
    texts = []
    for test, kind in known.items():
        title = f"{test}, linear probe" if kind == "linear" else test
        texts += [f"*{title}*", grid_table(figures, table, test, against, kind)]
    return texts


_FROZEN = (
    "Root + bone scale, mm, on unseen synthetic people, by `simhand probe`: a ridge regression from the encoder's "
    "pooled features, and the pose of the nearest neighbour in feature space, both from 2,000 labelled pictures; "
    "differences are the linear probe's."
)
_PAIRS = "Mean distance of the joints of a pair's two hands, by MediaPipe's 3D landmarks; mined by its 2D ones."


def _length(scale: Scale, crops: int) -> str:
    if scale.steps is None:
        return f"{scale.epochs} epochs in batches of {scale.batch}"
    drawn = scale.steps * scale.batch
    return f"{scale.steps} steps of {scale.batch} pairs ({drawn / crops:.2f} epochs: {drawn:,} anchors)"


def _missing_text(missing: dict[Cell, str]) -> str:
    if not missing:
        return "All cells of the tables below are finished."
    tables = {table: [c for c in missing if c.table == table] for table in dict.fromkeys(c.table for c in missing)}
    parts = [f"{table}: {len(cells)} ({', '.join(c.name for c in cells[:6])}{', ...' if len(cells) > 6 else ''})"
             for table, cells in tables.items()]  # fmt: skip
    return f"**Missing cells** (the same command goes on with them): {'; '.join(parts)}."
