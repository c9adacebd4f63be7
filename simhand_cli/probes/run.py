"""One probe of one or more encoders from its options to the finished folder, and what is told of it."""

import json
from collections.abc import Mapping
from typing import Any

from simhand_cli.console import Console
from simhand_cli.probes.config import ProbeConfig
from simhand_cli.probes.measure import FILES, measure
from simhand_cli.probes.prepare import ProbeRun, prepare
from simhand_cli.probes.probe_report import COLUMNS, overview_rows
from simhand_cli.stages.records import FolderRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary


class Probe:
    """``simhand probe`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: ProbeConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:
        """Find the encoders and open the set.

        Raises:
            EnvironmentProblem: an encoder file that is not there.
            InputProblem: no finished pre-training run, or a set that cannot be probed.
        """
        self.prepared = prepare(self.config, console)
        self.record = FolderRecord(self.prepared.folder, "probe")

    def identity(self) -> Mapping[str, Any]:
        """The options, and what encoders and labels are."""
        return self.prepared.identity

    def state(self) -> State:
        """What the run's folder holds.

        Raises:
            UsageProblem: a probe made with other options.
        """
        self._state = self.record.state(self.identity(), redo=self.config.redo)
        return self._state

    def dry(self) -> Summary:
        """The folder, the number of samples and the encoders."""
        job = self.prepared
        summary = Summary("probe", dropped=job.dropped, problems=sum(dropped.count for dropped in job.dropped))
        summary.facts = {
            "folder": str(job.folder),
            "state": self._state,
            "test samples": len(job.test.indices),
            "gallery samples": len(job.gallery.indices),
            **({"linear probe": f"none: {job.no_linear}"} if job.no_linear else {}),
            **{title: source.described for title, source in zip(job.titles, job.sources, strict=True)},
        }
        return summary

    def run(self, console: Console) -> Summary:
        """Measure and write the folder; a finished one is read back."""
        result = self.record.done_before(console, "probed")
        if result is None:
            result = self.record.run.finish(measure(self.prepared, console))
        return _summary(self.prepared, result)


def _summary(job: ProbeRun, result: Mapping[str, Any]) -> Summary:
    # From the file, so that a finished probe that is read back shows the same.
    metrics = json.loads((job.folder / "metrics.json").read_text())
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
