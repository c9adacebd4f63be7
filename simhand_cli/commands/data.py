"""Check a labelled set: what it is, what is missing or damaged, which labels are wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from simhand_cli.labelled.checks.fault import Fault
    from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.labelled.config import _DECODED, _SEED, DataConfig

EXAMPLES: tuple[str, ...] = (
    "simhand data check FreiHAND_pub_v2",
    "simhand data check simhand-workspace/synth/labelled --split test --samples-shown 24 --json",
    "simhand data check FreiHAND_pub_v2 --all-images --out freihand.png --strict",
)
#: The split that a command reads without --split.
_READ_UNASKED = {"finetune": "train", "evaluate": "test"}
#: Said of a set of 2D labels.
_NOT_IN_2D = "side not checked, joint order roughly at most: 2D only"
#: Pictures decoded at a time with --all-images.
_READERS = 4


def data(config: DataConfig, console: Console | None = None) -> Summary:
    """Check every label of a set, decode some of its pictures and draw a sheet of samples.

    Args:
        config: see :class:`DataConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        What each split holds, as facts; what is wrong with it, as ``dropped`` (nothing is changed or removed) and, with
        the numbers of all samples and the names of all files concerned, in ``data``.

    Raises:
        InputProblem: no labelled set simhand knows, no such split, or a label file that cannot be read.
        UsageProblem: a sheet of an unknown picture format.
    """
    from simhand_cli.labelled.open import open_labelled, open_splits, recognise
    from simhand_cli.labelled.readers.jsonl_lines import jsonl_findings
    from simhand_cli.labelled.sample import LabelledSet2D

    console = console or Console(quiet=True)
    sheet_path = _sheet_path(config)
    summary = Summary("data", dropped_as="found")
    splits: list[str] = []
    verdicts: list[str] = []
    sheets: list[NDArray[np.uint8]] = []
    only_2d = False
    try:
        summary.facts = {"layout": recognise(config.path), "splits": ""}
        chosen = iter([(config.split, open_labelled(config.path, config.split))]) if config.split else None
        for split, one in chosen or open_splits(config.path):
            if isinstance(one, InputProblem):
                summary.dropped.append(Dropped(f"split {split!r}", 1, _here(one)))
                verdicts += [f"'simhand {call}' refuses its split {split!r}" for call in _readers(split)]
                continue
            splits.append(split)
            only_2d = isinstance(one, LabelledSet2D)
            if config.dry_run:
                _plan(config, one, summary)
            elif (sheet := _check(config, one, summary, verdicts, console)) is not None:
                sheets.append(sheet)
            del one  # before the next one is opened
    except InputProblem as problem:
        raise InputProblem(_here(problem)) from problem
    if summary.facts["layout"] == "jsonl":
        summary.dropped += jsonl_findings(config.path)
    summary.facts["splits"] = ", ".join(splits)
    if config.dry_run:
        summary.facts["sheet"] = str(sheet_path) if config.samples_shown else "none"
        summary.problems = len(summary.dropped)
        return summary
    if sheets:
        summary.outputs["samples"] = sheet_path
        _save_below_each_other(sheet_path, sheets)
    summary.problems = sum(found.count for found in summary.dropped)
    found = "; ".join(dict.fromkeys(verdicts))
    call = _next_call(config, splits, only_2d)
    summary.hint = f"look at the sheet; {found or call}" if summary.problems else call
    if only_2d:
        summary.hint += f" ({_NOT_IN_2D})"
    return summary


def _role(split: str) -> str:
    """The last part of a split's name, which says what it is for: train of s1-train."""
    return split.rpartition("-")[2]


def _readers(split: str) -> list[str]:
    """The commands that read a split: training's, measuring's, or for another split than train and test either."""
    commands = {"train": ["finetune"], "test": ["evaluate"]}.get(_role(split), ["finetune", "evaluate"])
    return [name + _flag(name, split) for name in commands]


def _flag(command: str, split: str) -> str:
    return "" if split == _READ_UNASKED[command] else f" --split {split}"


def _next_call(config: DataConfig, splits: list[str], only_2d: bool) -> str:
    """What to do with a set in which nothing is wrong: train; measure where there is only a test split; or either."""
    from simhand_cli.commands.next_step import finetune_call

    found = {_role(split): split for split in reversed(splits)}
    split = found.get("train") or found.get("test") or splits[-1]
    finetune = finetune_call(config.workspace, config.path) + _flag("finetune", split)
    if only_2d:
        beside = f"simhand finetune --data A_SET_WITH_3D_LABELS --data {config.path}{_flag('finetune', split)}"
        finetune = f"its labels are 2D only: {beside}"
    evaluate = f"simhand evaluate --data {config.path}{_flag('evaluate', split)}"
    if "train" in found:
        return finetune
    return evaluate if "test" in found else f"{evaluate}; or {finetune}"


def _here(problem: InputProblem) -> str:
    """A message about the set, which is an argument here and a flag where it is trained or measured on."""
    return str(problem).removeprefix("--data ")


def _sheet_path(config: DataConfig) -> Path:
    from simhand_cli.workspace.paths import Workspace

    path = config.out or Workspace(config.workspace).run_dir("data", config.path.resolve().name or "root") / "sheet.png"
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageProblem(f"--out {path}: the sheet is a picture, name it .png or .jpg")
    return path


def _plan(config: DataConfig, labelled: "LabelledSet", summary: Summary) -> None:
    summary.facts[f"{labelled.split}: samples"] = len(labelled)
    summary.facts[f"{labelled.split}: pictures to decode"] = len(_chosen(config, labelled))


def _chosen(config: DataConfig, labelled: "LabelledSet") -> "NDArray[np.int64]":
    """The samples whose pictures are decoded."""
    import numpy as np

    everything = np.arange(len(labelled))
    if config.all_images or len(everything) <= _DECODED:
        return everything
    return np.sort(np.random.default_rng(_SEED).choice(everything, _DECODED, replace=False))


def _check(
    config: DataConfig, labelled: "LabelledSet", summary: Summary, verdicts: list[str], console: Console
) -> "NDArray[np.uint8] | None":
    """Add a split's figures, faults and verdict; returns its sheet, None if there is nothing to show."""
    import numpy as np

    from simhand_cli.labelled.checks.decode_pictures import known_sizes, look_at_pictures, picture_faults
    from simhand_cli.labelled.checks.description import describe
    from simhand_cli.labelled.checks.labels_3d import find_faults, verdict
    from simhand_cli.labelled.checks.sheet import check_sheet, choose_shown
    from simhand_cli.labelled.label_details import label_details
    from simhand_cli.labelled.sample import NamingSet

    chosen = _chosen(config, labelled)
    with console.progress(f"{labelled.split} pictures", len(chosen), "pictures") as ticker:
        pictures = look_at_pictures(labelled, chosen, ticker, _READERS if config.all_images else 1)
    details = label_details(labelled)
    faults = picture_faults(pictures, details) + find_faults(labelled, details, known_sizes(pictures, details))
    figures = describe(labelled, details, pictures)
    summary.facts |= {f"{labelled.split}: {name}": value for name, value in figures.items()}
    missing = list(labelled.problems())
    summary.dropped += [*missing, *(_found(labelled, fault, len(chosen)) for fault in faults)]
    if missing or faults:
        left_out = sum(entry.count for entry in missing)
        verdicts += [verdict(call, len(labelled), left_out, faults) for call in _readers(labelled.split)]
    summary.data[labelled.split] = {
        "figures": figures,
        "pictures_decoded": len(chosen),
        "faults": [_record(fault) for fault in faults],
        "damaged_pictures": {str(index): why for index, why in pictures.problems.items()},
        "left_out": [
            {"what": entry.what, "why": entry.why, "count": entry.count, "names": list(entry.names)}
            for entry in (labelled.left_out() if isinstance(labelled, NamingSet) else ())
        ],
    }
    shown = choose_shown(pictures.readable(), faults, config.samples_shown, np.random.default_rng([_SEED, 1]))
    return check_sheet(labelled, shown) if shown else None


def _found(labelled: "LabelledSet", fault: "Fault", decoded: int) -> Dropped:
    of_decoded = f" of {decoded} decoded pictures" if fault.kind in ("picture", "picture-size") else ""
    what = f"{labelled.split} samples{of_decoded}, first: number {fault.samples[0]}"
    return Dropped(what, len(fault.samples), fault.why, fault.meaning)


def _record(fault: "Fault") -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "count": len(fault.samples),
        "why": fault.why,
        "meaning": fault.meaning,
        "whole_set": bool(fault.refusal),
        "samples": fault.samples.tolist(),
    }


def _save_below_each_other(path: Path, sheets: "list[NDArray[np.uint8]]") -> None:
    """Save the sheets of all splits as one picture, the narrower ones with paper at their right."""
    import numpy as np

    from simhand_cli.report.sheet import save_image

    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), mode="edge") for s in sheets]
    save_image(path, np.concatenate(padded))
