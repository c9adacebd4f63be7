"""What all synthetic sets share: the recipe that must not change, and doing units of work on several processes."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from simhand_cli.config.base import CommandConfig
from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.stages.local_pool import StageJob, run_pool
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.stages.run_folder import State
from simhand_cli.workspace.atomic import remove_leftovers, remove_leftovers_of, write_json
from simhand_cli.workspace.lock import workspace_lock

Payload = TypeVar("Payload")

RECIPE_NAME: Final = "recipe.json"
#: Raised whenever the same options would give other pictures, so that old and new ones are never mixed.
GENERATOR: Final = 4
#: What sets of all formats consist of, in the order it is deleted: first what says that something is complete, so
#: that a set deleted in part is never taken for a whole one.
CONTENT: Final = (
    "dataset.json", "meta.json", "*_xyz.json", "*_K.json", "*_scale.json", ".parts", "training", "evaluation", "rgb",
    "rgb_*", "mask_hand", "xyz", "calib", "train/shard-*.h5", "test/shard-*.h5", "person-*.mp4", "CARD.md",
    "contact_sheet.png",
)  # fmt: skip
#: Folders of a set in which files are written.
_PLACES: Final = (
    ".", "train", "test", ".parts", "training/rgb", "training/mask", "evaluation/rgb", "rgb*/*/*", "mask_hand/*/*",
    "xyz/*", "calib/*",
)  # fmt: skip
WAYS_OUT: Final = "--redo makes the set anew, --out puts this one elsewhere"


class RecipeRecord:
    """The record of a synthetic set: its recipe, the first file of the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held(self, *, dry_run: bool) -> Iterator[None]:
        """Hold the folder's lock; a dry run makes no folder.

        Raises:
            EnvironmentProblem: the folder is in use, or something in it cannot be written meanwhile.
        """
        if dry_run:
            yield
            return
        try:
            with workspace_lock(self._folder, "synth"):
                yield
        except OSError as error:
            raise EnvironmentProblem(f"--out {self._folder}: {error.strerror or error}") from error

    def earlier(self) -> None:
        """Nothing: a set of its own may lie beside this one."""

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:
        """See :func:`check_recipe`."""
        return check_recipe(self._folder, identity, redo)

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """See :func:`settle_recipe`."""
        settle_recipe(self._folder, identity, config.redo)


def check_recipe(folder: Path, options: Mapping[str, Any], redo: bool) -> State:
    """What ``folder`` holds of a set with these options; nothing is written.

    Raises:
        UsageProblem: the folder holds a set made with other options, and ``redo`` is off; or one of another program.
        InputProblem: the folder's recipe cannot be read.
    """
    path = folder / RECIPE_NAME
    if not path.is_file():
        _refuse_foreign(folder)
        return "new"
    if redo:
        return "redo"
    recipe, before = _recipe(options), _read_recipe(path)
    # The format explains the other differences, and some of them are only its own options.
    for compared in ({"format"}, before.keys() | recipe.keys()):
        old, new = ({k: v for k, v in one.items() if k in compared} for one in (before, recipe))
        refuse_changes("synth", old, new, WAYS_OUT)
    return "resume"


def settle_recipe(folder: Path, options: Mapping[str, Any], redo: bool) -> None:
    """Make ``folder`` belong to these options: whatever units it holds afterwards were made with them.

    With ``redo`` the earlier set is deleted before the new recipe is written, so that a run killed at any moment leaves
    no unit beside the recipe of another set.

    Args:
        folder: of the set; made if it is not there. The caller holds its lock.
        options: everything that determines the set.
        redo: an earlier set is replaced.

    Raises:
        UsageProblem: as :func:`check_recipe`.
        InputProblem: the folder's recipe cannot be read.
        EnvironmentProblem: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = check_recipe(folder, options, redo)
        if found == "new":
            remove_leftovers_of(folder / RECIPE_NAME)
        else:
            for pattern in _PLACES:
                for place in [folder] if pattern == "." else folder.glob(pattern):
                    remove_leftovers(place)
        if found == "redo":
            _delete_content(folder)
        if found != "resume":
            write_json(folder / RECIPE_NAME, _recipe(options))
    except OSError as error:
        raise EnvironmentProblem(f"--out {folder} cannot be written: {error.strerror or error}") from error


def _recipe(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"generator": GENERATOR, **options}


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = json.loads(path.read_text())
    except ValueError:
        recipe = None
    if not isinstance(recipe, dict):
        raise InputProblem(f"{path} is damaged; --redo makes the set anew")
    return recipe


def _refuse_foreign(folder: Path) -> None:
    """A folder without a recipe may hold somebody's real FreiHAND: nothing in it is replaced, not even with --redo."""
    for pattern in CONTENT:
        found = next(folder.glob(pattern), None)
        if found is not None:
            raise UsageProblem(f"--out {folder} holds {found.name} but no {RECIPE_NAME}; name another folder")


def _delete_content(folder: Path) -> None:
    for pattern in CONTENT:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def do_all(
    jobs: Sequence[StageJob[Payload]],
    work: Callable[[Payload], None],
    *,
    workers: int,
    console: Console,
    label: str,
    unit: str,
) -> None:
    """Do every job, in this process for one worker and in a pool of processes for more.

    Raises:
        EnvironmentProblem: a worker died twice on a job, or the disk is full or not writable.
    """
    if not jobs:
        return
    if workers > 1 and len(jobs) > 1:

        def fail(job: StageJob[Payload], reason: str) -> None:
            raise EnvironmentProblem(f"{job.video_id} could not be made: {reason}")

        run_pool(
            jobs, work, lambda _job, _result: None, fail,
            label=label, workers=min(workers, len(jobs)), console=console, unit=unit, initializer=one_thread,
        )  # fmt: skip
        return
    with _one_thread_here(), console.progress(label, sum(job.size for job in jobs), unit) as ticker:
        for job in jobs:
            try:
                work(job.payload)
            except OSError as error:
                where = error.filename or job.video_id
                raise EnvironmentProblem(f"{error.strerror or error} ({where})") from error
            ticker.advance(job.size)


@contextmanager
def _one_thread_here() -> Iterator[None]:
    """As :func:`one_thread`, for the block only: the process is the caller's."""
    import cv2

    before = cv2.getNumThreads()
    one_thread()
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def one_thread() -> None:
    """A worker is one core: OpenCV's own threads would only get in each other's way."""
    import cv2

    cv2.setNumThreads(1)
