"""Measure a 3D hand model: MPJPE and PCK-AUC in every alignment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simhand_cli.console import Console
from simhand_cli.summary import Summary, refuse_dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simhand_cli.evaluation.leaderboard.files import RankedSet
    from simhand_cli.evaluation.run import EvaluationRun
from simhand_cli.evaluation.config import EvaluateConfig

EXAMPLES: tuple[str, ...] = (
    "simhand evaluate",
    "simhand evaluate --data FreiHAND_pub_v2 --limit 500 --name freihand",
    "simhand evaluate --model mediapipe",
    "simhand evaluate --model mean-pose --json",
    "simhand evaluate --against evaluate-mean-pose",
    "simhand evaluate --data FreiHAND_pub_v2 --leaderboard",
)


def evaluate(config: EvaluateConfig, console: Console | None = None) -> Summary:
    """Predict every sample of the sets and measure the errors.

    Args:
        config: see :class:`EvaluateConfig`.
        console: for messages and progress; a quiet one if absent.

    Returns:
        One table row an alignment for each set; the full figures in ``data`` and in ``metrics.json``.

    Raises:
        InputProblem: no model, no data, an unknown split or an empty one; nothing finished to compare with.
        UsageProblem: the folder holds an evaluation made with other options, or ``leaderboard`` asks for a file that
            cannot be whole.
    """
    from simhand_cli.evaluation.leaderboard.files import check_leaderboard
    from simhand_cli.evaluation.run import find_evaluation, prepare, run_evaluation
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    job = prepare(config)
    ranked = check_leaderboard(job.sets, job.paths, config.limit, job.model_file) if config.leaderboard else []
    other = find_evaluation(config.against, Workspace(config.workspace), job.folder) if config.against else None
    if config.dry_run:
        return _dry_summary(job)
    refuse_dropped(job.dropped, config.strict)
    summary = _summary(job, run_evaluation(job, console))
    if ranked:
        _add_leaderboard(job, ranked, summary)
    if other:
        _compared(job, other, summary)
    return summary


def _add_leaderboard(job: "EvaluationRun", ranked: "Sequence[RankedSet]", summary: Summary) -> None:
    """Write the files for the benchmarks' own scorers and say what they hold."""
    from simhand_cli.evaluation.leaderboard.files import write_leaderboard

    files = write_leaderboard(job.folder, ranked)
    for one in files:
        summary.facts[f"{one.path.name} for {one.benchmark}"] = one.text()
        summary.outputs[one.path.name] = one.path
    summary.data["leaderboard"] = [one.record() for one in files]


def _compared(job: "EvaluationRun", other: Path, summary: Summary) -> None:
    """Add the paired differences to the other evaluation."""
    from simhand_cli.evaluation.compare.comparison_report import ONLY_2D, add_comparison, alignment_words, other_name

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


def _dry_summary(job: "EvaluationRun") -> Summary:
    summary = Summary("evaluate", dropped=job.dropped, problems=sum(dropped.count for dropped in job.dropped))
    summary.facts = {"model": job.model_title, "folder": str(job.folder), "state": job.state()}
    summary.facts |= job.notes
    for label, indices in zip(job.labels, job.indices, strict=True):
        summary.facts[f"samples of {label}"] = len(indices)
    return summary


def _summary(job: "EvaluationRun", result: dict[str, Any]) -> Summary:
    summary = Summary("evaluate")
    summary.facts = {"model": job.model_title, **job.notes, **result["facts"]}
    summary.dropped = job.dropped
    summary.problems = sum(dropped.count for dropped in job.dropped)
    summary.outputs = {name: job.folder / name for name in result["files"]}
    summary.data = {"metrics": result["metrics"]}
    summary.hint = f"open {job.folder / 'report.html'}"
    return summary
