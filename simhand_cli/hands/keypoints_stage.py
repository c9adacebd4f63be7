"""The keypoints stage: 21 joints of every crop that has none yet, one shard a video."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from simhand_cli.console import Console, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.hands.config import KeypointsConfig
from simhand_cli.hands.detect import start_worker
from simhand_cli.hands.keypoints import KeypointsJob, estimate_video
from simhand_cli.hands.landmarker_file import find_landmarker
from simhand_cli.stages.local_pool import StageJob
from simhand_cli.stages.records import CatalogRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.stages.video_stage import pending, run_stage
from simhand_cli.summary import Dropped, Summary
from simhand_cli.workspace.catalog import Catalog
from simhand_cli.workspace.paths import Workspace

#: For --dry-run: one crop takes about 18 ms a process.
_SECONDS_PER_CROP = 0.018


class KeypointsStage:
    """``simhand keypoints`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: KeypointsConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:  # noqa: ARG002 (as every job)
        """Open the workspace and find MediaPipe's model."""
        self.workspace = Workspace.open(self.config.workspace)
        self.landmarker_file = find_landmarker(self.config.model_file)
        self.record = CatalogRecord(
            self.workspace, "keypoints", "--redo estimates again",
            folder=self.workspace.keypoints_dir, clears=("keypoints",),
        )  # fmt: skip

    def identity(self) -> Mapping[str, Any]:
        """The options; what was done with each video is in the catalog."""
        return self.config.identity()

    def state(self) -> State:
        """Which videos are left; finished where none is.

        Raises:
            InputProblem: there are no crops.
            UsageProblem: keypoints were estimated with other options.
        """
        found = self.record.state(self.identity(), redo=self.config.redo)
        self.jobs = _jobs(self.config, self.record.catalog, self.workspace)
        return found if self.jobs else "finished"

    def dry(self) -> Summary:
        """Crops to look at, with a rough time."""
        crops = sum(job.size for job in self.jobs)
        time_s = crops * _SECONDS_PER_CROP / min(self.config.workers, max(len(self.jobs), 1))
        facts: dict[str, int | float | str] = {"videos to do": len(self.jobs), "crops": crops}
        return Summary("keypoints", facts | {"time, roughly": format_duration(time_s)})

    def run(self, console: Console) -> Summary:
        """Estimate the joints of the crops that are left.

        Raises:
            InputProblem: no crop has keypoints that can be used.
        """
        if self.jobs:
            run_stage(
                self.record.catalog,
                "keypoints",
                self.jobs,
                estimate_video,
                workers=min(self.config.workers, len(self.jobs)),
                console=console,
                unit="crops",
                initializer=start_worker,
                # Two hands: the other hand of the person must not be taken for the crop's own.
                initargs=(self.landmarker_file, 2, self.config.min_confidence),
            )
        return _summarise(self.record.catalog, self.workspace)


def _jobs(config: KeypointsConfig, catalog: Catalog, workspace: Workspace) -> list[StageJob[KeypointsJob]]:
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
    # The longest first, so that the pool does not end with one worker on a long video.
    return sorted(jobs, key=lambda job: (-job.size, job.video_id))


def _summarise(catalog: Catalog, workspace: Workspace) -> Summary:
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
        hint="simhand mine",
    )
