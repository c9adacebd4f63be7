"""Find hands in the sampled frames and store right-handed crops."""

from collections import Counter
from typing import TYPE_CHECKING

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.hands.detect import DetectJob
    from simhand_cli.stages.local_pool import StageJob
    from simhand_cli.workspace.catalog import Catalog, VideoRecord
    from simhand_cli.workspace.paths import Workspace
from simhand_cli.hands.config import DetectConfig

EXAMPLES = (
    "simhand detect",
    "simhand detect --max-hands 1 --no-balance --dry-run",
    "simhand detect --workers 2 --json",
)

#: For --dry-run: one frame takes about 25 ms a process (MediaPipe, two hands, decoding included), one crop 9 kB.
_SECONDS_PER_FRAME, _BYTES_PER_CROP = 0.025, 9000


def detect(config: DetectConfig, console: Console | None = None) -> Summary:
    """Detect hands in every video that has not been done yet; one crops shard per video.

    Raises:
        InputProblem: no workspace, or no hand in any video.
    """
    from simhand_cli.config.resolve import save_config
    from simhand_cli.hands.detect import detect_video, start_worker
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
    with workspace_lock(workspace.root, "detect"), Catalog(workspace.catalog_path) as catalog:
        if not config.redo:
            refuse_changes("detect", catalog.stage_config("detect"), config.identity(), "--redo detects again")
        jobs = _jobs(config, catalog, workspace)
        if config.dry_run:
            return _plan(config, jobs)
        if config.redo:
            catalog.clear_stage("detect", "keypoints")
        workspace.crops_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(workspace.crops_dir)
        catalog.set_stage_config("detect", config.identity())
        save_config(config, workspace.crops_dir / "config.yaml")
        if jobs:
            run_stage(
                catalog,
                "detect",
                jobs,
                detect_video,
                workers=min(config.workers, len(jobs)),
                console=console,
                unit="frames",
                initializer=start_worker,
                initargs=(model_file, config.max_hands, config.min_confidence),
            )
        return _balance_and_summarise(config, catalog, workspace)


def _jobs(config: DetectConfig, catalog: "Catalog", workspace: "Workspace") -> "list[StageJob[DetectJob]]":
    from simhand_cli.hands.detect import DetectJob
    from simhand_cli.stages.local_pool import StageJob
    from simhand_cli.stages.video_stage import pending

    videos: dict[str, VideoRecord] = {video.video_id: video for video in catalog.videos()}
    if not videos:
        raise InputProblem(f"the catalog of {workspace.root} has no videos: run 'simhand ingest VIDEOS/' first")
    todo = list(videos) if config.redo else pending(catalog, "detect", videos, workspace.crops_shard)
    jobs = [
        StageJob(
            video_id,
            DetectJob(
                video_id=video_id,
                path=videos[video_id].path,
                kind=videos[video_id].kind,
                frame_index=videos[video_id].frame_index,
                shard=workspace.crops_shard(video_id),
                crop_size_px=config.crop_size_px,
                margin=config.margin,
                jpeg_quality=config.jpeg_quality,
                min_hand_px=config.min_hand_px,
                seed=config.seed,
            ),
            len(videos[video_id].frame_index),
        )
        for video_id in todo
    ]
    # The longest first: the pool then ends with small ones, not with one worker on a long video.
    return sorted(jobs, key=lambda job: (-job.size, job.video_id))


def _plan(config: DetectConfig, jobs: "list[StageJob[DetectJob]]") -> Summary:
    frames = sum(job.size for job in jobs)
    return Summary(
        "detect",
        facts={
            "videos to do": len(jobs),
            "frames": frames,
            "crops, about": format_bytes(frames * _BYTES_PER_CROP * min(config.max_hands, 1.2)),
            "time, roughly": format_duration(frames * _SECONDS_PER_FRAME / min(config.workers, max(len(jobs), 1))),
        },
    )


def _balance_and_summarise(config: DetectConfig, catalog: "Catalog", workspace: "Workspace") -> Summary:
    import numpy as np

    from simhand_cli.crops.balance import Balance, choose_balance, save_balance
    from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION
    from simhand_cli.workspace.shards import open_h5

    records = catalog.stage("detect")
    counts: Counter[str] = Counter()
    sides, keys = [np.zeros(0, np.uint8)], [np.zeros(0, np.uint64)]
    for record in records.values():
        counts.update(record.counts or {})
        if record.status == "done":
            with open_h5(workspace.crops_shard(record.video_id), CROPS_SCHEMA, CROPS_VERSION) as file:
                sides.append(file["handedness"][:])
                keys.append(file["balance_key"][:])
    handedness, key = np.concatenate(sides), np.concatenate(keys)
    if len(handedness) == 0:
        reason = next((r.reason for r in records.values() if r.reason), "")
        raise InputProblem(f"no hand was found in any of {len(records)} videos ({reason}); try --min-confidence 0.3")
    balance = choose_balance(handedness, key) if config.balance else Balance()
    save_balance(catalog, balance)
    unused = int((~balance.selected(handedness, key)).sum())
    without_hand = [r for r in records.values() if r.status == "skipped"]
    broken = [r for r in records.values() if r.status == "failed"]
    dropped = [
        Dropped("frames", counts["frames_lost"], "no longer decode"),
        Dropped("frames", counts["frames"] - counts["frames_with_hand"], "no hand found", "--min-confidence"),
        Dropped("hands", counts["too_small"], "too small", "--min-hand-px"),
        Dropped("hands", counts["seen_twice"], "seen twice in one frame"),
        Dropped("crops", unused, "kept on disk but unused: right/left balance", "--no-balance"),
        Dropped("videos", len(without_hand), "no hand in any sampled frame", "ingest --fps"),
        *(Dropped(f"video {r.video_id}", 1, r.reason, "run again") for r in broken),
    ]
    return Summary(
        "detect",
        facts={
            "videos": len(records),
            "frames": counts["frames"],
            "frames with a hand": counts["frames_with_hand"],
            "share of frames with a hand": counts["frames_with_hand"] / max(counts["frames"], 1),
            "right hands": counts["right"],
            "left hands (mirrored)": counts["left"],
            "crops used": len(handedness) - unused,
        },
        dropped=[d for d in dropped if d.count],
        outputs={"crops": workspace.crops_dir},
        problems=len(broken),
        hint="simhand keypoints",
    )
