"""Estimate 21 joints in every crop."""

from collections import Counter
from typing import TYPE_CHECKING

from simhand_cli.console import Console, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.hands.keypoints import KeypointsJob
    from simhand_cli.stages.local_pool import StageJob
    from simhand_cli.workspace.catalog import Catalog
    from simhand_cli.workspace.paths import Workspace
from simhand_cli.hands.config import KeypointsConfig

EXAMPLES = ("simhand keypoints", "simhand keypoints --workers 2 --dry-run", "simhand keypoints --json")

#: For --dry-run: one crop takes about 18 ms a process.
_SECONDS_PER_CROP = 0.018


def keypoints(config: KeypointsConfig, console: Console | None = None) -> Summary:
    """Estimate joints for every video whose crops have none yet; one keypoints shard per video.

    Raises:
        InputProblem: there are no crops.
    """
    from simhand_cli.config.resolve import save_config
    from simhand_cli.hands.detect import start_worker
    from simhand_cli.hands.keypoints import estimate_video
    from simhand_cli.hands.landmarker_file import find_hand_model
    from simhand_cli.stages.refuse_changes import refuse_changes
    from simhand_cli.stages.video_stage import run_stage
    from simhand_cli.workspace.atomic import remove_leftovers
    from simhand_cli.workspace.catalog import Catalog
    from simhand_cli.workspace.lock import workspace_lock
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    workspace = Workspace.open(config.workspace)
    model_file = find_hand_model(config.model_file)
    with workspace_lock(workspace.root, "keypoints"), Catalog(workspace.catalog_path) as catalog:
        if not config.redo:
            refuse_changes("keypoints", catalog.stage_config("keypoints"), config.identity(), "--redo estimates again")
        jobs = _jobs(config, catalog, workspace)
        if config.dry_run:
            crops = sum(job.size for job in jobs)
            time_s = crops * _SECONDS_PER_CROP / min(config.workers, max(len(jobs), 1))
            facts: dict[str, int | float | str] = {"videos to do": len(jobs), "crops": crops}
            return Summary("keypoints", facts | {"time, roughly": format_duration(time_s)})
        if config.redo:
            catalog.clear_stage("keypoints")
        workspace.keypoints_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(workspace.keypoints_dir)
        catalog.set_stage_config("keypoints", config.identity())
        save_config(config, workspace.keypoints_dir / "config.yaml")
        if jobs:
            run_stage(
                catalog,
                "keypoints",
                jobs,
                estimate_video,
                workers=min(config.workers, len(jobs)),
                console=console,
                unit="crops",
                initializer=start_worker,
                # Two hands: the other hand of the person must not be taken for the crop's own.
                initargs=(model_file, 2, config.min_confidence),
            )
        return _summarise(catalog, workspace)


def _jobs(config: KeypointsConfig, catalog: "Catalog", workspace: "Workspace") -> "list[StageJob[KeypointsJob]]":
    from simhand_cli.hands.keypoints import KeypointsJob
    from simhand_cli.stages.local_pool import StageJob
    from simhand_cli.stages.video_stage import pending

    detected = {v: r for v, r in catalog.stage("detect").items() if r.status == "done"}
    if not detected:
        raise InputProblem(f"no crops in {workspace.root}: run 'simhand detect' first")
    todo = list(detected) if config.redo else pending(catalog, "keypoints", detected, workspace.keypoints_shard)
    jobs = []
    for video_id in todo:
        record = detected[video_id]
        counts = record.counts or {}
        payload = KeypointsJob(
            video_id, workspace.crops_shard(video_id), record.sha256, workspace.keypoints_shard(video_id)
        )
        jobs.append(StageJob(video_id, payload, counts.get("left", 0) + counts.get("right", 0)))
    return sorted(jobs, key=lambda job: (-job.size, job.video_id))


def _summarise(catalog: "Catalog", workspace: "Workspace") -> Summary:
    records = catalog.stage("keypoints")
    tried = catalog.stage("detect").values()
    undetected = catalog.video_count() - sum(record.status != "failed" for record in tried)
    counts: Counter[str] = Counter()
    for record in records.values():
        counts.update(record.counts or {})
    broken = [r for r in records.values() if r.status == "failed"]
    if counts["crops"] == counts["invalid"]:
        raise InputProblem("no crop has usable keypoints; try 'simhand detect --redo --min-hand-px 48'")
    dropped = [
        Dropped("crops", counts["invalid"], "keypoints collapsed or mostly outside the crop"),
        Dropped("videos", undetected, "detect has still to do them, or failed on them", "simhand detect"),
        *(Dropped(f"video {r.video_id}", 1, r.reason, "run again") for r in broken),
    ]
    return Summary(
        "keypoints",
        facts={
            "videos": len(records) - len(broken),
            "crops": counts["crops"],
            "estimated in the crop": counts["from_crop"],
            "taken from detection": counts["from_detection"],
        },
        dropped=[d for d in dropped if d.count],
        outputs={"keypoints": workspace.keypoints_dir},
        problems=len(broken),
        hint="simhand mine --topk 1",
    )
