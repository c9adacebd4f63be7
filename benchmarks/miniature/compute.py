"""One cell of the tables: pre-train, fine-tune, evaluate, each by its command, and the figures kept."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cells import Cell, Pretraining
from initial import initial_weights
from prepare import Places, prepare_part
from scales import Scale
from simhand_command import simhand

from simhand_cli.workspace.atomic import write_json

#: Names of the test sets in tables.
UNSEEN, REAL = "unseen synthetic people", "real hands"
#: What ``simhand probe`` finds in the encoder before fine-tuning, on the first of them.
FROZEN = "frozen encoder, unseen synthetic people"
PROBES = ("linear", "retrieval_1")
#: Labelled pictures that the linear probe learns from and neighbours are looked for in, and hands on its map.
_GALLERY, _PLOTTED = 2000, 60
#: The figures that are kept, by their names in ``metrics.json``.
ALIGNMENTS = ("root", "root_bone_scale", "procrustes_scale")
_AUC = "auc_20_50mm"
#: Upright hands in little pictures: milder changes than the defaults, the same for every method.
_FINETUNE = (
    "--lr", 1e-3, "--val-fraction", 0, "--loss.location", 10, "--augment.rotation-deg", 30, "--augment.scale", 0.1,
    "--augment.shift", 0.05, "--augment.colour", 0.5, "--augment.blur-px", 0.5,
)  # fmt: skip


@dataclass
class Computer:
    """Computes cells, several at once if asked to; what exists is not computed again."""

    scale: Scale
    places: Places
    _turns: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def known(self, cell: Cell) -> dict[str, Any] | None:
        """The figures of a finished cell, else None."""
        path = self._result(cell)
        if not path.is_file():
            return None
        record: dict[str, Any] = json.loads(path.read_text())
        wanted = {FROZEN, UNSEEN} | ({REAL} if self.places.real is not None else set())
        return record if wanted <= record["mpjpe_mm"].keys() else None

    def compute(self, cell: Cell) -> None:
        """Train and evaluate what is not there yet, and write the result file.

        Raises:
            CommandFailed: a command ended with an error.
        """
        with self._turn(cell.name):
            if self.known(cell) is not None:
                return
            encoder, facts = self._encoder(cell)
            tuned = self._simhand(*self._finetune_words(cell, encoder))
            record: dict[str, Any] = {"name": cell.name, "pre-training": facts, "mpjpe_mm": {}, "auc_20_50": {}}
            for name, figures in self._evaluate(cell).items():
                record["mpjpe_mm"][name], record["auc_20_50"][name] = figures
            record["mpjpe_mm"][FROZEN] = self._probe(cell, encoder)
            record["fine-tuning seconds"] = tuned["seconds"]
            write_json(self._result(cell), record)

    def _encoder(self, cell: Cell) -> tuple[Path | None, dict[str, Any]]:
        """The folder or file of the weights to fine-tune, None for random ones, and what pre-training said."""
        how = cell.pretraining
        if how is None:
            return None if cell.random else initial_weights(self.scale, self.places), {}
        with self._turn(f"{how.name} {cell.seed}"):
            if how.videos is not None:
                with self._turn("videos"):
                    prepare_part(self.scale, self.places, how.videos)
            done = self._simhand(*self._pretrain_words(how, cell.seed))
        folder = self.places.workspace(how.videos) / "runs" / f"pretrain-{_run(how, cell.seed)}"
        return folder, {**done["facts"], "seconds": done["seconds"]}

    def _pretrain_words(self, how: Pretraining, seed: int) -> tuple[object, ...]:
        scale = self.scale
        repeats = scale.videos // how.videos if how.videos else 1
        end = ("--max-steps", scale.steps) if scale.steps else ()
        return (
            "pretrain", "--backbone", scale.encoder, "--init", initial_weights(scale, self.places) or "random",
            "--views.output-px", scale.view_px, "--batch-size", scale.batch,
            "--epochs", scale.epochs * repeats, *end, "--seed", seed, "--name", _run(how, seed),
            "--precision", scale.precision, "--gpus", scale.gpus, "--workers", scale.workers,
            "--workspace", self.places.workspace(how.videos), *how.options,
        )  # fmt: skip

    def _finetune_words(self, cell: Cell, encoder: Path | None) -> tuple[object, ...]:
        scale = self.scale
        pictures = cell.fraction * scale.training_pictures
        epochs = max(1, round(scale.finetune_steps * scale.finetune_batch / pictures))
        return (
            "finetune", "--encoder", encoder or "none", "--backbone", scale.encoder, "--name", cell.name,
            "--data", self.places.labelled, "--label-fraction", cell.fraction, "--epochs", epochs,
            "--batch-size", min(scale.finetune_batch, round(pictures)), "--width", scale.width,
            "--input-px", scale.view_px, *_FINETUNE, *(("--weak-2d",) if cell.weak_2d else ()), "--seed", cell.seed,
            "--precision", scale.precision, "--gpus", scale.gpus, "--workers", scale.workers,
            "--workspace", self.places.workspace(),
        )  # fmt: skip

    def _evaluate(self, cell: Cell) -> dict[str, tuple[dict[str, float], float]]:
        """What :func:`figures_of` finds, by test set."""
        tests = {UNSEEN: self.places.labelled} | ({REAL: self.places.real} if self.places.real is not None else {})
        workspace = self.places.workspace()
        self._simhand(
            "evaluate", "--model", f"finetune-{cell.name}", "--name", cell.name, "--bootstrap", 100,
            *(word for data in tests.values() for word in ("--data", data)),
            "--device", "cuda" if self.scale.gpus else "cpu", "--samples-shown", 1, "--workspace", workspace,
        )  # fmt: skip
        metrics = json.loads((workspace / "runs" / f"evaluate-{cell.name}" / "metrics.json").read_text())
        return {name: figures_of(one) for name, one in zip(tests, metrics["sets"], strict=True)}

    def _probe(self, cell: Cell, encoder: Path | None) -> dict[str, float]:
        name = f"{cell.start}-seed{cell.seed}"
        with self._turn(f"probe {name}"):
            metrics = self.places.workspace() / "runs" / f"probe-{name}" / "metrics.json"
            if not metrics.is_file():
                self._simhand(
                    "probe", "--encoder", encoder or "random", "--backbone", self.scale.encoder, "--no-untrained",
                    "--data", self.places.labelled, "--gallery-limit", _GALLERY, "--input-px", self.scale.view_px,
                    "--plotted", _PLOTTED, "--bootstrap", 100, "--seed", cell.seed, "--name", name,
                    "--device", "cuda" if self.scale.gpus else "cpu", "--workspace", self.places.workspace(),
                )  # fmt: skip
            (one,) = json.loads(metrics.read_text())["encoders"]
        found = {f["metric"]: f["value"] for f in one["figures"] if f["alignment"] == "root_bone_scale"}
        return {figure: round(found[figure], 3) for figure in PROBES}

    def _simhand(self, *words: object) -> dict[str, Any]:
        return simhand(*words, log=self.places.log, threads=self.scale.threads)

    def _result(self, cell: Cell) -> Path:
        return self.places.results / f"{cell.name}.json"

    def _turn(self, name: str) -> threading.Lock:
        """Whoever needs the same run waits here until it is finished."""
        with self._guard:
            return self._turns.setdefault(name, threading.Lock())


def _run(how: Pretraining, seed: int) -> str:
    return f"{how.name}-seed{seed}"


def figures_of(one: dict[str, Any]) -> tuple[dict[str, float], float]:
    """MPJPE in mm of every kept alignment, and the AUC from 20 to 50 mm after root + bone scale, of one set."""
    found = {figure["alignment"]: figure["value"] for figure in one["figures"] if figure["metric"] == "mpjpe"}
    (auc,) = (
        figure["value"]
        for figure in one["figures"]
        if figure["metric"] == "pck_auc" and figure.get("alignment") == "root_bone_scale" and figure["name"] == _AUC
    )
    return {name: round(found[name], 3) for name in ALIGNMENTS}, round(auc, 4)
