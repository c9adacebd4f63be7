"""Options of ``simhand ingest``."""

from pathlib import Path

from simhand_cli.config.base import CommandConfig, argument, option
from simhand_cli.workspace.cores import usable_cores


class IngestConfig(CommandConfig):
    """Options of ``simhand ingest``."""

    paths: list[Path] = argument("Videos, folders of videos, folders of images", min_length=1)
    fps: float = option(1.0, "Frames sampled per second of video, by timestamp", gt=0, le=1000, common=True)
    workers: int = option(usable_cores(), "Processes that decode", ge=1, le=1024, common=True)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Paths add up over calls; workers only change the speed."""
        return frozenset({"paths", "workers"})
