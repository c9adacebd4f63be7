"""Labelled synthetic sets: sharded HDF5 with pictures, masks and exact labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.synth import SET_SCHEMA, SHARD_SCHEMA, VERSION, shard_path
from simhand_cli.synth.backgrounds import Backdrop
from simhand_cli.synth.camera import View
from simhand_cli.synth.sampling import LabelledShot, labelled_shot
from simhand_cli.synth.work import do_all
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.shards import open_h5, pack_blobs, write_h5
from simhand_cli.workspace.stage_runner import StageJob

SHARD_SAMPLES: Final = 128


@dataclass(frozen=True)
class SetPlan:
    """What a labelled set is made of; sizes of the splits follow from it."""

    seed: int
    count: int
    subjects: int
    test_fraction: float
    image_px: int
    view: View
    backdrop: Backdrop | None
    vertices: bool
    depth: bool

    def splits(self) -> dict[str, tuple[range, range]]:
        """Split -> (numbers of its samples, numbers of its people); people of train and test differ."""
        held_out = 0
        if self.test_fraction > 0 and self.subjects > 1:
            held_out = min(max(round(self.subjects * self.test_fraction), 1), self.subjects - 1)
        test = round(self.count * held_out / self.subjects)
        test = min(max(test, 1 if held_out else 0), self.count - 1)
        kept = self.subjects - held_out
        splits = {"train": (range(self.count - test), range(kept))}
        if test:
            splits["test"] = (range(self.count - test, self.count), range(kept, self.subjects))
        return splits


@dataclass(frozen=True)
class ShardJob:
    """One shard: which pictures, of which people."""

    path: Path
    plan: SetPlan
    numbers: tuple[int, ...]
    people: tuple[int, ...]


def shard_jobs(folder: Path, plan: SetPlan) -> list[ShardJob]:
    """All shards of a set; consecutive pictures show the same person, whose skin is then painted once."""
    jobs = []
    for split, (numbers, people) in plan.splits().items():
        for shard, start in enumerate(range(0, len(numbers), SHARD_SAMPLES)):
            chosen = range(start, min(start + SHARD_SAMPLES, len(numbers)))
            who = tuple(people[i * len(people) // len(numbers)] for i in chosen)
            jobs.append(ShardJob(shard_path(folder, split, shard), plan, tuple(numbers[i] for i in chosen), who))
    return jobs


def is_done(job: ShardJob) -> bool:
    """Whether the shard is there, readable and complete."""
    try:
        with open_h5(job.path, SHARD_SCHEMA, VERSION) as file:
            return bool(np.array_equal(file["number"][:], job.numbers))
    except (InputProblem, OSError, KeyError):
        return False


def make_shard(job: ShardJob) -> None:
    """Render and write one shard."""
    plan = job.plan
    shots = [
        labelled_shot(plan.seed, number, who, plan.view, plan.image_px, plan.backdrop)
        for number, who in zip(job.numbers, job.people, strict=True)
    ]
    blobs: dict[str, list[bytes]] = {"jpeg": [], "mask": []}
    for shot in shots:
        blobs["jpeg"].append(encode_jpeg(shot.shot.image_rgb, shot.jpeg_quality))
        blobs["mask"].append(_png((shot.shot.coverage >= 0.5).astype(np.uint8) * 255))
        if plan.depth:
            tenths = np.clip(np.round(shot.shot.depth_mm * 10), 0, 65535).astype(np.uint16)
            blobs.setdefault("depth", []).append(_png(tenths))
    arrays: dict[str, NDArray[Any]] = {}
    for name, encoded in blobs.items():
        arrays[name], arrays[f"{name}_offsets"] = pack_blobs(encoded)
    arrays |= _label_columns(shots, job.numbers, plan.vertices)
    write_h5(job.path, SHARD_SCHEMA, VERSION, arrays, {"seed": plan.seed, "image_px": plan.image_px, "view": plan.view})


def _label_columns(shots: list[LabelledShot], numbers: tuple[int, ...], vertices: bool) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "number": np.array(numbers, np.int64),
        "joints_mm": np.stack([s.shot.joints_mm for s in shots]),
        "joints_px": np.stack([s.shot.joints_px for s in shots]),
        "intrinsics": np.stack([s.shot.intrinsics for s in shots]),
        "hand": np.array([not s.left for s in shots], np.uint8),
        "subject": np.array([s.subject for s in shots], "S16"),
        "grasp": np.array([s.grasp for s in shots], "S16"),
        "backdrop": np.array([s.backdrop for s in shots], "S16"),
        "tone": np.array([s.tone for s in shots], np.float32),
        "palm_facing": np.array([s.palm_facing for s in shots], np.float32),
    }
    if vertices:
        columns["vertices_mm"] = np.stack([s.shot.vertices_mm for s in shots]).astype(np.float32)
    return columns


def encode_jpeg(image_rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB picture."""
    import cv2

    return bytes(cv2.imencode(".jpg", image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def _png(image: NDArray[Any]) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())


def make_set(folder: Path, plan: SetPlan, workers: int, console: Console) -> tuple[int, int]:
    """Make all shards of a set that are not there yet, then its card; shards that are there are of the same recipe.

    Returns:
        number of shards, and how many of them were found finished.
    """
    jobs = shard_jobs(folder, plan)
    todo = [job for job in jobs if not is_done(job)]
    if todo:
        (folder / "dataset.json").unlink(missing_ok=True)  # the card says: complete
    do_all(
        [StageJob(job.path.name, job, len(job.numbers)) for job in todo],
        make_shard, workers=workers, console=console, label="synth", unit="pictures",
    )  # fmt: skip
    if todo or not (folder / "dataset.json").is_file():
        write_json(folder / "dataset.json", _card(plan, jobs))
    return len(jobs), len(jobs) - len(todo)


def _card(plan: SetPlan, jobs: list[ShardJob]) -> dict[str, Any]:
    """The dataset card: splits, options, and how the samples spread over tones, sides, views, grasps and backdrops."""
    splits = {
        split: {
            "samples": len(numbers),
            "shards": -(-len(numbers) // SHARD_SAMPLES),
            "subjects": [f"p{k:05d}" for k in people],
        }
        for split, (numbers, people) in plan.splits().items()
    }
    columns: dict[str, list[NDArray[Any]]] = {n: [] for n in ("tone", "palm_facing", "hand", "grasp", "backdrop")}
    for job in jobs:
        with open_h5(job.path, SHARD_SCHEMA, VERSION) as file:
            for name, parts in columns.items():
                parts.append(file[name][:])
    full = {name: np.concatenate(parts) for name, parts in columns.items()}
    facing = np.digitize(full["palm_facing"], (-0.5, 0.5))
    return {
        "schema": SET_SCHEMA,
        "schema_version": VERSION,
        "seed": plan.seed,
        "image_px": plan.image_px,
        "view": plan.view,
        "samples": plan.count,
        "subjects": plan.subjects,
        "splits": splits,
        "counts": {
            "skin tone, light to dark quarters": np.bincount((full["tone"] * 4).astype(int), minlength=4).tolist(),
            "hand": {"left": int((full["hand"] == 0).sum()), "right": int(full["hand"].sum())},
            "seen from": dict(zip(("back", "side", "palm"), np.bincount(facing, minlength=3).tolist(), strict=True)),
            "grasp": _tally(full["grasp"]),
            "backdrop": _tally(full["backdrop"]),
        },
    }


def _tally(values: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {name.decode(): int(count) for name, count in zip(names, counts, strict=True)}
