"""The detect stage: hands of every video that has not been done yet, one shard of crops a video."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.crops.balance import Balance, choose_balance, save_balance
from simhand_cli.crops.crop_set import CROPS_SCHEMA, CROPS_VERSION
from simhand_cli.errors import InputProblem
from simhand_cli.hands.config import DetectConfig
from simhand_cli.hands.detect import DetectJob, detect_video, start_worker
from simhand_cli.hands.landmarker_file import find_landmarker
from simhand_cli.stages.local_pool import StageJob
from simhand_cli.stages.records import CatalogRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.stages.video_stage import pending, run_stage
from simhand_cli.summary import Dropped, Summary
from simhand_cli.workspace.catalog import Catalog, VideoRecord
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5

#: For --dry-run: one frame takes about 25 ms a process (MediaPipe, two hands, decoding included), one crop 9 kB.
_SECONDS_PER_FRAME, _BYTES_PER_CROP = 0.025, 9000


class DetectStage:
    """``simhand detect`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: DetectConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:  # noqa: ARG002 (as every job)
        """Open the workspace and find MediaPipe's model."""
        self.workspace = Workspace.open(self.config.workspace)
        self.landmarker_file = find_landmarker(self.config.model_file)
        # Keypoints are of crops: with new crops the old ones are void.
        self.record = CatalogRecord(
            self.workspace, "detect", "--redo detects again",
            folder=self.workspace.crops_dir, clears=("detect", "keypoints"),
        )  # fmt: skip

    def identity(self) -> Mapping[str, Any]:
        """The options; what was done with each video is in the catalog."""
        return self.config.identity()

    def state(self) -> State:
        """Which videos are left; finished where none is.

        Raises:
            InputProblem: there are no videos.
            UsageProblem: crops were made with other options.
        """
        found = self.record.state(self.identity(), redo=self.config.redo)
        self.jobs = _jobs(self.config, self.record.catalog, self.workspace)
        return found if self.jobs else "finished"

    def dry(self) -> Summary:
        """Frames to look at, with rough disk space and time."""
        frames = sum(job.size for job in self.jobs)
        at_once = min(self.config.workers, max(len(self.jobs), 1))
        return Summary(
            "detect",
            facts={
                "videos to do": len(self.jobs),
                "frames": frames,
                "crops, about": format_bytes(frames * _BYTES_PER_CROP * min(self.config.max_hands, 1.2)),
                "time, roughly": format_duration(frames * _SECONDS_PER_FRAME / at_once),
            },
        )

    def run(self, console: Console) -> Summary:
        """Detect in the videos that are left, then choose which crops are used.

        Raises:
            InputProblem: no hand in any video.
        """
        if self.jobs:
            run_stage(
                self.record.catalog,
                "detect",
                self.jobs,
                detect_video,
                workers=min(self.config.workers, len(self.jobs)),
                console=console,
                unit="frames",
                initializer=start_worker,
                initargs=(self.landmarker_file, self.config.max_hands, self.config.min_confidence),
            )
        return _balance_and_summarise(self.config, self.record.catalog, self.workspace)


def _jobs(config: DetectConfig, catalog: Catalog, workspace: Workspace) -> list[StageJob[DetectJob]]:
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


def _balance_and_summarise(config: DetectConfig, catalog: Catalog, workspace: Workspace) -> Summary:
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
    # One video without hands is normal; none with any is a mistake in options or input.
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
