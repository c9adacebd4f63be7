"""The tables of the miniature comparison, from result files to text, against figures worked out by hand."""

import dataclasses
import importlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.loss_options import RECIPES
from simhand_cli.pretrain.plan import make_plan
from simhand_cli.pretrain.recipe import OPTIMISATION
from simhand_cli.pretrain.settings import PretrainSettings, settle

FOLDER = Path(__file__).parents[2] / "benchmarks" / "miniature"
UNSEEN = "unseen synthetic people"

#: Root + bone scale of three seeds. PeCLR: mean 13, variance (4 + 4 + 0) / 2 = 4. SiMHand: mean 13, variance
#: (9 + 1 + 16) / 2 = 13. SiMHand - PeCLR: -1, -3, +4, so mean 0 and variance (1 + 9 + 16) / 2 = 13.
PECLR, SIMHAND = {0: 11.0, 1: 15.0, 2: 13.0}, {0: 10.0, 1: 12.0, 2: 17.0}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Modules of the benchmark, which lie in no package; forgotten afterwards, for their names are common words."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def write_result(folder: Path, cell: Any, bone: float) -> None:
    """What a finished cell leaves."""
    figures = {"root": bone + 5, "root_bone_scale": bone, "procrustes_scale": bone / 2}
    frozen = {"linear": bone + 20, "retrieval_1": bone + 40}
    found = {UNSEEN: figures, f"frozen encoder, {UNSEEN}": frozen}
    record = {"name": cell.name, "pre-training": {}, "mpjpe_mm": found, "auc_20_50": {UNSEEN: 0.5}}
    folder.mkdir(exist_ok=True)
    (folder / f"{cell.name}.json").write_text(json.dumps(record))


def test_mean_std_and_paired_difference(load: Any) -> None:
    tables: ModuleType = load("tables")
    one = tables.spread(SIMHAND.values())
    assert (one.mean, one.seeds) == (13.0, 3)
    assert one.std == pytest.approx(math.sqrt(13), abs=1e-12)
    difference = tables.paired(SIMHAND, PECLR)
    assert difference.mean == pytest.approx(0, abs=1e-12)
    assert difference.std == pytest.approx(math.sqrt(13), abs=1e-12)
    # Only seed 1 is on both sides: 12 - 15.
    half = tables.paired({1: 12.0, 2: 17.0}, {0: 11.0, 1: 15.0})
    assert (half.mean, half.seeds) == (-3.0, 1)
    assert math.isnan(half.std)
    assert half.text(signed=True) == "-3.00 (1 seed)"
    assert tables.spread([]).text() == "–"


def test_a_table_from_result_files(load: Any, tmp_path: Path) -> None:
    scales, cells_module, compute, prepare, report = map(load, ("scales", "cells", "compute", "prepare", "report"))
    scale, places = scales.CPU, prepare.Places(tmp_path, None)
    cells = cells_module.cells_of(scale, ("main", "topk"), 3)
    for cell in cells:
        known = {"PeCLR": PECLR, "SiMHand (+ weights)": SIMHAND, cells_module.UNWEIGHTED: SIMHAND}.get(cell.row, {})
        if cell.seed in known and cell.column in ("MPJPE", "Top-1"):
            write_result(places.results, cell, known[cell.seed])
    computer = compute.Computer(scale, places)
    known = {cell: computer.known(cell) for cell in cells}
    found = {cell: record for cell, record in known.items() if record is not None}
    missing = {cell: "not run yet" for cell, record in known.items() if record is None}
    floor = {UNSEEN: {"mean pose": {"hands found": "2 of 2", "root": 1, "root_bone_scale": 20, "procrustes_scale": 2}}}
    pairs = {"Top-1": {"pairs": 2, "root + bone scale, mm": 3.0}}
    made = report.Report(scale, 3, {"device": "cpu"}, {"mine": {"crops": 21_000}}, pairs, floor)
    made.write(tmp_path, found, missing)
    text = (tmp_path / "miniature_cpu.md").read_text()
    assert "| PeCLR | 18.00 ± 2.00 | 13.00 ± 2.00 | 6.50 ± 1.00 | – | – |" in text
    assert "| SiMHand (+ weights) | 18.00 ± 3.61 | 13.00 ± 3.61 | 6.50 ± 1.80 | +0.00 ± 3.61 | – |" in text
    assert "| SiMHand (+ weights) | 33.00 ± 3.61 | 53.00 ± 3.61 | +0.00 ± 3.61 | – |" in text
    after, frozen = text.split("Which neighbour")[1].split(", linear probe*")
    assert f"| {cells_module.UNWEIGHTED} | 13.00 ± 3.61 |" in after
    assert f"| {cells_module.UNWEIGHTED} | 33.00 ± 3.61 |" in frozen
    assert "main: 12 (random-labels0.1-seed0, none-labels0.1-seed0, " in text
    document = json.loads((tmp_path / "miniature_cpu.json").read_text())
    (place,) = [
        one for one in document["tables"]
        if (one["table"], one["row"], one["alignment"]) == ("main", "SiMHand (+ weights)", "root_bone_scale")
    ]  # fmt: skip
    assert place["minus"] == {"PeCLR": {"mean": 0.0, "std": 3.606, "seeds": 3}}
    assert len(document["cells"]) == 12  # three seeds of PeCLR, SiMHand and HandCLR, which is also Top-1
    assert len(document["missing"]) == len(cells) - 12
    assert (tmp_path / "miniature_cpu.png").read_bytes().startswith(b"\x89PNG")


def test_one_name_is_one_training(load: Any) -> None:
    scales, cells_module = load("scales"), load("cells")
    for scale in scales.SCALES.values():
        trainings: dict[str, Any] = {}
        for cell in cells_module.cells_of(scale, scales.TABLES, 2):
            training = (cell.pretraining, cell.fraction, cell.weak_2d, cell.seed)
            assert trainings.setdefault(cell.name, training) == training
        rows = [*([cells_module.RANDOM] if scale.initial == "imagenet" else []), *cells_module.MAIN]
        first = cells_module.cells_of(scale, scales.TABLES, 2)[: len(rows)]
        assert [(cell.table, cell.seed, cell.row) for cell in first] == [("main", 0, row) for row in rows]


def test_recipes_move_the_loss_and_the_views_alone(load: Any) -> None:
    scales, cells_module = load("scales"), load("cells")
    (cell,) = [
        cell for cell in cells_module.cells_of(scales.CPU, ("recipes",), 1)
        if (cell.row, cell.column) == ("PeCLR", "official")
    ]  # fmt: skip
    words = [str(word) for word in cell.pretraining.options]
    assert words[:4] == ["--method", "peclr", "--recipe", "official"]
    assert words[-1] == "--sync-bn"
    given = {flag[2:].replace("-", "_"): value for flag, value in zip(words[4:-1:2], words[5:-1:2], strict=True)}

    def optimisation(settings: PretrainSettings) -> dict[str, object]:
        return {field.name: getattr(settings, field.name) for field in fields(OPTIMISATION["simhand"])}

    told = [
        optimisation(settle(PretrainConfig.model_validate({**given, "sync_bn": True, "loss": {"recipe": recipe}})))
        for recipe in RECIPES
    ]
    ours = optimisation(settle(PretrainConfig(warmup_epochs=scales.CPU.warmup_epochs)))
    assert told == [ours] * len(RECIPES)
    # A tenth of the steps, as where nothing is said, however many frames had no hand.
    how = {"batch_size": scales.CPU.batch, "epochs": scales.CPU.epochs, "max_steps": scales.CPU.steps}
    plan = make_plan(settle(PretrainConfig(**how, warmup_epochs=ours["warmup_epochs"])), 25_118, 1)
    assert plan.warmup_steps == 15


def test_figures_are_read_by_their_alignment(load: Any) -> None:
    compute = load("compute")
    names = ("absolute", "root", "root_bone_scale", "procrustes", "procrustes_scale")
    figures = [{"metric": "mpjpe", "alignment": name, "value": float(n)} for n, name in enumerate(names)]
    for name, area in (("auc_0_50mm", 0.1), ("auc_20_50mm", 0.2)):
        figures += [{"metric": "pck_auc", "name": name, "alignment": a, "value": area * n} for n, a in enumerate(names)]
    figures.append({"metric": "pck_auc", "name": "auc_0_30px", "value": 0.9})
    means, auc = compute.figures_of({"figures": figures})
    assert means == {"root": 1.0, "root_bone_scale": 2.0, "procrustes_scale": 4.0}
    assert auc == 0.4


def test_a_folder_belongs_to_one_scale(load: Any, tmp_path: Path) -> None:
    scales, prepare = load("scales"), load("prepare")
    places = prepare.Places(tmp_path, None)
    prepare.refuse_other_settings(scales.CPU, places)
    prepare.refuse_other_settings(dataclasses.replace(scales.CPU, hours=9.0, at_once=7), places)
    with pytest.raises(SystemExit, match=f"epochs={scales.CPU.epochs}, now 5: name another"):
        prepare.refuse_other_settings(dataclasses.replace(scales.CPU, epochs=5), places)
