"""The demo's loop: read, follow, draw, and show or write, until the source ends or the user does."""

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.demo.display import Window
from simhand_cli.demo.overlay import Painter, fit_into
from simhand_cli.demo.sources import Source
from simhand_cli.demo.tracker import HandTracker, Stages
from simhand_cli.demo.video_file import video_file
from simhand_cli.demo.view3d import sway
from simhand_cli.errors import InputProblem, SimhandError
from simhand_cli.report.sheet import save_image

_FPS_MEMORY = 0.9


#: A drawn frame and its time, seconds.
Shot = tuple[NDArray[np.uint8], float]


@dataclass
class DemoRun:
    """What happened.

    Attributes:
        frames: processed.
        with_hand: of them, how many showed at least one hand.
        seconds: of the whole loop.
        stages: seconds a stage.
        interrupted: the user stopped it with Ctrl-C (or it was asked to terminate).
        problem: an error of the source after the first frame; what came before is kept.
    """

    frames: int = 0
    with_hand: int = 0
    seconds: float = 0.0
    stages: Stages = field(default_factory=Stages)
    interrupted: bool = False
    problem: SimhandError | None = None


class StopFlag:
    """Set by Ctrl-C and SIGTERM, so that a file being written is finished; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the block runs (in the main thread; elsewhere its owner handles signals)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: object) -> None:
            # The second time the user means it, even if the file is lost.
            if self.is_set and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.is_set = True

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_demo(
    source: Source,
    tracker: HandTracker,
    painter: Painter,
    *,
    stages: Stages,
    output: Path | None,
    max_frames: int | None,
    ticker: Ticker,
) -> DemoRun:
    """Run until the source ends, ``max_frames`` are done, the window is closed or Ctrl-C is pressed.

    Args:
        source: frames.
        tracker: follows hands; it must book its time on ``stages``.
        painter: draws over the frames.
        stages: where time is booked.
        output: video (.mp4) or, for an image, picture to write; None opens a window.
        max_frames: at most so many frames, or None.
        ticker: advanced by frames.

    Returns:
        Counts and times; check ``interrupted`` and ``problem``.

    Raises:
        SimhandError: not even one frame could be read.
    """
    run = DemoRun(stages=stages)
    stop = StopFlag()
    start = time.perf_counter()
    with stop.listening():
        shots = _shots(source, tracker, painter, run, stop, max_frames)
        # The first frame decides size and kind of the output, and whether there is anything to show at all.
        first = next(shots, None)
        if first is None:
            if run.problem is not None:
                raise run.problem
            if not stop.is_set:
                raise InputProblem(f"{source.path or source.name}: no frame of it can be read")
        elif output is None:
            _show_all(first, shots, source, run, stop, ticker)
        elif source.kind == "image" and output.suffix.lower() != ".mp4":
            save_image(output, first[0])
            ticker.advance()
        else:
            _write_all(first, shots, output, run, ticker)
    run.interrupted = stop.is_set
    run.seconds = time.perf_counter() - start
    return run


def _shots(
    source: Source, tracker: HandTracker, painter: Painter, run: DemoRun, stop: StopFlag, max_frames: int | None
) -> Iterator[Shot]:
    """(drawn frame, its time) one after another; errors of the source end it and are noted."""
    frames = source.frames()
    fps: float | None = None
    last = time.perf_counter()
    while not stop.is_set and (max_frames is None or run.frames < max_frames):
        try:
            with run.stages.time("read"):
                frame = next(frames, None)
        except SimhandError as problem:
            run.problem = problem
            return
        if frame is None:
            return
        # Pictures of a folder are not a sequence: no hand is followed from one to the next.
        if source.kind == "images":
            tracker.forget()
        hands = tracker.update(frame)
        with run.stages.time("draw"):
            yaw = sway(frame.timestamp_s)
            drawn = painter.draw(frame.image_rgb, hands, fps=fps, yaw_rad=yaw)
        run.frames += 1
        run.with_hand += bool(hands)
        yield drawn, frame.timestamp_s
        # After the yield: showing or writing the frame counts too.
        now = time.perf_counter()
        rate = 1.0 / max(now - last, 1e-6)
        # A moving mean: single frames take such different times that nobody could read the figure.
        fps = rate if fps is None else _FPS_MEMORY * fps + (1 - _FPS_MEMORY) * rate
        last = now


def _write_all(first: Shot, shots: Iterator[Shot], output: Path, run: DemoRun, ticker: Ticker) -> None:
    height, width = first[0].shape[:2]
    with video_file(output, first[0].shape) as file:

        def write(shot: Shot) -> None:
            with run.stages.time("write"):
                # A video has one frame size; pictures of a folder, and some streams, change theirs.
                file.write(fit_into(shot[0], height, width), shot[1])
            ticker.advance()

        write(first)
        for shot in shots:
            write(shot)


def _show_all(first: Shot, shots: Iterator[Shot], source: Source, run: DemoRun, stop: StopFlag, ticker: Ticker) -> None:
    window = Window()
    try:
        for image, time_s in itertools.chain([first], shots):
            with run.stages.time("show"):
                goes_on = window.show(image, None if source.kind == "camera" else time_s)
            ticker.advance()
            if not goes_on:
                return
        if source.kind in ("image", "images"):
            window.wait(lambda: stop.is_set)
    finally:
        window.close()
