"""Export an encoder's features of a workspace's crops or of labelled pictures."""

from typing import TYPE_CHECKING, Any

from simhand_cli.console import Console, format_bytes
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.embed.run import EmbedJob
from simhand_cli.embed.config import EmbedConfig

EXAMPLES: tuple[str, ...] = (
    "simhand embed",
    "simhand embed --data FreiHAND_pub_v2 --split test --format safetensors --name freihand-test",
    "simhand embed --encoder random --backbone resnet18 --limit 200 --dry-run",
)


def embed(config: EmbedConfig, console: Console | None = None) -> Summary:
    """Write the pooled features of every picture, and the projection head's output where the run still has the head.

    Returns:
        counts, lengths of the features, and the files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: no finished pre-training run, no crops, or an unusable set.
        UsageProblem: the folder holds an export made with other options.
    """
    from simhand_cli.embed.run import prepare, run_embed

    console = console or Console(quiet=True)
    job = prepare(config)
    if config.dry_run:
        return _dry_summary(job)
    return _summary(job, run_embed(job, console))


def _dry_summary(job: "EmbedJob") -> Summary:
    numbers, size = job.numbers_per_row(), format_bytes(job.result_bytes())
    # Until the result is whole the parts lie beside it, and safetensors' tables once more.
    copies = "twice" if job.config.format == "h5" else "three times"
    summary = Summary("embed", dropped=list(job.pictures.dropped))
    summary.facts = {
        "encoder": job.source.described,
        "pictures": f"{len(job.rows):,} {job.pictures.title}",
        "features per picture": numbers["features"],
        "projections per picture": numbers["projections"],
        "folder": str(job.folder),
        "state": job.state(),
        "disk space": f"{size}, {copies} as much while the parts are joined",
    }
    return summary


def _summary(job: "EmbedJob", result: dict[str, Any]) -> Summary:
    from simhand_cli.embed.file import file_names

    messages = result["broken"]
    why = f"cannot be read, first: {messages[0]}" if messages else ""
    broken = [Dropped(f"pictures of {job.pictures.title}", len(messages), why)] if messages else []
    summary = Summary("embed", dropped=[*job.pictures.dropped, *broken])
    # Crops without keypoints are no fault of the input; labels that cannot be right are.
    summary.problems = sum(d.count for d in (summary.dropped if job.config.data else broken))
    summary.facts = {
        "encoder": job.source.described,
        "pictures": f"{result['rows']:,} {job.pictures.title}",
        "features per picture": result["features"],
        "projection head": "found, its output is in the file" if result["head"] else "none",
    }
    summary.outputs = {name: job.folder / name for name in file_names(job.config.format)}
    summary.data = dict(result)
    return summary
