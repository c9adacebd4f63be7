"""The demo from its options to what is shown or written: source, model, detector, and the loop over frames."""

from collections.abc import Mapping
from typing import Any

import cv2  # noqa: F401 - before PyAV: loaded after it, OpenCV's windows hang

from simhand_cli.console import Console
from simhand_cli.demo.config import DemoConfig
from simhand_cli.demo.display import display_problem
from simhand_cli.demo.loop import DemoRun, run_demo
from simhand_cli.demo.models import FinetunedPoser, ModelChoice, choose_model
from simhand_cli.demo.overlay import Look, Painter
from simhand_cli.demo.sources import Source, find_source
from simhand_cli.demo.tracker import HandTracker, Stages
from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.hands.mediapipe_landmarker import HandLandmarkerAdapter
from simhand_cli.models.model_choice import resolve_device
from simhand_cli.stages.records import NoRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Summary
from simhand_cli.workspace.atomic import remove_leftovers_of
from simhand_cli.workspace.paths import Workspace

_VIDEO_SUFFIX = ".mp4"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class Demo:
    """``simhand demo`` as a :class:`simhand_cli.stages.job.Job`; its output file alone is left."""

    record = NoRecord()

    def __init__(self, config: DemoConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:  # noqa: ARG002 (as every job)
        """Find the source and the model, and check that the output can be written.

        Raises:
            InputProblem: a source that cannot be read, or no such model.
            EnvironmentProblem: no such camera.
            UsageProblem: an output that is of the wrong kind, or there already.
        """
        self.source = find_source(self.config.source)
        _check_output(self.config, self.source)
        self.choice = choose_model(self.config.model, Workspace(self.config.workspace))

    def identity(self) -> Mapping[str, Any]:
        """The options."""
        return self.config.identity()

    def state(self) -> State:
        """Always new."""
        return "new"

    def dry(self) -> Summary:
        """The source, its frames, the model and where it would be shown."""
        return _dry_summary(self.config, self.source, self.choice)

    def run(self, console: Console) -> Summary:
        """Follow the hands until the source ends or somebody stops it.

        Raises:
            EnvironmentProblem: no display and no ``--out``; no hand detector model.
            KeyboardInterrupt: stopped by Ctrl-C; what was written until then is complete and playable.
        """
        config, choice = self.config, self.choice
        if config.out is None:
            _require_display(self.source)
        if choice.note:
            console.say(choice.note)
        if config.out is not None:
            # Of a run that was killed while it wrote the same file.
            remove_leftovers_of(config.out)
        run = _run(config, self.source, choice, console)
        if run.interrupted:
            written = f"; {config.out} holds what was done until then" if config.out else ""
            console.say(f"stopped after {run.frames} frames{written}")
            raise KeyboardInterrupt
        if run.problem is not None:
            console.warn(f"{run.problem}, after {run.frames} frames")
        return _summary(config, self.source, choice, run)


def _check_output(config: DemoConfig, source: Source) -> None:
    if config.out is None:
        return
    allowed = (_VIDEO_SUFFIX, *_IMAGE_SUFFIXES) if source.kind == "image" else (_VIDEO_SUFFIX,)
    if config.out.suffix.lower() not in allowed:
        raise UsageProblem(f"--out {config.out}: of this source {' or '.join(allowed)} can be written")
    if config.out.is_dir():
        raise UsageProblem(f"--out {config.out} is a folder; name a file in it")
    if config.out.exists():
        if source.path is not None and config.out.samefile(source.path):
            raise UsageProblem(f"--out {config.out} is the source itself; name another file")
        if not (config.redo or config.dry_run):
            raise UsageProblem(f"--out {config.out} is there already; --redo replaces it")


def _require_display(source: Source) -> None:
    problem = display_problem()
    if problem is not None:
        example = "joints.png" if source.kind == "image" else "joints.mp4"
        raise EnvironmentProblem(f"no window can be shown: {problem}; use --out {example} to write a file instead")


def _run(config: DemoConfig, source: Source, choice: ModelChoice, console: Console) -> DemoRun:
    # Images of a folder have nothing to do with each other: no tracking and no smoothing between them.
    moving = source.kind in ("camera", "video")
    poser = FinetunedPoser(choice.file, resolve_device(config.device)) if choice.file else None
    mirror = source.kind == "camera" if config.mirror is None else config.mirror
    hint = "" if config.out else "q or Esc: quit"
    look = Look(choice.title, choice.note, hint, mirror, config.view_3d)
    stages = Stages()
    total = source.count_hint()
    if config.max_frames is not None:
        total = config.max_frames if total is None else min(total, config.max_frames)
    if source.kind == "camera" and config.out and config.max_frames is None:
        console.say("recording until Ctrl-C (or give --max-frames)")
    with HandLandmarkerAdapter(None, config.hands, config.min_confidence, video_mode=moving) as finder:
        tracker = HandTracker(
            finder, poser, detect_every=config.detect_every, smooth=config.smooth and moving, stages=stages
        )
        with console.progress(f"demo {source.name}", total, "frames") as ticker:
            return run_demo(
                source,
                tracker,
                Painter(look),
                stages=stages,
                output=config.out,
                max_frames=config.max_frames,
                ticker=ticker,
            )


def _dry_summary(config: DemoConfig, source: Source, choice: ModelChoice) -> Summary:
    summary = Summary("demo")
    frames = source.count_hint()
    summary.facts = {
        "source": f"{source.name} ({source.kind})",
        "frames": "until stopped" if frames is None else min(frames, config.max_frames or frames),
        "model": choice.title,
        "shown": str(config.out) if config.out else "in a window",
    }
    return summary


def _summary(config: DemoConfig, source: Source, choice: ModelChoice, run: DemoRun) -> Summary:
    summary = Summary("demo")
    frames = max(run.frames, 1)
    summary.facts = {
        "source": f"{source.name} ({source.kind})",
        "model": choice.title,
        "frames": run.frames,
        "frames with a hand": run.with_hand,
        "frames per second": round(run.frames / max(run.seconds, 1e-9), 2),
    }
    summary.facts |= {f"{name}, ms a frame": round(1000 * s / frames, 2) for name, s in run.stages.seconds.items()}
    if config.out is not None:
        summary.outputs["output"] = config.out
    summary.problems = int(run.problem is not None)
    if choice.note:
        summary.hint = "train a model of your own: simhand finetune"
    return summary
