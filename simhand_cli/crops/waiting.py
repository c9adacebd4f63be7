"""Videos of the catalog that have no keypoints yet, by the command they wait for."""

from simhand_cli.summary import Dropped
from simhand_cli.workspace.catalog import Catalog

#: Stage -> what to run for a video that it has still to do.
_COMMANDS = {"detect": "simhand detect, simhand keypoints", "keypoints": "simhand keypoints"}


def waiting_videos(catalog: Catalog) -> dict[str, list[str]]:
    """Stage (detect, keypoints) -> paths of the videos that it has still to do, or failed on."""
    detected, estimated = catalog.stage("detect"), catalog.stage("keypoints")
    waiting: dict[str, list[str]] = {"detect": [], "keypoints": []}
    for video in catalog.videos():
        found, points = detected.get(video.video_id), estimated.get(video.video_id)
        if found is None or (found.status == "failed" and (points is None or points.status != "done")):
            waiting["detect"].append(video.path)
        elif found.status != "skipped" and (points is None or points.status != "done"):
            waiting["keypoints"].append(video.path)
    return waiting


def waiting_dropped(waiting: dict[str, list[str]]) -> list[Dropped]:
    """The summary's lines on videos that wait: the first one's name, how many, and the command to run."""
    return [
        Dropped(
            f"video {paths[0]}" if len(paths) == 1 else f"videos, first: {paths[0]}",
            len(paths),
            f"{stage} has still to do {'it' if len(paths) == 1 else 'them'}, or failed",
            _COMMANDS[stage],
        )
        for stage, paths in waiting.items()
        if paths
    ]
