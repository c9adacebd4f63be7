"""Register videos and image folders in the workspace's catalog."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.video.find import Found, Source
    from simhand_cli.workspace.catalog import Catalog, VideoRecord
    from simhand_cli.workspace.paths import Workspace
from simhand_cli.video.config import IngestConfig

EXAMPLES = (
    "simhand ingest videos/",
    "simhand ingest videos/ --fps 2 --dry-run",
    "simhand ingest videos/one.mp4 videos/two.MOV --workspace my-hands",
)

#: For --dry-run: compressed video is decoded at about 5 MB a second and process.
_BYTES_PER_SECOND = 5e6


@dataclass(frozen=True)
class _ProbeJob:
    path: Path
    kind: str
    fps: float


def ingest(config: IngestConfig, console: Console | None = None) -> Summary:
    """Probe every video and image folder below the paths and record it in the catalog.

    Each file is decoded once, to know which frames exist; frames are not stored. Unchanged files are not read again.

    Raises:
        InputProblem: nothing usable was found.
    """
    from simhand_cli.config.resolve import save_config
    from simhand_cli.stages.refuse_changes import refuse_changes
    from simhand_cli.video.find import find_sources
    from simhand_cli.workspace.catalog import Catalog
    from simhand_cli.workspace.lock import workspace_lock
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    workspace = Workspace(config.workspace)
    found = find_sources(config.paths)
    if not found.sources:
        _refuse_nothing(found.unusable, found.ignored_files)
    if config.dry_run:
        return _plan(config, found)
    with workspace_lock(workspace.root, "ingest"), Catalog(workspace.catalog_path) as catalog:
        if config.redo:
            catalog.clear_all()
        refuse_changes(
            "ingest",
            catalog.stage_config("ingest"),
            config.identity(),
            "--redo starts over, --workspace chooses another folder",
        )
        catalog.set_stage_config("ingest", config.identity())
        for path, reason in found.unusable:
            catalog.skip_source(str(path), "", reason)
        _probe_all(config, found, catalog, console)
        if catalog.video_count() == 0:
            catalog.clear_stage("ingest")  # nothing was begun that other options could mix with
            _refuse_nothing([(Path(p), reason) for p, reason in catalog.sources("skipped")], found.ignored_files)
        save_config(config, workspace.root / "ingest.yaml")
        return _summarise(catalog, found, workspace)


def _refuse_nothing(unusable: list[tuple[Path, str]], ignored_files: int) -> None:
    if unusable:
        path, reason = unusable[0]
        more = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise InputProblem(f"{path}: {reason}{more}")
    raise InputProblem(f"no video or image found in the given paths ({ignored_files} other files)")


def _plan(config: IngestConfig, found: "Found") -> Summary:
    size = sum(source.size_bytes for source in found.sources)
    return Summary(
        "ingest",
        facts={
            "videos": sum(s.kind == "video" for s in found.sources),
            "image folders": sum(s.kind == "images" for s in found.sources),
            "to read": format_bytes(size),
            "time, roughly": format_duration(size / _BYTES_PER_SECOND / config.workers),
        },
        dropped=[Dropped(str(path), 1, reason) for path, reason in found.unusable],
        problems=len(found.unusable),
    )


def _probe_all(config: IngestConfig, found: "Found", catalog: "Catalog", console: Console) -> None:
    """Probe in a pool; record in the order of the paths, so that which of two copies counts never depends on timing."""
    from simhand_cli.stages.local_pool import StageJob, run_pool

    todo = [s for s in found.sources if not _unchanged(catalog, s)]
    by_path = {str(source.path): source for source in todo}
    results: dict[str, VideoRecord | str] = {}
    waiting = list(by_path)[::-1]

    def record_in_order() -> None:
        while waiting and waiting[-1] in results:
            path = waiting.pop()
            result, source = results.pop(path), by_path[path]
            if isinstance(result, str):
                catalog.skip_source(path, source.fingerprint, result)
            else:
                catalog.add_video(path, source.fingerprint, result)

    def record(job: StageJob[_ProbeJob], video: "VideoRecord") -> None:
        results[str(job.payload.path)] = video
        record_in_order()

    def skip(job: StageJob[_ProbeJob], reason: str) -> None:
        results[str(job.payload.path)] = reason
        record_in_order()

    jobs = [StageJob(str(s.path), _ProbeJob(s.path, s.kind, config.fps), 1) for s in todo]
    if jobs:
        workers = min(config.workers, len(jobs))
        run_pool(jobs, _probe, record, skip, label="ingest", workers=workers, console=console, unit="videos")


def _unchanged(catalog: "Catalog", source: "Source") -> bool:
    known = catalog.source(str(source.path))
    return known is not None and known[0] == source.fingerprint


def _probe(job: _ProbeJob) -> "VideoRecord":
    from simhand_cli.video.probe import probe_images, probe_video

    return probe_images(job.path) if job.kind == "images" else probe_video(job.path, job.fps)


def _summarise(catalog: "Catalog", found: "Found", workspace: "Workspace") -> Summary:
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
