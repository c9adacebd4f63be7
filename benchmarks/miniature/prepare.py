"""Data of the comparison: synthetic videos up to mined pairs, and the labelled set of other people."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scales import FPS, LABEL_SEED, VIDEO_SEED, Scale
from simhand_command import simhand

from simhand_cli.workspace.atomic import write_json

#: Frames and pictures of synthetic people hold no second hand.
_HANDS = 1
_LABELLED_PX = 128


@dataclass(frozen=True)
class Places:
    """Where everything of one scale lies, and the real labelled set, None where it is absent."""

    work: Path
    real: Path | None

    def workspace(self, videos: int | None = None) -> Path:
        """The workspace of all videos, or of the first so many."""
        return self.work / ("workspace" if videos is None else f"workspace-{videos}")

    @property
    def videos(self) -> Path:
        """Synthetic videos."""
        return self.work / "videos"

    @property
    def labelled(self) -> Path:
        """Labelled pictures of other people."""
        return self.work / "labelled"

    @property
    def results(self) -> Path:
        """A file for every finished cell."""
        return self.work / "results"

    @property
    def log(self) -> Path:
        """What the commands said."""
        return self.work / "commands.log"


#: What may change from one start to the next: it changes no training that is there.
_FREE = ("hours", "at_once", "threads", "workers", "sizes", "fractions")


def refuse_other_settings(scale: Scale, places: Places) -> None:
    """Results of one folder are of one scale's settings; the first start notes them.

    Raises:
        SystemExit: the folder's results were made with others, which are named.
    """
    note = places.work / "settings.json"
    settings = json.loads(json.dumps(dataclasses.asdict(scale)))
    wanted = {name: value for name, value in settings.items() if name not in _FREE}
    known = json.loads(note.read_text()) if note.is_file() else wanted
    changed = [f"{k}={known.get(k)}, now {v}" for k, v in wanted.items() if known.get(k) != v]
    if changed:
        raise SystemExit(f"--work {places.work} was made with {'; '.join(changed)}: name another folder")
    write_json(note, wanted)


def prepare(scale: Scale, places: Places) -> dict[str, Any]:
    """Make all that the main table needs, or find it made. Returns every step's facts and seconds."""
    synthetic = {
        "videos": (
            "synth", "--format", "videos", "--count", scale.videos, "--frames", scale.frames, "--fps", FPS,
            "--frame-width", scale.frame_px, "--frame-height", scale.frame_px, "--seed", VIDEO_SEED,
            "--out", places.videos,
        ),
        "labelled": (
            "synth", "--count", scale.labelled, "--subjects", scale.people, "--test-fraction", 0.2,
            "--image-px", _LABELLED_PX, "--seed", LABEL_SEED, "--out", places.labelled,
        ),
    }  # fmt: skip
    steps = {"videos": synthetic["videos"], **_to_pairs(scale, places), "labelled": synthetic["labelled"]}
    return _finished_steps(steps, places.work / "prepared.json", places.log)


def prepare_part(scale: Scale, places: Places, videos: int) -> dict[str, Any]:
    """The same stages over the first so many videos, in a workspace of their own: pairs are mined among them alone."""
    workspace = places.workspace(videos)
    return _finished_steps(_to_pairs(scale, places, videos), workspace / "prepared.json", places.log)


def _to_pairs(scale: Scale, places: Places, videos: int | None = None) -> dict[str, tuple[object, ...]]:
    """The stages from videos to pairs."""
    place = ("--workspace", places.workspace(videos))
    names = [f"person-{number:05d}.mp4" for number in range(videos or 0)]
    filmed = [places.videos / name for name in names] or [places.videos]
    neighbours = max(scale.ranks) if videos is None else 1
    return {
        "ingest": ("ingest", *filmed, "--fps", FPS, *place),
        "detect": ("detect", "--max-hands", _HANDS, "--crop-size-px", scale.crop_px, *place),
        "keypoints": ("keypoints", *place),
        "mine": ("mine", "--topk", neighbours, "--search", "exact", *place),
    }


def _finished_steps(steps: dict[str, tuple[object, ...]], record: Path, log: Path) -> dict[str, Any]:
    if record.is_file():
        known: dict[str, Any] = json.loads(record.read_text())
        return known
    facts: dict[str, Any] = {}
    for name, words in steps.items():
        print(f"prepare: {name}", flush=True)
        done = simhand(*words, log=log)
        facts[name] = {**done["facts"], "seconds": done["seconds"]}
    write_json(record, facts)
    return facts
