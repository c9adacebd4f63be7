"""Checking a labelled set from its options to the sheet: every label, some pictures, and what to do next."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.labelled.checks.decode_pictures import known_sizes, look_at_pictures, picture_faults
from simhand_cli.labelled.checks.description import describe
from simhand_cli.labelled.checks.fault import Fault
from simhand_cli.labelled.checks.labels_3d import find_faults, verdict
from simhand_cli.labelled.checks.sheet import check_sheet, choose_shown
from simhand_cli.labelled.config import _DECODED, _SEED, DataConfig
from simhand_cli.labelled.label_details import label_details
from simhand_cli.labelled.open import open_labelled, open_splits, recognise
from simhand_cli.labelled.readers.jsonl_lines import jsonl_findings
from simhand_cli.labelled.sample import LabelledSet, LabelledSet2D, NamingSet
from simhand_cli.report.sheet import save_image
from simhand_cli.stages.next_step import finetune_call
from simhand_cli.stages.records import NoRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary
from simhand_cli.workspace.paths import Workspace

#: The split that a command reads without --split.
_READ_UNASKED = {"finetune": "train", "evaluate": "test"}
#: Said of a set of 2D labels.
_NOT_IN_2D = "side not checked, joint order roughly at most: 2D only"
#: Pictures decoded at a time with --all-images.
_READERS = 4


class CheckSet:
    """``simhand data check`` as a :class:`simhand_cli.stages.job.Job`; nothing of it is remembered."""

    # A check is to look again each time: the user has just corrected something.
    record = NoRecord()

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:  # noqa: ARG002 (as every job)
        """Settle where the sheet goes.

        Raises:
            UsageProblem: a sheet of an unknown picture format.
        """
        self.sheet_path = _sheet_path(self.config)
        self.summary = Summary("data", dropped_as="found")
        self.splits: list[str] = []
        self.verdicts: list[str] = []
        self.only_2d = False

    def identity(self) -> Mapping[str, Any]:
        """The options."""
        return self.config.identity()

    def state(self) -> State:
        """Always new."""
        return "new"

    def dry(self) -> Summary:
        """Samples of each split, and how many pictures would be decoded."""
        self._each_split(self._count)
        self.summary.facts["sheet"] = str(self.sheet_path) if self.config.samples_shown else "none"
        # Splits that cannot be opened, and odd lines; labels and pictures are not looked at.
        self.summary.problems = len(self.summary.dropped)
        return self.summary

    def run(self, console: Console) -> Summary:
        """Check split by split, then draw the sheet and say what can be done with the set."""
        summary, sheets = self.summary, []

        def check(labelled: LabelledSet) -> None:
            sheet = _check_split(self.config, labelled, summary, self.verdicts, console)
            if sheet is not None:
                sheets.append(sheet)

        self._each_split(check)
        if sheets:
            summary.outputs["samples"] = self.sheet_path
            _save_below_each_other(self.sheet_path, sheets)
        summary.problems = sum(found.count for found in summary.dropped)
        found = "; ".join(dict.fromkeys(self.verdicts))
        call = _next_call(self.config, self.splits, self.only_2d)
        summary.hint = f"look at the sheet; {found or call}" if summary.problems else call
        if self.only_2d:
            summary.hint += f" ({_NOT_IN_2D})"
        return summary

    def _each_split(self, look: Callable[[LabelledSet], None]) -> None:
        """Open the splits one after the other and look at each; what cannot be opened is noted.

        Raises:
            InputProblem: no labelled set simhand knows, no such split, or a label file that cannot be read.
        """
        config, summary = self.config, self.summary
        try:
            summary.facts = {"layout": recognise(config.path), "splits": ""}
            chosen = iter([(config.split, open_labelled(config.path, config.split))]) if config.split else None
            for split, one in chosen or open_splits(config.path):
                if isinstance(one, InputProblem):
                    summary.dropped.append(Dropped(f"split {split!r}", 1, _here(one)))
                    self.verdicts += [f"'simhand {call}' refuses its split {split!r}" for call in _readers(split)]
                    continue
                self.splits.append(split)
                # A property of the layout, so that of the last split will do.
                self.only_2d = isinstance(one, LabelledSet2D)
                look(one)
                del one  # before the next one is opened
        except InputProblem as problem:
            raise InputProblem(_here(problem)) from problem
        if summary.facts["layout"] == "jsonl":
            summary.dropped += jsonl_findings(config.path)
        summary.facts["splits"] = ", ".join(self.splits)

    def _count(self, labelled: LabelledSet) -> None:
        self.summary.facts[f"{labelled.split}: samples"] = len(labelled)
        self.summary.facts[f"{labelled.split}: pictures to decode"] = len(_chosen(self.config, labelled))


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
    # Reversed, so that of several splits of one role the first one is proposed.
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
    path = config.out or Workspace(config.workspace).run_dir("data", config.path.resolve().name or "root") / "sheet.png"
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageProblem(f"--out {path}: the sheet is a picture, name it .png or .jpg")
    return path


def _chosen(config: DataConfig, labelled: LabelledSet) -> NDArray[np.int64]:
    """The samples whose pictures are decoded."""
    everything = np.arange(len(labelled))
    if config.all_images or len(everything) <= _DECODED:
        return everything
    # A fixed seed: checking again after a correction looks at the same pictures.
    return np.sort(np.random.default_rng(_SEED).choice(everything, _DECODED, replace=False))


def _check_split(
    config: DataConfig, labelled: LabelledSet, summary: Summary, verdicts: list[str], console: Console
) -> NDArray[np.uint8] | None:
    """Add a split's figures, faults and verdict; returns its sheet, None if there is nothing to show."""
    chosen = _chosen(config, labelled)
    with console.progress(f"{labelled.split} pictures", len(chosen), "pictures") as ticker:
        # Threads pay only where a whole set is decoded.
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
    # A stream of its own, apart from that of the choice of pictures.
    shown = choose_shown(pictures.readable(), faults, config.samples_shown, np.random.default_rng([_SEED, 1]))
    return check_sheet(labelled, shown) if shown else None


def _found(labelled: LabelledSet, fault: Fault, decoded: int) -> Dropped:
    of_decoded = f" of {decoded} decoded pictures" if fault.kind in ("picture", "picture-size") else ""
    what = f"{labelled.split} samples{of_decoded}, first: number {fault.samples[0]}"
    return Dropped(what, len(fault.samples), fault.why, fault.meaning)


def _record(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "count": len(fault.samples),
        "why": fault.why,
        "meaning": fault.meaning,
        "whole_set": bool(fault.refusal),
        "samples": fault.samples.tolist(),
    }


def _save_below_each_other(path: Path, sheets: list[NDArray[np.uint8]]) -> None:
    """Save the sheets of all splits as one picture, the narrower ones with paper at their right."""
    width = max(sheet.shape[1] for sheet in sheets)
    # The edge is paper, so repeating it is more paper.
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), mode="edge") for s in sheets]
    save_image(path, np.concatenate(padded))
