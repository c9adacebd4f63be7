"""Labelled synthetic sets: sharded HDF5 with pictures, masks and exact labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.readers.synth import SET_SCHEMA, SHARD_SCHEMA, VERSION, shard_path
from simhand_cli.stages.local_pool import StageJob
from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.sets.card import CARD_NAME, tone_quarters, write_card
from simhand_cli.synth.sets.recipe import do_all
from simhand_cli.synth.shots import LabelledShot, labelled_sequence
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.shards import open_h5, pack_blobs, write_h5

#: Pictures of a shard: a 128th of the set, so that processes end together, within what suits a file.
SHARD_SAMPLES: Final = (64, 512)


@dataclass(frozen=True)
class SetPlan:
    """What a labelled set is made of; sizes of the splits follow from it.

    Attributes:
        seed: of everything. sequences, subjects: how many. test_fraction: share of both that is held out.
        image_px: side of the pictures. variety: what may be seen in them.
        frames, cameras: pictures of a sequence are frames x cameras. fps: of its motion.
        vertices, depth: what else is stored.
    """

    seed: int
    sequences: int
    subjects: int
    test_fraction: float
    image_px: int
    variety: Variety
    frames: int = 1
    cameras: int = 1
    fps: float = 15.0
    vertices: bool = False
    depth: bool = False

    @property
    def pictures_each(self) -> int:
        """Pictures of one sequence."""
        return self.frames * self.cameras

    def splits(self) -> dict[str, tuple[range, range]]:
        """Split -> (numbers of its sequences, numbers of its people); people of train and test differ."""
        held_out = 0
        if self.test_fraction > 0 and self.subjects > 1:
            held_out = min(max(round(self.subjects * self.test_fraction), 1), self.subjects - 1)
        test = round(self.sequences * held_out / self.subjects)
        test = min(max(test, 1 if held_out else 0), self.sequences - 1)
        kept = self.subjects - held_out
        splits = {"train": (range(self.sequences - test), range(kept))}
        if test:
            splits["test"] = (range(self.sequences - test, self.sequences), range(kept, self.subjects))
        return splits

    def people_of(self, split: str) -> list[int]:
        """The person of every sequence of a split; neighbours share one, whose skin is then painted once."""
        numbers, people = self.splits()[split]
        return [people[i * len(people) // len(numbers)] for i in range(len(numbers))]


@dataclass(frozen=True)
class ShardJob:
    """One shard: which sequences, of which people."""

    path: Path
    plan: SetPlan
    numbers: tuple[int, ...]
    people: tuple[int, ...]


def shard_jobs(folder: Path, plan: SetPlan) -> list[ShardJob]:
    """All shards of a set; a sequence is never cut in two."""
    jobs = []
    least, most = SHARD_SAMPLES
    # By the plan alone, never by the number of workers: a set must not depend on the machine.
    samples = min(max(plan.sequences * plan.pictures_each // 128, least), most)
    for split, (numbers, _) in plan.splits().items():
        people = plan.people_of(split)
        starts = shard_starts(people, max(1, samples // plan.pictures_each))
        for shard, (start, stop) in enumerate(pairwise([*starts, len(numbers)])):
            path = shard_path(folder, split, shard)
            jobs.append(ShardJob(path, plan, tuple(numbers[start:stop]), tuple(people[start:stop])))
    return jobs


def shard_starts(people: Sequence[int], size: int) -> list[int]:
    """Where shards of about ``size`` sequences begin, given the person of every sequence.

    A person is cut only where there is more of them than a shard holds: their skin is painted anew for every shard.
    """
    starts, first = [0], 0
    for _, group in groupby(people):
        length = len(list(group))
        parts = max(1, round(length / size))
        for part in range(parts):
            begin, end = (first + k * length // parts for k in (part, part + 1))
            if begin > starts[-1] and end - starts[-1] > 1.5 * size:
                starts.append(begin)
        first += length
    return starts


def is_done(job: ShardJob) -> bool:
    """Whether the shard is there, readable and complete."""
    try:
        with open_h5(job.path, SHARD_SCHEMA, VERSION) as file:
            # Which sequences it holds, not that it is there: sets may have been divided otherwise when it was made.
            return bool(np.array_equal(np.unique(file["sequence"][:]), job.numbers))
    except (InputProblem, OSError, KeyError):
        return False


def make_shard(job: ShardJob) -> None:
    """Render and write one shard, a picture at a time, so that no picture waits in memory undecoded."""
    plan = job.plan
    blobs: dict[str, list[bytes]] = {"jpeg": [], "mask": []}
    rows: list[dict[str, Any]] = []
    for number, who in zip(job.numbers, job.people, strict=True):
        for made in labelled_sequence(
            plan.seed, number, who, plan.variety, plan.image_px, plan.frames, plan.cameras, plan.fps
        ):
            blobs["jpeg"].append(encode_jpeg(made.shot.image_rgb, made.jpeg_quality))
            # A pixel is the hand's if the hand covers half of it; the arm counts.
            blobs["mask"].append(_png((made.shot.hand_coverage >= 0.5).astype(np.uint8) * 255))
            if plan.depth:
                # Tenths of a millimetre fit 16 bits up to 6.5 m; PNG holds no floats.
                tenths = np.clip(np.round(made.shot.depth_mm * 10), 0, 65535).astype(np.uint16)
                blobs.setdefault("depth", []).append(_png(tenths))
            rows.append(_labels(made, plan.vertices))
    arrays: dict[str, NDArray[Any]] = {}
    for name, encoded in blobs.items():
        arrays[name], arrays[f"{name}_offsets"] = pack_blobs(encoded)
    arrays |= {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    view = plan.variety.view
    write_h5(job.path, SHARD_SCHEMA, VERSION, arrays, {"seed": plan.seed, "image_px": plan.image_px, "view": view})


def _labels(made: LabelledShot, vertices: bool) -> dict[str, Any]:
    shot = made.shot
    row = {
        "sequence": np.int64(made.sequence),
        "frame": np.int32(made.frame),
        "camera": np.int32(made.camera),
        "joints_mm": shot.joints_mm,
        "joints_px": shot.joints_px,
        "second_joints_mm": shot.second_joints_mm,
        "intrinsics": shot.intrinsics,
        "camera_from_world": shot.camera_from_world,
        "hand": np.uint8(not made.left),
        "subject": np.bytes_(made.subject),
        "grasp": np.bytes_(made.grasp),
        "thing": np.bytes_(made.thing),
        "backdrop": np.bytes_(made.backdrop),
        "tone": np.float32(made.tone),
        "palm_facing": np.float32(made.palm_facing),
    }
    if vertices:
        row["vertices_mm"] = shot.vertices_mm.astype(np.float32)
    return row


def encode_jpeg(image_rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB picture."""
    import cv2

    return bytes(cv2.imencode(".jpg", image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def _png(image: NDArray[Any]) -> bytes:
    import cv2

    # Level 3 is quick, and flat areas shrink well at any level.
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
        [StageJob(job.path.name, job, len(job.numbers) * plan.pictures_each) for job in todo],
        make_shard, workers=workers, console=console, label="synth", unit="pictures",
    )  # fmt: skip
    if todo or not all((folder / name).is_file() for name in ("dataset.json", CARD_NAME)):
        card = _describe(plan, jobs)
        write_card(folder, "Labelled synthetic hands", card["counts"], _facts(plan))
        # Last of all: readers take this file's presence as a sign that the set is complete.
        write_json(folder / "dataset.json", card)
    return len(jobs), len(jobs) - len(todo)


def _facts(plan: SetPlan) -> dict[str, Any]:
    return {
        "pictures": plan.sequences * plan.pictures_each,
        "people": plan.subjects,
        "pictures of train / test": " / ".join(str(len(n) * plan.pictures_each) for n, _ in plan.splits().values()),
        "size, px": plan.image_px,
        "frames x cameras of a sequence": f"{plan.frames} x {plan.cameras}",
        "views": plan.variety.view,
        "seed": plan.seed,
    }


def _describe(plan: SetPlan, jobs: list[ShardJob]) -> dict[str, Any]:
    """``dataset.json``: what is in the set, and how it spreads over tones, sides, views, grasps and backdrops."""
    splits = {
        split: {
            "samples": len(numbers) * plan.pictures_each,
            "shards": sum(job.path.parent.name == split for job in jobs),
            "subjects": [f"p{k:05d}" for k in people],
        }
        for split, (numbers, people) in plan.splits().items()
    }
    names = ("tone", "palm_facing", "hand", "grasp", "thing", "backdrop", "second_joints_mm")
    columns: dict[str, list[NDArray[Any]]] = {n: [] for n in names}
    for job in jobs:
        with open_h5(job.path, SHARD_SCHEMA, VERSION) as file:
            for name, parts in columns.items():
                parts.append(file[name][:])
    full = {name: np.concatenate(parts) for name, parts in columns.items()}
    facing = np.digitize(full["palm_facing"], (-0.5, 0.5))
    second = int(np.isfinite(full["second_joints_mm"][:, 0, 0]).sum())
    return {
        "schema": SET_SCHEMA,
        "schema_version": VERSION,
        "seed": plan.seed,
        "image_px": plan.image_px,
        "view": plan.variety.view,
        "samples": plan.sequences * plan.pictures_each,
        "frames": plan.frames,
        "cameras": plan.cameras,
        "subjects": plan.subjects,
        "splits": splits,
        "counts": {
            "skin tone, light to dark quarters": tone_quarters(full["tone"]),
            "hand": {"left": int((full["hand"] == 0).sum()), "right": int(full["hand"].sum())},
            "seen from": dict(zip(("back", "side", "palm"), np.bincount(facing, minlength=3).tolist(), strict=True)),
            "grasp": _tally(full["grasp"]),
            "held thing": _tally(full["thing"]),
            "second hand": {"no": len(facing) - second, "yes": second},
            "background": _tally(full["backdrop"]),
        },
    }


def _tally(values: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {name.decode(): int(count) for name, count in zip(names, counts, strict=True)}
