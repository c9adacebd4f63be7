"""Compare encoders without fine-tuning: pose retrieval, a linear probe and a map of the features."""

from typing import TYPE_CHECKING, Any

from simhand_cli.console import Console
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.probes.run import ProbeJob
from simhand_cli.probes.config import ProbeConfig

EXAMPLES: tuple[str, ...] = (
    "simhand probe",
    "simhand probe --encoder latest --encoder imagenet --encoder-weights resnet50-imagenet.pth --encoder random",
    "simhand probe --limit 500 --gallery-limit 2000 --name quick --json",
)


def probe(config: ProbeConfig, console: Console | None = None) -> Summary:
    """Measure what frozen features know of hand poses, for one or several encoders on the same samples.

    Returns:
        One table row an encoder, and the references; all figures in ``data`` and in ``metrics.json``.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: no finished pre-training run, or a set that cannot be probed.
        UsageProblem: the folder holds a probe made with other options.
    """
    from simhand_cli.probes.run import prepare, run_probe

    console = console or Console(quiet=True)
    job = prepare(config)
    if config.dry_run:
        return _dry_summary(job)
    return _summary(job, run_probe(job, console))


def _dry_summary(job: "ProbeJob") -> Summary:
    summary = Summary("probe", dropped=job.dropped, problems=sum(dropped.count for dropped in job.dropped))
    summary.facts = {
        "folder": str(job.folder),
        "state": job.state(),
        "test samples": len(job.test.indices),
        "gallery samples": len(job.gallery.indices),
        **({"linear probe": f"none: {job.no_linear}"} if job.no_linear else {}),
        **{title: source.described for title, source in zip(job.titles, job.sources, strict=True)},
    }
    return summary


def _summary(job: "ProbeJob", result: dict[str, Any]) -> Summary:
    from simhand_cli.probes.probe_report import COLUMNS, overview_rows
    from simhand_cli.probes.run import FILES

    metrics = result["metrics"]
    no_linear = metrics["linear_probe"]["not_done"]
    summary = Summary("probe", dropped=[*job.dropped, *(Dropped(**entry) for entry in result["dropped"])])
    summary.problems = sum(dropped.count for dropped in summary.dropped)
    summary.facts = {
        "test": f"{metrics['test_samples']:,} of {metrics['set']}",
        "gallery": f"{metrics['gallery_samples']:,} of {metrics['gallery']}",
        **({"linear probe": f"none: {no_linear}"} if no_linear else {}),
        "": "  ".join(COLUMNS.values()),
    }
    widths = [len(title) for title in COLUMNS.values()]
    for name, *cells in overview_rows(metrics):
        shown = ["–" if cell is None else f"{cell:.2f}" for cell in cells]
        summary.facts[str(name)] = "  ".join(f"{cell:>{width}}" for cell, width in zip(shown, widths, strict=True))
    summary.outputs = {name: job.folder / name for name in FILES}
    summary.data = {"metrics": metrics}
    summary.hint = f"open {job.folder / 'report.html'}"
    return summary
