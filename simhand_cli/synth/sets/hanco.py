"""Synthetic hands in the layout HanCo was published in: short sequences before eight calibrated cameras.

``rgb/0000/cam0/00000000.jpg`` and so on, ``xyz/0000/00000000.json`` (21 joints in the world frame, metres),
``calib/0000/00000000.json`` (``M``: world to camera, ``K``), ``meta.json``. Sequences of the training people are filmed
before a green screen, with ``mask_hand`` and the published variants ``rgb_merged``, ``rgb_homo``, ``rgb_color_auto``
and ``rgb_color_sample``; those of the held-out people before a real place, ``rgb`` alone. Right hands only. MANO
parameters (``shape``) have no meaning for this mesh; ``has_fit`` in ``meta.json`` says so.
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
from simhand_cli.synth.hand.mesh import Surface
from simhand_cli.synth.hand.person import person
from simhand_cli.synth.render.draw import Drawing, photograph
from simhand_cli.synth.scene.arrange import Arrangement, arrange, set_up
from simhand_cli.synth.scene.backgrounds import Backdrop
from simhand_cli.synth.scene.camera import Camera
from simhand_cli.synth.scene.surroundings import backdrop_picture
from simhand_cli.synth.scene.things import KINDS
from simhand_cli.synth.sets.card import tone_quarters, write_card
from simhand_cli.synth.sets.freihand import encode_mask, green_screen
from simhand_cli.synth.sets.labelled import SetPlan, encode_jpeg
from simhand_cli.synth.sets.recipe import do_all
from simhand_cli.synth.sets.sheets import picture_sheet
from simhand_cli.synth.shots import SEQUENCE_FILL, STUDIO, Floats, draw_frame
from simhand_cli.workspace.atomic import write_bytes, write_json

#: Folder -> what stands behind the hand in training sequences; None is the green screen.
TRAINING: Final[dict[str, Backdrop | None]] = {
    "rgb": None,
    "rgb_merged": "panorama",
    "rgb_homo": "plain",
    "rgb_color_auto": "clutter",
    "rgb_color_sample": "photo",
}
TEST: Final[dict[str, Backdrop | None]] = {"rgb": "panorama"}
#: The same where the user's own pictures are given.
OWN_TRAINING: Final = TRAINING | {"rgb_merged": "photo", "rgb_color_auto": "photo"}
OWN_TEST: Final[dict[str, Backdrop | None]] = {"rgb": "photo"}
_PARTS: Final = ".parts"


@dataclass(frozen=True)
class HanCoJob:
    """One sequence."""

    folder: Path
    plan: SetPlan
    number: int
    who: int
    training: bool

    @property
    def part_path(self) -> Path:
        """Where what ``meta.json`` says of this sequence waits until the set is complete; written last."""
        return self.folder / _PARTS / f"{self.number:04d}.json"


def make_hanco(folder: Path, plan: SetPlan, workers: int, console: Console) -> int:
    """Make the set, or what is missing of it; returns the number of pictures."""
    jobs = [
        HanCoJob(folder, plan, number, who, split == "train")
        for split, (numbers, _) in plan.splits().items()
        for number, who in zip(numbers, plan.people_of(split), strict=True)
    ]
    pictures = sum(plan.pictures_each * (len(TRAINING) if job.training else len(TEST)) for job in jobs)
    if (folder / "meta.json").is_file() and not (folder / _PARTS).exists():
        return pictures
    # It says that the set is complete, so it goes first and comes last.
    (folder / "meta.json").unlink(missing_ok=True)
    todo = [job for job in jobs if not job.part_path.is_file()]
    do_all(
        [StageJob(job.part_path.name, job, plan.pictures_each) for job in todo],
        make_sequence, workers=workers, console=console, label="synth", unit="views",
    )  # fmt: skip
    rows = [json.loads(job.part_path.read_text()) for job in jobs]
    _describe(folder, plan, pictures, rows)
    names = ("is_train", "subject_id", "is_valid", "object_id", "has_fit")
    write_json(folder / "meta.json", {name: [[row[name]] * plan.frames for row in rows] for name in names})
    shutil.rmtree(folder / _PARTS)
    return pictures


def _describe(folder: Path, plan: SetPlan, pictures: int, rows: list[dict[str, Any]]) -> None:
    tones = tone_quarters(row["tone"] for row in rows)
    grasps = [grasp for row in rows for grasp in row["grasps"]]
    counts = {
        "skin tone of the sequences, light to dark quarters": tones,
        "grasp, by frame": {name: grasps.count(name) for name in sorted(set(grasps))},
        "half": {"training": sum(r["is_train"] for r in rows), "test": sum(not r["is_train"] for r in rows)},
    }
    facts = {
        "sequences": plan.sequences, "frames x cameras of each": f"{plan.frames} x {plan.cameras}",
        "pictures, all variants": pictures, "people": plan.subjects, "size, px": plan.image_px,
    }  # fmt: skip
    write_card(folder, "Synthetic hands in HanCo's layout", counts, facts)
    first = [folder / "rgb" / f"{k:04d}" / f"cam{c}" / f"{0:08d}.jpg" for k in range(8) for c in range(plan.cameras)]
    picture_sheet(folder, [path for path in first if path.is_file()], "synthetic HanCo: first frames, all cameras")


def make_sequence(job: HanCoJob) -> None:
    """Render and write all frames of a sequence from all cameras, and last its part of ``meta.json``."""
    plan, size = job.plan, (job.plan.image_px, job.plan.image_px)
    rng = np.random.default_rng([plan.seed, STUDIO, job.number])
    # The published set shows right hands only.
    variety = replace(plan.variety, left=False)
    arrangement = arrange(rng, person(plan.seed, job.who), variety, plan.frames, plan.fps)
    arrangement, rig = set_up(rng, arrangement, variety, size, SEQUENCE_FILL, plan.cameras)
    studio = _Studio(job, arrangement, rig, rng)
    for frame in range(plan.frames):
        surface = arrangement.surface(frame)
        _write_labels(job, frame, surface, rig)
        for camera, drawing in zip(rig, draw_frame(arrangement, frame, surface, rig), strict=True):
            studio.take(frame, camera, drawing)
    thing = arrangement.thing
    row = {
        "is_train": job.training, "subject_id": job.who, "is_valid": True, "has_fit": False,
        "object_id": KINDS.index(thing.kind) if thing else None, "grasps": list(arrangement.motion.grasps),
        "tone": arrangement.person.tone,
    }  # fmt: skip
    write_json(job.part_path, row)


def _write_labels(job: HanCoJob, frame: int, surface: Surface, rig: list[Camera]) -> None:
    world_from_rig = rig[0].world_from_rig
    # Published labels are in metres; everything here is in millimetres.
    world_m = surface.joints_mm @ world_from_rig.T / 1000.0
    place = f"{job.number:04d}/{frame:08d}.json"
    write_json(job.folder / "xyz" / place, world_m.tolist())
    to_cameras = [camera.camera_from_world.copy() for camera in rig]
    for matrix in to_cameras:
        # A copy's, and of the shift alone: rotations have no unit.
        matrix[:3, 3] /= 1000.0
    calibration = {"M": [m.tolist() for m in to_cameras], "K": [camera.intrinsics.tolist() for camera in rig]}
    write_json(job.folder / "calib" / place, calibration)


class _Studio:
    """Takes the pictures of one sequence; every camera keeps its backdrops and exposure."""

    def __init__(self, job: HanCoJob, arrangement: Arrangement, rig: list[Camera], rng: np.random.Generator) -> None:
        self._job, self._scene, self._rng = job, arrangement.scene, rng
        self._behind: dict[tuple[str, int], NDArray[np.float16]] = {}
        self._gains: dict[tuple[str, int], Floats] = {}
        own = job.plan.variety.pictures is not None
        variants = (OWN_TRAINING if own else TRAINING) if job.training else (OWN_TEST if own else TEST)
        for number, (name, backdrop) in enumerate(variants.items()):
            for camera in rig:
                scene = replace(
                    self._scene, backdrop=backdrop or "plain", backdrop_seed=self._scene.backdrop_seed + number
                )
                green = backdrop is None
                behind = green_screen(camera.size_wh) if green else backdrop_picture(scene, camera)
                # Half precision: all of a rig's backdrops are kept during a sequence.
                self._behind[name, camera.number] = np.minimum(behind, 6e4).astype(np.float16)

    def take(self, frame: int, camera: Camera, drawing: Drawing) -> None:
        """Write all variants of one view, and its mask."""
        place = f"{self._job.number:04d}/cam{camera.number}/{frame:08d}.jpg"
        for name in TRAINING if self._job.training else TEST:
            # Each variant meters for its own backdrop, and keeps that exposure over the sequence.
            key = (name, camera.number)
            image, self._gains[key] = photograph(
                drawing, self._behind[key].astype(np.float32), self._scene, self._rng, self._gains.get(key)
            )
            write_bytes(self._job.folder / name / place, encode_jpeg(image, 95))
        if self._job.training:
            write_bytes(self._job.folder / "mask_hand" / place, encode_mask(drawing.hand_coverage))
