"""One export of features from its options to the finished folder, and what is told of it."""

from collections.abc import Mapping
from typing import Any

from simhand_cli.console import Console, format_bytes
from simhand_cli.embed.config import EmbedConfig
from simhand_cli.embed.file import file_names
from simhand_cli.embed.prepare import EmbedRun, prepare
from simhand_cli.embed.write import embed_all, has_parts, remove_parts
from simhand_cli.stages.records import FolderRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary


class Embedding:
    """``simhand embed`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: EmbedConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:
        """Find the encoder and open the pictures.

        Raises:
            EnvironmentProblem: an encoder file that is not there.
            InputProblem: no finished pre-training run, no crops, or an unusable set.
        """
        self.prepared = prepare(self.config, console)
        self.record = FolderRecord(self.prepared.folder, "embed")

    def identity(self) -> Mapping[str, Any]:
        """The options, and what encoder and pictures are."""
        return self.prepared.identity

    def state(self) -> State:
        """What the run's folder holds; parts that lie ready are gone on with.

        Raises:
            UsageProblem: an export made with other options.
        """
        found = self.record.state(self.identity(), redo=self.config.redo)
        self._state: State = "resume" if found == "new" and has_parts(self.prepared.folder) else found
        return self._state

    def dry(self) -> Summary:
        """Pictures, lengths of the features and disk space."""
        job = self.prepared
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
            "state": self._state,
            "disk space": f"{size}, {copies} as much while the parts are joined",
        }
        return summary

    def run(self, console: Console) -> Summary:
        """Embed all pictures and write the folder; a finished one is read back."""
        job = self.prepared
        result = self.record.done_before(console, "embedded")
        if result is None:
            result = self.record.run.finish(embed_all(job, console))
        remove_parts(job.folder)  # also those that a run leaves which is killed after its last word
        return _summary(job, result)


def _summary(job: EmbedRun, result: Mapping[str, Any]) -> Summary:
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
