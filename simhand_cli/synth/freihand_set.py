"""Synthetic hands in exactly the layout FreiHAND v2 was published in (see ``labelled/freihand``).

``training/rgb``: every hand before four backdrops (green screen, then three others), ``training/mask``, and
``training_{K,xyz,scale}.json``; ``evaluation/rgb`` and the same labels for the held-out people. Right hands only.
MANO parameters and vertices have no meaning for this mesh and are not written.
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from simhand_cli.console import Console
from simhand_cli.synth.articulation import sample_pose
from simhand_cli.synth.backgrounds import Backdrop
from simhand_cli.synth.camera import aim
from simhand_cli.synth.labelled_set import SetPlan, encode_jpeg
from simhand_cli.synth.person import person
from simhand_cli.synth.render import forearm_axis, posed_surface, render
from simhand_cli.synth.scene import random_scene
from simhand_cli.synth.work import do_all
from simhand_cli.workspace.atomic import write_bytes, write_json, write_text
from simhand_cli.workspace.stage_runner import StageJob

#: Backdrops of the published variants gs (green screen), hom, sample and auto.
VARIANTS: Final[tuple[Backdrop | None, ...]] = (None, "panorama", "clutter", "plain")
FILL: Final = (0.55, 0.80)
_PART_HANDS: Final = 64
_PARTS: Final = ".parts"
_STREAM: Final = 13


@dataclass(frozen=True)
class FreiHandJob:
    """Some hands of one half of the set; ``first`` is the number of the first one in its half."""

    folder: Path
    plan: SetPlan
    half: str
    first: int
    hands_in_half: int
    numbers: tuple[int, ...]
    people: tuple[int, ...]

    @property
    def part_path(self) -> Path:
        """Where the labels of these hands wait until the set is complete."""
        return self.folder / _PARTS / f"{self.half}-{self.first:08d}.json"


def make_freihand(folder: Path, plan: SetPlan, workers: int, console: Console) -> int:
    """Make the set, or what is missing of it; returns the number of pictures."""
    jobs = _jobs(folder, plan)
    pictures = sum(len(job.numbers) * (4 if job.half == "training" else 1) for job in jobs)
    if _complete(folder, jobs):
        return pictures
    for half in {job.half for job in jobs}:
        (folder / f"{half}_xyz.json").unlink(missing_ok=True)
    todo = [job for job in jobs if not job.part_path.is_file()]
    do_all(
        [StageJob(job.part_path.name, job, len(job.numbers)) for job in todo],
        make_part, workers=workers, console=console, label="synth", unit="hands",
    )  # fmt: skip
    for half in sorted({job.half for job in jobs}, reverse=True):
        parts = [json.loads(job.part_path.read_text()) for job in jobs if job.half == half]
        for kind in ("K", "scale", "xyz"):
            values = [value for part in parts for value in part[kind]]
            write_text(folder / f"{half}_{kind}.json", json.dumps(values, allow_nan=False))
    shutil.rmtree(folder / _PARTS)
    return pictures


def _complete(folder: Path, jobs: list[FreiHandJob]) -> bool:
    halves = {job.half for job in jobs}
    return not (folder / _PARTS).exists() and all((folder / f"{half}_xyz.json").is_file() for half in halves)


def _jobs(folder: Path, plan: SetPlan) -> list[FreiHandJob]:
    jobs = []
    for split, (numbers, people) in plan.splits().items():
        half = "training" if split == "train" else "evaluation"
        for first in range(0, len(numbers), _PART_HANDS):
            chosen = range(first, min(first + _PART_HANDS, len(numbers)))
            who = tuple(people[i * len(people) // len(numbers)] for i in chosen)
            mine = tuple(numbers[i] for i in chosen)
            jobs.append(FreiHandJob(folder, plan, half, first, len(numbers), mine, who))
    return jobs


def make_part(job: FreiHandJob) -> None:
    """Render and write some hands: their pictures, masks, and last their labels."""
    labels: dict[str, list[Any]] = {"K": [], "xyz": [], "scale": []}
    for offset, (number, who) in enumerate(zip(job.numbers, job.people, strict=True)):
        joints_m, intrinsics = _make_hand(job, job.first + offset, number, who)
        labels["K"].append(intrinsics.tolist())
        labels["xyz"].append(joints_m.tolist())
        labels["scale"].append(float(np.linalg.norm(joints_m[9] - joints_m[10])))
    write_json(job.part_path, labels)


def _make_hand(job: FreiHandJob, index: int, number: int, who: int) -> tuple[Any, Any]:
    import cv2

    plan = job.plan
    rng = np.random.default_rng([plan.seed, _STREAM, number])
    someone = person(plan.seed, who)
    pose, _ = sample_pose(rng, someone.hand)
    scene = random_scene(rng)
    surface = posed_surface(someone, pose, False, float(scene.cloth[0]))
    size = (plan.image_px, plan.image_px)
    camera = aim(rng, plan.view, False, surface.joints_mm, forearm_axis(someone, False), size, FILL)
    training = job.half == "training"
    folder = job.folder / job.half
    shot = None
    for variant, backdrop in enumerate(VARIANTS if training else (scene.backdrop,)):
        green = np.full((plan.image_px, plan.image_px, 3), (0.05, 0.55, 0.12), np.float32) if backdrop is None else None
        here = scene if backdrop is None else replace(scene, backdrop=backdrop)
        shot, _ = render(someone, surface, camera, here, rng, None, green)
        name = f"{variant * job.hands_in_half + index:08d}.jpg"
        write_bytes(folder / "rgb" / name, encode_jpeg(shot.image_rgb, 95))
    assert shot is not None
    if training:
        mask = (shot.coverage >= 0.5).astype(np.uint8) * 255
        encoded = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        write_bytes(folder / "mask" / f"{index:08d}.jpg", encoded.tobytes())
    return shot.joints_mm / 1000.0, shot.intrinsics
