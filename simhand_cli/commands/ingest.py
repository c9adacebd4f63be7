"""Register videos and image folders in the workspace's catalog."""

from simhand_cli.console import Console
from simhand_cli.summary import Summary
from simhand_cli.video.config import IngestConfig

EXAMPLES = (
    "simhand ingest videos/",
    "simhand ingest videos/ --fps 2 --dry-run",
    "simhand ingest videos/one.mp4 videos/two.MOV --workspace my-hands",
)


def ingest(config: IngestConfig, console: Console | None = None) -> Summary:
    """Probe every video and image folder below the paths and record it in the catalog.

    Each file is decoded once, to know which frames exist; frames are not stored. Unchanged files are not read again.

    Args:
        config: see :class:`IngestConfig`; an option left open takes the value the workspace was begun with.
        console: for messages and progress; a quiet one if absent.

    Returns:
        videos, their length and sampled frames, and what could not be used.

    Raises:
        InputProblem: nothing usable was found.
        UsageProblem: the workspace's frames were sampled with other options, without ``--redo``.
    """
    from simhand_cli.stages.job import run_job
    from simhand_cli.video.ingest import Ingest

    return run_job(Ingest(config), console)
