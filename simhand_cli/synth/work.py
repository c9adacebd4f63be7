"""What all synthetic sets share: the recipe that must not change, and doing units of work on several processes."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.changes import refuse_changes
from simhand_cli.workspace.stage_runner import StageJob, run_pool

Payload = TypeVar("Payload")

RECIPE_NAME: Final = "recipe.json"
#: Raised whenever the same options would give other pictures, so that old and new ones are never mixed.
GENERATOR: Final = 1


def settle_recipe(folder: Path, options: Mapping[str, Any], redo: bool) -> bool:
    """Make ``folder`` belong to these options.

    Args:
        folder: of the set; made if it is not there.
        options: everything that determines the set.
        redo: earlier results with other options may be replaced.

    Returns:
        whether finished units found there may be kept.

    Raises:
        UsageProblem: the folder holds a set made with other options, and ``redo`` is off.
        InputProblem: the folder's recipe cannot be read.
        EnvironmentProblem: the folder cannot be written.
    """
    recipe = {"generator": GENERATOR, **options}
    path = folder / RECIPE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(path.read_text()) if path.is_file() else None
        if before is not None and not redo:
            refuse_changes("synth", before, recipe, "--redo makes the set anew, --out puts this one elsewhere")
            return True
        write_json(path, recipe)
    except ValueError:
        raise InputProblem(f"{path} is damaged; --redo makes the set anew") from None
    except OSError as error:
        raise EnvironmentProblem(f"--out {folder} cannot be written: {error.strerror or error}") from error
    return False


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
        # Compiled here first, the kernels lie in numba's cache when the workers start.
        from simhand_cli.synth.sampling import labelled_shot

        labelled_shot(0, 0, 0, "moderate", 16)

        def fail(job: StageJob[Payload], reason: str) -> None:
            raise EnvironmentProblem(f"{job.video_id} could not be made: {reason}")

        run_pool(
            jobs, work, lambda _job, _result: None, fail,
            label=label, workers=min(workers, len(jobs)), console=console, unit=unit, initializer=one_thread,
        )  # fmt: skip
        return
    one_thread()
    with console.progress(label, sum(job.size for job in jobs), unit) as ticker:
        for job in jobs:
            try:
                work(job.payload)
            except OSError as error:
                where = error.filename or job.video_id
                raise EnvironmentProblem(f"{error.strerror or error} ({where})") from error
            ticker.advance(job.size)


def one_thread() -> None:
    """A worker is one core: OpenCV's own threads would only get in each other's way."""
    import cv2

    cv2.setNumThreads(1)
