"""Where everything of one project lies, and what is kept for all projects of a user."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simhand_cli.errors import InputProblem, UsageProblem

#: What a finished pre-training run holds: its encoder.
BACKBONE_FILE: Final = "backbone.safetensors"


def cache_dir() -> Path:
    """Where a user may put model files, and labels are kept: ``$SIMHAND_CACHE`` or ``~/.cache/simhand``."""
    chosen = os.environ.get("SIMHAND_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "simhand"


@dataclass(frozen=True)
class Workspace:
    """The folder of one project (design: records)."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Workspace":
        """An existing workspace.

        Raises:
            InputProblem: there is no catalog at ``root``.
        """
        workspace = cls(root)
        if not workspace.catalog_path.is_file():
            lacking = f"no catalog in {root}" if root.is_dir() else f"no workspace at {root}"
            raise InputProblem(f"{lacking}: run 'simhand ingest VIDEOS/' first, or point --workspace to another folder")
        return workspace

    @property
    def catalog_path(self) -> Path:
        """The SQLite catalog of videos and stages."""
        return self.root / "catalog.sqlite"

    @property
    def crops_dir(self) -> Path:
        """Hand crops, one HDF5 shard per video."""
        return self.root / "crops"

    @property
    def keypoints_dir(self) -> Path:
        """Keypoints, one HDF5 shard per video."""
        return self.root / "keypoints"

    @property
    def mining_dir(self) -> Path:
        """Pose embeddings, index and pairs."""
        return self.root / "mining"

    @property
    def runs_dir(self) -> Path:
        """Training and evaluation runs."""
        return self.root / "runs"

    @property
    def synth_dir(self) -> Path:
        """Synthetic data made by ``simhand synth`` without ``--out``."""
        return self.root / "synth"

    def crops_shard(self, video_id: str) -> Path:
        """The crops shard of one video."""
        return self.crops_dir / f"{video_id}.h5"

    def keypoints_shard(self, video_id: str) -> Path:
        """The keypoints shard of one video."""
        return self.keypoints_dir / f"{video_id}.h5"

    def run_dir(self, command: str, name: str) -> Path:
        """The folder of a run, ``runs/<command>-<name>``.

        Raises:
            UsageProblem: a name that is not one plain folder name.
        """
        # A name with "../" in it would write, and with --redo delete, elsewhere.
        if not name or Path(name).name != name or name in (".", ".."):
            raise UsageProblem(f"--name {name!r} must be a plain name without slashes")
        return self.runs_dir / f"{command}-{name}"

    def latest_run(self, command: str, artefact: str) -> Path | None:
        """The newest run folder of ``command`` that holds a finished ``artefact``, or None."""
        found = [p for p in self.runs_dir.glob(f"{command}-*/{artefact}") if p.is_file()]
        # Names break ties of clocks that count seconds only.
        return max(found, key=lambda p: (p.stat().st_mtime_ns, p.parent.name)).parent if found else None
