"""Make synthetic hands: videos to learn from, or images with exact 3D labels."""

from pathlib import Path
from typing import TYPE_CHECKING

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import UsageProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.synth.scene.arrange import Variety
    from simhand_cli.synth.scene.photos import Pictures
    from simhand_cli.synth.sets.labelled import SetPlan
    from simhand_cli.synth.sets.videos import VideoJob
from simhand_cli.synth.config import SynthConfig

EXAMPLES: tuple[str, ...] = (
    "simhand synth --count 2000 --image-px 128",
    "simhand synth --format videos --count 8 --frames 60 --out synthetic-videos",
    "simhand synth --count 960 --cameras 8 --frames 4 --things 0.3 --out ring",
    "simhand synth --format freihand --count 500 --image-px 224 --out fake-freihand --dry-run",
    "simhand synth --format hanco --count 20 --image-px 224 --out fake-hanco --dry-run",
)
# Rough costs for the plan, fitted to benchmarks/results/synth_speed.json.
_SECONDS_PER_PIXEL = 0.45e-6
_SECONDS_PER_PICTURE = 0.0125
_SHARE_OF_PERFECT_SCALING = 0.85
#: Loading the compiled renderer, in every process at the same time; and painting a person's skin.
_SECONDS_TO_START = 6.0
_SECONDS_PER_PERSON = 0.1
_BYTES_PER_PIXEL = 0.30


def synth(config: SynthConfig, console: Console | None = None) -> Summary:
    """Make a synthetic set, or go on with one that was interrupted.

    Args:
        config: the options.
        console: where progress goes; None: nowhere.

    Returns:
        what was made and where it lies.

    Raises:
        UsageProblem: an unknown grasp; the folder holds a set made with other options or more videos, without
            ``--redo``; or files of another origin.
        InputProblem: the folder of backgrounds holds no usable picture.
        EnvironmentProblem: the folder is in use by another run or cannot be written.
    """
    from simhand_cli.synth.options import settle
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    folder = config.out or Workspace(config.workspace).synth_dir / config.format
    config = settle(config)
    if folder.exists() and not folder.is_dir():
        raise UsageProblem(f"--out {folder} is a file, not a folder")
    pictures, dropped = _check_backgrounds(config, console)
    summary = _plan(config, folder) if config.dry_run else _make(config, folder, pictures, console)
    summary.dropped = dropped
    summary.problems = len(dropped)
    return summary


def _check_backgrounds(config: SynthConfig, console: Console) -> "tuple[Pictures | None, list[Dropped]]":
    if config.backgrounds is None:
        return None, []
    from simhand_cli.synth.scene.photos import check_pictures

    return check_pictures(config.backgrounds, console)


def _make(config: SynthConfig, folder: Path, pictures: "Pictures | None", console: Console) -> Summary:
    from simhand_cli.errors import EnvironmentProblem
    from simhand_cli.synth.options import RELEVANT
    from simhand_cli.synth.sets.recipe import settle_recipe
    from simhand_cli.workspace.lock import workspace_lock

    options = {"format": config.format, **{k: v for k, v in config.identity().items() if k in RELEVANT[config.format]}}
    options["backgrounds"] = pictures.digest if pictures else None
    variety = _variety(config, pictures)
    makers = {
        "labelled": _make_labelled, "videos": _make_videos, "freihand": _make_layout, "hanco": _make_layout,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with workspace_lock(folder, "synth"):
            settle_recipe(folder, options, config.redo)
            return makers[config.format](config, variety, folder, console)
    except OSError as error:
        raise EnvironmentProblem(f"--out {folder}: {error.strerror or error}") from error


def _variety(config: SynthConfig, pictures: "Pictures | None") -> "Variety":
    from simhand_cli.synth.hand.grasps import GRASP_NAMES
    from simhand_cli.synth.scene.arrange import Variety

    return Variety(
        view=config.view,
        backdrop=None if config.backdrop == "mixed" else config.backdrop,
        pictures=pictures,
        grasps=tuple(config.grasp) or GRASP_NAMES,
        things=config.things,
        second_hand=config.second_hand,
    )


def _set_plan(config: SynthConfig, variety: "Variety") -> "SetPlan":
    from simhand_cli.synth.options import whole
    from simhand_cli.synth.sets.labelled import SetPlan

    frames, cameras, sequences = whole(config.frames), whole(config.cameras), whole(config.count)
    if config.format == "labelled":
        sequences //= frames * cameras
    return SetPlan(
        config.seed, sequences, min(config.subjects, sequences), config.test_fraction, config.image_px,
        variety, frames, cameras, config.fps, config.vertices, config.depth,
    )  # fmt: skip


def _without_test(config: SynthConfig, plan: "SetPlan") -> dict[str, str]:
    """Says so where a test split was wanted, and there are too few people for one."""
    if config.test_fraction == 0 or "test" in plan.splits():
        return {}
    return {"test people": f"none: that takes {'--subjects' if config.subjects < 2 else 'sequences'} of at least 2"}


def _make_labelled(config: SynthConfig, variety: "Variety", folder: Path, console: Console) -> Summary:
    from simhand_cli.commands.next_step import finetune_call
    from simhand_cli.synth.options import whole
    from simhand_cli.synth.sets.labelled import make_set
    from simhand_cli.synth.sets.sheets import labelled_sheet

    plan = _set_plan(config, variety)
    shards, kept = make_set(folder, plan, config.workers, console)
    labelled_sheet(folder)
    facts: dict[str, int | float | str] = {"pictures": whole(config.count), "people": plan.subjects}
    facts |= {f"{split} pictures": len(n) * plan.pictures_each for split, (n, _) in plan.splits().items()}
    facts |= _without_test(config, plan)
    if plan.pictures_each > 1:
        facts["sequences"] = f"{plan.sequences} of {plan.frames} frames x {plan.cameras} cameras"
    facts |= {"shards": shards, "shards found finished": kept, "size (px)": plan.image_px}
    return Summary("synth", facts, outputs=_outputs(folder), hint=finetune_call(config.workspace, folder))


def _video_jobs(config: SynthConfig, variety: "Variety", folder: Path) -> "list[VideoJob]":
    from simhand_cli.synth.options import whole
    from simhand_cli.synth.sets.videos import VideoJob

    size = (config.frame_width, config.frame_height)
    frames = whole(config.frames)
    return [
        VideoJob(folder / f"person-{k:05d}.mp4", config.seed, k, variety, size, frames, config.fps)
        for k in range(whole(config.count))
    ]


def _make_videos(config: SynthConfig, variety: "Variety", folder: Path, console: Console) -> Summary:
    from simhand_cli.synth.options import whole
    from simhand_cli.synth.sets.sheets import video_sheet
    from simhand_cli.synth.sets.videos import make_videos

    jobs, frames = _video_jobs(config, variety, folder), whole(config.frames)
    kept = make_videos(folder, jobs, config.workers, console)
    video_sheet(folder, [job.path for job in jobs])
    facts: dict[str, int | float | str] = {
        "videos": len(jobs),
        "videos found finished": kept,
        "frames": frames * len(jobs),
        "size (px)": f"{config.frame_width} x {config.frame_height}",
        "seconds each": round(frames / config.fps, 2),
    }
    return Summary("synth", facts, outputs=_outputs(folder), hint=f"simhand ingest {folder}")


def _make_layout(config: SynthConfig, variety: "Variety", folder: Path, console: Console) -> Summary:
    """A set in the layout of a published one."""
    from simhand_cli.commands.next_step import finetune_call
    from simhand_cli.synth.sets.freihand import make_freihand
    from simhand_cli.synth.sets.hanco import make_hanco

    plan = _set_plan(config, variety)
    make, unit = (make_hanco, "sequences") if config.format == "hanco" else (make_freihand, "hands")
    pictures = make(folder, plan, config.workers, console)
    facts: dict[str, int | float | str] = {unit: plan.sequences, "people": plan.subjects, "pictures": pictures}
    facts |= _without_test(config, plan)
    if plan.pictures_each > 1:
        facts["frames x cameras"] = f"{plan.frames} x {plan.cameras}"
    return Summary("synth", facts, outputs=_outputs(folder), hint=finetune_call(config.workspace, folder))


def _outputs(folder: Path) -> dict[str, Path]:
    return {"set": folder, "card": folder / "CARD.md", "contact sheet": folder / "contact_sheet.png"}


def _plan(config: SynthConfig, folder: Path) -> Summary:
    """What would be done: counts, bytes and time."""
    from simhand_cli.synth.options import whole

    count, frames, cameras = whole(config.count), whole(config.frames), whole(config.cameras)
    if config.format == "videos":
        pictures, pixels = count * frames, config.frame_width * config.frame_height
    else:
        variants = {"labelled": 1, "freihand": 4, "hanco": 5 * frames * cameras}[config.format]
        pictures, pixels = count * variants, config.image_px**2
    plan = _set_plan(config, _variety(config, None)) if config.format != "videos" else None
    people = plan.subjects if plan else count
    seconds = pictures * (_SECONDS_PER_PICTURE + _SECONDS_PER_PIXEL * pixels) + people * _SECONDS_PER_PERSON
    if config.workers > 1:
        seconds /= _SHARE_OF_PERFECT_SCALING * config.workers
    seconds += _SECONDS_TO_START
    facts: dict[str, int | float | str] = {
        "pictures": pictures,
        "disk, roughly": format_bytes(pictures * (pixels * _BYTES_PER_PIXEL + 1500)),
        "time, roughly": format_duration(seconds),
    }
    facts |= _without_test(config, plan) if plan else {}
    return Summary("synth", facts, outputs={"set": folder})
