"""Making a synthetic set from its options to the finished folder, or going on with one that was interrupted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import UsageProblem
from simhand_cli.stages.next_step import finetune_call
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary
from simhand_cli.synth.config import SynthConfig
from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.scene.photos import Pictures, check_pictures
from simhand_cli.synth.sets.freihand import make_freihand
from simhand_cli.synth.sets.hanco import make_hanco
from simhand_cli.synth.sets.labelled import SetPlan, make_set
from simhand_cli.synth.sets.recipe import RecipeRecord
from simhand_cli.synth.sets.sheets import labelled_sheet, video_sheet
from simhand_cli.synth.sets.videos import VideoJob, make_videos
from simhand_cli.synth.settings import RELEVANT, SynthSettings, settle
from simhand_cli.workspace.paths import Workspace

Facts = dict[str, int | float | str]
# Rough costs for the plan, fitted to benchmarks/results/synth_speed.json.
_SECONDS_PER_PIXEL = 0.45e-6
_SECONDS_PER_PICTURE = 0.0125
_SHARE_OF_PERFECT_SCALING = 0.85
#: Loading the compiled renderer, in every process at the same time; and painting a person's skin.
_SECONDS_TO_START = 6.0
_SECONDS_PER_PERSON = 0.1
_BYTES_PER_PIXEL = 0.30


class Synthesis:
    """``simhand synth`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: SynthConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:
        """Fill in and check the options and the pictures for the background.

        Raises:
            UsageProblem: an unknown grasp, options that do not go together, or ``--out`` is a file.
            InputProblem: the folder of backgrounds holds no usable picture.
        """
        self.folder = self.config.out or Workspace(self.config.workspace).synth_dir / self.config.format
        self.settings = settle(self.config)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageProblem(f"--out {self.folder} is a file, not a folder")
        self.pictures: Pictures | None = None
        self.dropped: list[Dropped] = []
        if self.settings.backgrounds is not None:
            self.pictures, self.dropped = check_pictures(self.settings.backgrounds, console)
        self.variety = _variety(self.settings, self.pictures)
        self.record = RecipeRecord(self.folder)

    def identity(self) -> Mapping[str, Any]:
        """The options that concern the format, and what the backgrounds show."""
        kind = self.settings.format
        options = {name: value for name, value in self.settings.identity().items() if name in RELEVANT[kind]}
        return {"format": kind, **options, "backgrounds": self.pictures.digest if self.pictures else None}

    def state(self) -> State:
        """Whether the folder holds such a set already.

        Raises:
            UsageProblem: it holds one made with other options, or files of another origin.
        """
        return self.record.state(self.identity(), redo=self.settings.redo)

    def dry(self) -> Summary:
        """Counts, bytes and time."""
        return self._told(Summary("synth", _plan(self.settings), outputs={"set": self.folder}))

    def run(self, console: Console) -> Summary:
        """Make what is missing of the set; shards and videos that are there are kept."""
        makers = {
            "labelled": _make_labelled, "videos": _make_videos, "freihand": _make_layout, "hanco": _make_layout,
        }  # fmt: skip
        facts, hint = makers[self.settings.format](self.settings, self.variety, self.folder, console)
        files = {
            "set": self.folder,
            "card": self.folder / "CARD.md",
            "contact sheet": self.folder / "contact_sheet.png",
        }
        return self._told(Summary("synth", facts, outputs=files, hint=hint))

    def _told(self, summary: Summary) -> Summary:
        """The summary with the backgrounds that could not be used."""
        summary.dropped, summary.problems = self.dropped, len(self.dropped)
        return summary


def _variety(settings: SynthSettings, pictures: Pictures | None) -> Variety:
    return Variety(
        view=settings.view,
        backdrop=None if settings.backdrop == "mixed" else settings.backdrop,
        pictures=pictures,
        grasps=settings.grasps,
        things=settings.things,
        second_hand=settings.second_hand,
    )


def _set_plan(settings: SynthSettings, variety: Variety) -> SetPlan:
    frames, cameras, sequences = settings.frames, settings.cameras, settings.count
    if settings.format == "labelled":
        sequences //= frames * cameras
    return SetPlan(
        settings.seed, sequences, min(settings.subjects, sequences), settings.test_fraction, settings.image_px,
        variety, frames, cameras, settings.fps, settings.vertices, settings.depth,
    )  # fmt: skip


def _without_test(settings: SynthSettings, plan: SetPlan) -> dict[str, str]:
    """Says so where a test split was wanted, and there are too few people for one."""
    if settings.test_fraction == 0 or "test" in plan.splits():
        return {}
    return {"test people": f"none: that takes {'--subjects' if settings.subjects < 2 else 'sequences'} of at least 2"}


def _make_labelled(settings: SynthSettings, variety: Variety, folder: Path, console: Console) -> tuple[Facts, str]:
    plan = _set_plan(settings, variety)
    shards, kept = make_set(folder, plan, settings.workers, console)
    labelled_sheet(folder)
    facts: Facts = {"pictures": settings.count, "people": plan.subjects}
    facts |= {f"{split} pictures": len(n) * plan.pictures_each for split, (n, _) in plan.splits().items()}
    facts |= _without_test(settings, plan)
    if plan.pictures_each > 1:
        facts["sequences"] = f"{plan.sequences} of {plan.frames} frames x {plan.cameras} cameras"
    facts |= {"shards": shards, "shards found finished": kept, "size (px)": plan.image_px}
    return facts, finetune_call(settings.workspace, folder)


def _video_jobs(settings: SynthSettings, variety: Variety, folder: Path) -> list[VideoJob]:
    size = (settings.frame_width, settings.frame_height)
    return [
        VideoJob(folder / f"person-{k:05d}.mp4", settings.seed, k, variety, size, settings.frames, settings.fps)
        for k in range(settings.count)
    ]


def _make_videos(settings: SynthSettings, variety: Variety, folder: Path, console: Console) -> tuple[Facts, str]:
    jobs, frames = _video_jobs(settings, variety, folder), settings.frames
    kept = make_videos(folder, jobs, settings.workers, console)
    video_sheet(folder, [job.path for job in jobs])
    facts: Facts = {
        "videos": len(jobs),
        "videos found finished": kept,
        "frames": frames * len(jobs),
        "size (px)": f"{settings.frame_width} x {settings.frame_height}",
        "seconds each": round(frames / settings.fps, 2),
    }
    return facts, f"simhand ingest {folder}"


def _make_layout(settings: SynthSettings, variety: Variety, folder: Path, console: Console) -> tuple[Facts, str]:
    """A set in the layout of a published one."""
    plan = _set_plan(settings, variety)
    make, unit = (make_hanco, "sequences") if settings.format == "hanco" else (make_freihand, "hands")
    pictures = make(folder, plan, settings.workers, console)
    facts: Facts = {unit: plan.sequences, "people": plan.subjects, "pictures": pictures}
    facts |= _without_test(settings, plan)
    if plan.pictures_each > 1:
        facts["frames x cameras"] = f"{plan.frames} x {plan.cameras}"
    return facts, finetune_call(settings.workspace, folder)


def _plan(settings: SynthSettings) -> Facts:
    """What would be done: counts, bytes and time."""
    count, frames, cameras = settings.count, settings.frames, settings.cameras
    if settings.format == "videos":
        pictures, pixels = count * frames, settings.frame_width * settings.frame_height
    else:
        variants = {"labelled": 1, "freihand": 4, "hanco": 5 * frames * cameras}[settings.format]
        pictures, pixels = count * variants, settings.image_px**2
    plan = _set_plan(settings, _variety(settings, None)) if settings.format != "videos" else None
    # Every video has a person of its own, whose skin is painted once.
    people = plan.subjects if plan else count
    seconds = pictures * (_SECONDS_PER_PICTURE + _SECONDS_PER_PIXEL * pixels) + people * _SECONDS_PER_PERSON
    if settings.workers > 1:
        seconds /= _SHARE_OF_PERFECT_SCALING * settings.workers
    seconds += _SECONDS_TO_START
    facts: Facts = {
        "pictures": pictures,
        "disk, roughly": format_bytes(pictures * (pixels * _BYTES_PER_PIXEL + 1500)),
        "time, roughly": format_duration(seconds),
    }
    return facts | (_without_test(settings, plan) if plan else {})
