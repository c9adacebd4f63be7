"""Compare encoders without fine-tuning: pose retrieval, a linear probe and a map of the features."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.console import Console
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.probes.run import ProbeJob

EXAMPLES: tuple[str, ...] = (
    "simhand probe",
    "simhand probe --encoder latest --encoder imagenet --encoder-weights resnet50-imagenet.pth --encoder random",
    "simhand probe --limit 500 --gallery-limit 2000 --name quick --json",
)


class ProbeConfig(CommandConfig):
    """Options of ``simhand probe``."""

    encoder: list[str] = option(
        ["latest"],
        "latest, a run's name or folder, a weight file, random, or imagenet; repeatable, the first is compared with",
        min_length=1,
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet")
    backbone: str | None = option(
        None, "timm name of the encoders (default: what the weights are for, else resnet50)", min_length=1
    )
    untrained: bool = option(True, "Also measure an untrained encoder of every architecture, unless random is named")
    data: Path | None = option(None, "Folder of a labelled set (default: the workspace's synthetic set)")
    split: str = option("test", "Split that is asked about")
    gallery_split: str = option("train", "Split that neighbours and the linear probe's training come from")
    name: str | None = option(
        None, "Name of the run: runs/probe-NAME (default: after the first encoder and --data)", short="-n"
    )
    limit: int = option(1000, "Test samples, a random choice of at most this many", ge=1)
    gallery_limit: int = option(5000, "Gallery samples, a random choice of at most this many", ge=1)
    val_fraction: float = option(0.2, "Part of the gallery, by whole people, to choose the penalty on", gt=0, lt=1)
    plotted: int = option(600, "Test hands on the map at most", ge=12, le=2000)
    perplexity: float = option(30.0, "Of the map: about how many neighbours count as near", ge=2)
    bootstrap: int = option(1000, "Draws for the 95 % intervals", ge=10, le=100_000)
    input_px: int = option(128, "Side of the crops the encoders see, pixels", ge=64, le=512, multiple_of=32)
    batch_size: int = option(64, "Crops a forward pass", ge=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the encoders run")
    seed: int = option(0, "Of the choices of samples, of random weights and of the bootstrap", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where encoders and labels lie is replaced by what they are; the rest is how to run."""
        return frozenset(
            {"encoder", "encoder_weights", "backbone", "untrained", "data", "name", "batch_size", "device"}
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
    from simhand_cli.probes.report import COLUMNS, overview_rows
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
