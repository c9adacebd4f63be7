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
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.stages.local_pool import StageJob
from simhand_cli.synth.hand.person import person
from simhand_cli.synth.render.draw import photograph
from simhand_cli.synth.scene.arrange import arrange, set_up
from simhand_cli.synth.scene.backgrounds import Backdrop
from simhand_cli.synth.scene.surroundings import backdrop_picture
from simhand_cli.synth.sets.card import tone_quarters, write_card
from simhand_cli.synth.sets.labelled import SetPlan, encode_jpeg
from simhand_cli.synth.sets.recipe import do_all
from simhand_cli.synth.sets.sheets import picture_sheet
from simhand_cli.synth.shots import STUDIO, draw_frame
from simhand_cli.workspace.atomic import write_bytes, write_json, write_text

Floats = NDArray[np.float32]
#: Backdrops of the published variants gs (green screen), hom, sample and auto.
VARIANTS: Final[tuple[Backdrop | None, ...]] = (None, "panorama", "clutter", "plain")
#: The same where the user's own pictures are given.
OWN_VARIANTS: Final[tuple[Backdrop | None, ...]] = (None, "photo", "photo", "photo")
FILL: Final = (0.55, 0.80)
_GREEN: Final = (0.05, 0.55, 0.12)
#: What an interruption can lose of one worker's work.
_PART_HANDS: Final = 64
_PARTS: Final = ".parts"


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
    # The label files say that a half is complete; they come back when all of its pictures are there.
    for half in {job.half for job in jobs}:
        (folder / f"{half}_xyz.json").unlink(missing_ok=True)
    todo = [job for job in jobs if not job.part_path.is_file()]
    do_all(
        [StageJob(job.part_path.name, job, len(job.numbers)) for job in todo],
        make_part, workers=workers, console=console, label="synth", unit="hands",
    )  # fmt: skip
    _describe(folder, plan, pictures, [json.loads(job.part_path.read_text()) for job in jobs])
    for half in sorted({job.half for job in jobs}, reverse=True):
        parts = [json.loads(job.part_path.read_text()) for job in jobs if job.half == half]
        for kind in ("K", "scale", "xyz"):
            values = [value for part in parts for value in part[kind]]
            write_text(folder / f"{half}_{kind}.json", json.dumps(values, allow_nan=False))
    shutil.rmtree(folder / _PARTS)
    return pictures


def _describe(folder: Path, plan: SetPlan, pictures: int, parts: list[dict[str, Any]]) -> None:
    grasps = [grasp for part in parts for grasp in part["grasp"]]
    tones = tone_quarters(tone for part in parts for tone in part["tone"])
    counts = {
        "skin tone of the hands, light to dark quarters": tones,
        "grasp": {name: grasps.count(name) for name in sorted(set(grasps))},
    }
    facts = {"hands": plan.sequences, "pictures": pictures, "people": plan.subjects, "size, px": plan.image_px}
    write_card(folder, "Synthetic hands in FreiHAND's layout", counts, facts)
    picture_sheet(folder, sorted((folder / "training" / "rgb").glob("*.jpg")), "synthetic FreiHAND, training")


def _complete(folder: Path, jobs: list[FreiHandJob]) -> bool:
    halves = {job.half for job in jobs}
    return not (folder / _PARTS).exists() and all((folder / f"{half}_xyz.json").is_file() for half in halves)


def _jobs(folder: Path, plan: SetPlan) -> list[FreiHandJob]:
    jobs = []
    for split, (numbers, _) in plan.splits().items():
        half, people = "training" if split == "train" else "evaluation", plan.people_of(split)
        for first in range(0, len(numbers), _PART_HANDS):
            chosen = slice(first, min(first + _PART_HANDS, len(numbers)))
            mine, who = tuple(numbers[chosen]), tuple(people[chosen])
            jobs.append(FreiHandJob(folder, plan, half, first, len(numbers), mine, who))
    return jobs


def make_part(job: FreiHandJob) -> None:
    """Render and write some hands: their pictures, masks, and last their labels."""
    labels: dict[str, list[Any]] = {"K": [], "xyz": [], "scale": [], "grasp": [], "tone": []}
    for offset, (number, who) in enumerate(zip(job.numbers, job.people, strict=True)):
        for name, value in _make_hand(job, job.first + offset, number, who).items():
            labels[name].append(value)
    write_json(job.part_path, labels)


def _make_hand(job: FreiHandJob, index: int, number: int, who: int) -> dict[str, Any]:
    plan, size = job.plan, (job.plan.image_px, job.plan.image_px)
    rng = np.random.default_rng([plan.seed, STUDIO, number])
    variety = replace(plan.variety, left=False)
    arrangement = arrange(rng, person(plan.seed, who), variety, 1, plan.fps)
    arrangement, (camera,) = set_up(rng, arrangement, variety, size, FILL, 1)
    surface, scene = arrangement.surface(0), arrangement.scene
    (drawing,) = draw_frame(arrangement, 0, surface, [camera])
    training = job.half == "training"
    folder = job.folder / job.half
    variants = OWN_VARIANTS if variety.pictures else VARIANTS
    for variant, backdrop in enumerate(variants if training else (scene.backdrop,)):
        # Another seed for each variant, or two of the same kind would show the same picture.
        here = replace(scene, backdrop=backdrop or "plain", backdrop_seed=scene.backdrop_seed + variant)
        behind = green_screen(size) if backdrop is None else backdrop_picture(here, camera)
        image, _ = photograph(drawing, behind, scene, rng)
        # As published: all hands of one variant, then all of the next, under running numbers.
        name = f"{variant * job.hands_in_half + index:08d}.jpg"
        write_bytes(folder / "rgb" / name, encode_jpeg(image, 95))
    if training:
        write_bytes(folder / "mask" / f"{index:08d}.jpg", encode_mask(drawing.hand_coverage))
    joints_m = camera.place(surface.joints_mm) / 1000.0
    return {
        "K": camera.intrinsics.tolist(),
        "xyz": joints_m.tolist(),
        # The length of the middle finger's first phalanx, as published.
        "scale": float(np.linalg.norm(joints_m[9] - joints_m[10])),
        "grasp": arrangement.motion.grasps[0],
        "tone": arrangement.person.tone,
    }


def green_screen(size_wh: tuple[int, int]) -> Floats:
    """A studio's green wall (H, W, 3), linear."""
    return np.full((size_wh[1], size_wh[0], 3), _GREEN, np.float32)


def encode_mask(coverage: Floats) -> bytes:
    """JPEG bytes of a mask, 255 where the hand and its arm cover half of a pixel or more."""
    import cv2

    mask = (coverage >= 0.5).astype(np.uint8) * 255
    return bytes(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
