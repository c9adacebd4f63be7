"""Running one stage over videos: a pool of processes, one shard per video, done work skipped, failures recorded."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from simhand_cli.console import Console
from simhand_cli.stages.local_pool import Payload, StageJob, run_pool
from simhand_cli.workspace.catalog import Catalog, StageRecord


def pending(catalog: Catalog, stage: str, video_ids: Iterable[str], shard: Callable[[str], Path]) -> list[str]:
    """Videos the stage has still to do: not recorded, failed before, or done with a shard that is missing or cut short.

    A failure is tried again, since its reason may have passed (a drive not mounted, a worker killed for memory).
    """
    records = catalog.stage(stage)

    def is_done(video_id: str) -> bool:
        record = records.get(video_id)
        if record is None or record.status == "failed":
            return False
        if record.status == "skipped":
            return True
        path = shard(video_id)
        return path.is_file() and path.stat().st_size == record.bytes

    return [v for v in video_ids if not is_done(v)]


def run_stage(
    catalog: Catalog,
    stage: str,
    jobs: Sequence[StageJob[Payload]],
    work: Callable[[Payload], StageRecord],
    *,
    workers: int,
    console: Console,
    unit: str,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[object, ...] = (),
) -> None:
    """Do every video's work in a pool and record each result as it comes; what fails is recorded with its reason."""

    def record(_job: StageJob[Payload], result: StageRecord) -> None:
        catalog.record_stage(stage, result)

    def skip(job: StageJob[Payload], reason: str) -> None:
        catalog.record_stage(stage, StageRecord(job.video_id, "failed", reason=reason))

    run_pool(
        jobs,
        work,
        record,
        skip,
        label=stage,
        workers=workers,
        console=console,
        unit=unit,
        initializer=initializer,
        initargs=initargs,
    )
