"""An evaluation: which model on which sets, its folder, and what is told of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.compare.comparison_report import ONLY_2D, add_comparison, alignment_words, other_name
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.evaluation.leaderboard.files import RankedSet, check_leaderboard, write_leaderboard
from simhand_cli.evaluation.measure import measure
from simhand_cli.evaluation.prepare import EvaluationRun, prepare
from simhand_cli.stages.records import FolderRecord
from simhand_cli.stages.run_folder import State, read_result
from simhand_cli.summary import Dropped, Summary, refuse_dropped
from simhand_cli.workspace.paths import Workspace


class Evaluation:
    """``simhand evaluate`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:
        """Find the model, open the sets, and check what is asked for beside the figures.

        Raises:
            InputProblem: no model or data; nothing finished to compare with; with ``--strict``, unusable labels.
            UsageProblem: sets that do not go together, or a leaderboard file that cannot be whole.
        """
        config = self.config
        self.prepared = job = prepare(config, console)
        self.ranked: list[RankedSet] = []
        # What is asked for beside the figures is refused now, not after hours of predicting.
        if config.leaderboard:
            self.ranked = check_leaderboard(job.sets, job.paths, config.limit, job.model_file)
        self.other: Path | None = None
        if config.against:
            self.other = find_evaluation(config.against, Workspace(config.workspace), job.folder)
        if not config.dry_run:
            refuse_dropped(job.dropped, config.strict)
        self.record = FolderRecord(job.folder, "evaluate")

    def identity(self) -> Mapping[str, Any]:
        """The options, and what model and labels are."""
        return self.prepared.identity

    def state(self) -> State:
        """What the run's folder holds.

        Raises:
            UsageProblem: an evaluation made with other options.
        """
        self._state = self.record.state(self.identity(), redo=self.config.redo)
        return self._state

    def dry(self) -> Summary:
        """The model, the folder and the number of samples."""
        job = self.prepared
        summary = Summary("evaluate", dropped=job.dropped, problems=sum(dropped.count for dropped in job.dropped))
        summary.facts = {"model": job.model_title, "folder": str(job.folder), "state": self._state, **job.notes}
        for label, indices in zip(job.labels, job.indices, strict=True):
            summary.facts[f"samples of {label}"] = len(indices)
        return summary

    def run(self, console: Console) -> Summary:
        """Predict, measure and write the folder; a finished one is read back. Then leaderboard and comparison."""
        job = self.prepared
        result = self.record.done_before(console, "evaluated")
        if result is None:
            result = self.record.run.finish(measure(job, console))
        # From the result and not from memory, so that a run that is read back says the same.
        job.dropped.extend(Dropped(**entry) for entry in result["dropped"])
        summary = _summary(job, result)
        if self.ranked:
            _add_leaderboard(job, self.ranked, summary)
        if self.other:
            _compared(job, self.other, summary)
        return summary


def _summary(job: EvaluationRun, result: Mapping[str, Any]) -> Summary:
    summary = Summary("evaluate", dropped=job.dropped, problems=sum(dropped.count for dropped in job.dropped))
    summary.facts = {"model": job.model_title, **job.notes, **result["facts"]}
    summary.outputs = {name: job.folder / name for name in result["files"]}
    summary.data = {"metrics": json.loads((job.folder / "metrics.json").read_text())}
    summary.hint = f"open {job.folder / 'report.html'}"
    return summary


def _add_leaderboard(job: EvaluationRun, ranked: Sequence[RankedSet], summary: Summary) -> None:
    """Write the files for the benchmarks' own scorers and say what they hold."""
    files = write_leaderboard(job.folder, ranked)
    for one in files:
        summary.facts[f"{one.path.name} for {one.benchmark}"] = one.text()
        summary.outputs[one.path.name] = one.path
    summary.data["leaderboard"] = [one.record() for one in files]


def _compared(job: EvaluationRun, other: Path, summary: Summary) -> None:
    """Add the paired differences to the other evaluation."""
    found, path, record = add_comparison(job, other)
    name = other_name(job.folder, other)
    for compared in found.sets:
        prefix = f"{compared.label} " if len(found.sets) > 1 else ""
        if not compared.in_3d:
            summary.facts[f"{prefix}compared in 2D"] = ONLY_2D
        for one in compared.differences:
            title, unit, factor = alignment_words(one.alignment)
            mean, (low, high) = factor * one.mean, (factor * end for end in one.interval)
            if one.mean != one.mean:  # one of the two has no figure of this alignment
                continue
            interval = f"{low:+.2f} to {high:+.2f}" if low == low else "no interval"
            row = f"{prefix}this - {name}, {title}" + (f", {unit}" if compared.in_3d else "")
            summary.facts[row] = f"{mean:+.2f} ({interval}), better on {one.better:.0%} of {one.samples} samples"
    if found.left_out:
        summary.facts["not compared (no hand that both found)"] = ", ".join(found.left_out)
    summary.outputs["comparison"] = path
    summary.data["against"] = record


def find_evaluation(named: str, workspace: Workspace, this: Path) -> Path:
    """The finished evaluation meant by ``--against``: a folder, or a name in the workspace.

    Args:
        named: the folder or name.
        workspace: where a name is looked for.
        this: folder of the evaluation that is to be compared with it.

    Raises:
        InputProblem: there is none.
        UsageProblem: it is the same evaluation.
    """
    folders = [Path(named)]
    if Path(named).name == named:
        # A folder of that name here goes before a run's.
        folders.append(workspace.run_dir("evaluate", named.removeprefix("evaluate-")))
    if any(folder.resolve() == this.resolve() for folder in folders):
        raise UsageProblem(f"--against {named} is this evaluation itself: give another one, or this one another --name")
    for folder in folders:
        if _is_finished(folder):
            return folder
    beside = sorted(workspace.run_dir("evaluate", "x").parent.glob("evaluate-*"))
    found = [folder.name for folder in beside if _is_finished(folder)]
    known = f"; there are {', '.join(found)}" if found else ""
    raise InputProblem(f"--against {named}: no finished evaluation of this name{known}")


def _is_finished(folder: Path) -> bool:
    """It has predictions, as no other command's run, and a result, which is the last file of a run."""
    return (folder / "predictions.h5").is_file() and read_result(folder) is not None
