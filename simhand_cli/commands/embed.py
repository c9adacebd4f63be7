"""Export an encoder's features of a workspace's crops or of labelled pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.console import Console, format_bytes
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.probes.embed_run import EmbedJob

EXAMPLES: tuple[str, ...] = (
    "simhand embed",
    "simhand embed --data FreiHAND_pub_v2 --split test --format safetensors --name freihand-test",
    "simhand embed --encoder random --backbone resnet18 --limit 200 --dry-run",
)


class EmbedConfig(CommandConfig):
    """Options of ``simhand embed``."""

    encoder: str = option(
        "latest", "latest (newest pre-training run), a run's name or folder, a weight file, random, or imagenet"
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet")
    backbone: str | None = option(
        None, "timm name of the encoder (default: what the weights are for, else resnet50)", min_length=1
    )
    data: list[Path] = option([], "Folder of a labelled set, repeatable; none: the crops of the workspace")
    split: str = option("train", "Split of the sets of --data")
    format: Literal["h5", "safetensors"] = option("h5", "safetensors: the ids lie in a JSON file beside it")
    name: str | None = option(
        None, "Name of the run: runs/embed-NAME (default: after the encoder and --data)", short="-n"
    )
    input_px: int = option(128, "Side of the crops the encoder sees, pixels", ge=64, le=512, multiple_of=32)
    limit: int | None = option(None, "Embed a random choice of this many pictures", ge=1)
    batch_size: int = option(64, "Crops a forward pass", ge=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the encoder runs")
    seed: int = option(0, "Of the choice of pictures and of random weights", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where encoder and pictures lie is replaced by what they are; the rest is how to run."""
        return frozenset({"encoder", "encoder_weights", "backbone", "data", "name", "batch_size", "device"})


def embed(config: EmbedConfig, console: Console | None = None) -> Summary:
    """Write the pooled features of every picture, and the projection head's output where the run still has the head.

    Returns:
        counts, lengths of the features, and the files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: no finished pre-training run, no crops, or an unusable set.
        UsageProblem: the folder holds an export made with other options.
    """
    from simhand_cli.probes.embed_run import prepare, run_embed

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
    from simhand_cli.probes.embedding_file import file_names

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
