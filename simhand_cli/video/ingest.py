"""Ingest: every video and folder of images that was named, probed once and recorded in the catalog."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.stages.local_pool import StageJob, run_pool
from simhand_cli.stages.records import CatalogRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary
from simhand_cli.video.config import IngestConfig
from simhand_cli.video.find import Found, Source, find_sources
from simhand_cli.video.probe import probe_images, probe_video
from simhand_cli.workspace.catalog import Catalog, VideoRecord
from simhand_cli.workspace.paths import Workspace

#: For --dry-run: compressed video is decoded at about 5 MB a second and process.
_BYTES_PER_SECOND = 5e6


@dataclass(frozen=True)
class _ProbeJob:
    path: Path
    kind: str
    fps: float


class Ingest:
    """``simhand ingest`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: IngestConfig) -> None:
        self.config = config
        self.workspace = Workspace(config.workspace)
        ways_out = "--redo starts over, --workspace chooses another folder"
        self.record = CatalogRecord(self.workspace, "ingest", ways_out)

    def prepare(self, console: Console) -> None:  # noqa: ARG002 (as every job)
        """Find what the paths hold.

        Raises:
            InputProblem: nothing that can be read.
        """
        self.found = find_sources(self.config.paths)
        if not self.found.sources:
            _refuse_nothing(self.found.unusable, self.found.ignored_files)

    def identity(self) -> Mapping[str, Any]:
        """The options; paths add up over calls."""
        return self.config.identity()

    def state(self) -> State:
        """Whether the workspace has videos already.

        Raises:
            UsageProblem: their frames were sampled with other options.
        """
        return self.record.state(self.identity(), redo=self.config.redo)

    def dry(self) -> Summary:
        """What was found, and how long reading it takes."""
        sources, unusable = self.found.sources, self.found.unusable
        size = sum(source.size_bytes for source in sources)
        return Summary(
            "ingest",
            facts={
                "videos": sum(s.kind == "video" for s in sources),
                "image folders": sum(s.kind == "images" for s in sources),
                "to read": format_bytes(size),
                "time, roughly": format_duration(size / _BYTES_PER_SECOND / self.config.workers),
            },
            dropped=[Dropped(str(path), 1, reason) for path, reason in unusable],
            problems=len(unusable),
        )

    def run(self, console: Console) -> Summary:
        """Probe what is new or has changed, and record it.

        Raises:
            InputProblem: nothing of it can be read, and the workspace holds nothing else.
        """
        catalog = self.record.catalog
        for path, reason in self.found.unusable:
            catalog.skip_source(str(path), "", reason)
        _probe_all(self.config, self.found, catalog, console)
        if catalog.video_count() == 0:
            catalog.clear_stage("ingest")  # nothing was begun that other options could mix with
            skipped = [(Path(p), reason) for p, reason in catalog.sources("skipped")]
            _refuse_nothing(skipped, self.found.ignored_files)
        save_config(self.config, self.workspace.root / "ingest.yaml")
        return _summarise(catalog, self.found, self.workspace)


def _refuse_nothing(unusable: list[tuple[Path, str]], ignored_files: int) -> None:
    if unusable:
        path, reason = unusable[0]
        more = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise InputProblem(f"{path}: {reason}{more}")
    raise InputProblem(f"no video or image found in the given paths ({ignored_files} other files)")


def _probe_all(config: IngestConfig, found: Found, catalog: Catalog, console: Console) -> None:
    """Probe in a pool; record in the order of the paths, so that which of two copies counts never depends on timing."""
    todo = [s for s in found.sources if not _unchanged(catalog, s)]
    by_path = {str(source.path): source for source in todo}
    results: dict[str, VideoRecord | str] = {}
    # Reversed, so that the next one is taken from the end of the list.
    waiting = list(by_path)[::-1]

    def record_in_order() -> None:
        while waiting and waiting[-1] in results:
            path = waiting.pop()
            result, source = results.pop(path), by_path[path]
            if isinstance(result, str):
                catalog.skip_source(path, source.fingerprint, result)
            else:
                catalog.add_video(path, source.fingerprint, result)

    def record(job: StageJob[_ProbeJob], video: VideoRecord) -> None:
        results[str(job.payload.path)] = video
        record_in_order()

    def skip(job: StageJob[_ProbeJob], reason: str) -> None:
        results[str(job.payload.path)] = reason
        record_in_order()

    jobs = [StageJob(str(s.path), _ProbeJob(s.path, s.kind, config.fps), 1) for s in todo]
    if jobs:
        workers = min(config.workers, len(jobs))
        run_pool(jobs, _probe, record, skip, label="ingest", workers=workers, console=console, unit="videos")


def _unchanged(catalog: Catalog, source: Source) -> bool:
    known = catalog.source(str(source.path))
    return known is not None and known[0] == source.fingerprint


def _probe(job: _ProbeJob) -> VideoRecord:
    return probe_images(job.path) if job.kind == "images" else probe_video(job.path, job.fps)


def _summarise(catalog: Catalog, found: Found, workspace: Workspace) -> Summary:
    videos = frames = 0
    seconds = 0.0
    for video in catalog.videos():
        videos += 1
        frames += len(video.frame_index)
        seconds += video.duration_s if video.kind == "video" else 0.0
    # Of this call alone: a typo of last week must not make today's run look broken.
    named = {str(source.path) for source in found.sources} | {str(path) for path, _ in found.unusable}
    skipped, duplicates, usable = (
        [(path, reason) for path, reason in catalog.sources(status) if path in named]
        for status in ("skipped", "duplicate", "ok")
    )
    noted = [(path, note) for path, note in usable if note]
    dropped = [Dropped(path, 1, reason) for path, reason in skipped + duplicates]
    dropped += [Dropped(f"part of {path}", 1, note) for path, note in noted]
    return Summary(
        "ingest",
        facts={
            "videos": videos,
            "length": format_duration(seconds),
            "sampled frames": frames,
            "duplicates": len(duplicates),
            "skipped": len(skipped),
            "other files ignored": found.ignored_files,
        },
        dropped=dropped,
        outputs={"catalog": workspace.catalog_path},
        problems=len(skipped),
        hint="simhand detect",
    )
