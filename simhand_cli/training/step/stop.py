"""Stopping together: signals wait for the step's end, a loss that is not finite stops every rank before the update."""

import math
import signal
import threading
from dataclasses import dataclass
from types import FrameType, TracebackType

from simhand_cli.errors import InputProblem
from simhand_cli.training.processes.ranks import Ranks


class StopSignals:
    """While active, SIGINT and SIGTERM only set :attr:`requested`; the loop finishes its step and saves.

    A second SIGINT raises KeyboardInterrupt at once, for a user who does not want to wait.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interrupts = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        # Python allows handlers in the main thread only; elsewhere (tests, services) the owner handles signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After the loop Ctrl-C ends the report at once: there is nothing left to save.
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() had returned
        self._previous.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # Nothing else: a handler may run in the middle of anything, also of a write.
        self.requested = True
        # Only SIGINT counts: a launcher adds its own SIGTERM to the terminal's first SIGINT.
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Verdict:
    """What all ranks do after a step: each is true if it is on any rank.

    Attributes:
        stop: save and leave.
        save: write a checkpoint.
        bad: a loss or gradient is not finite: leave without the update.
    """

    stop: bool = False
    save: bool = False
    bad: bool = False

    def agreed(self, ranks: Ranks) -> "Verdict":
        """The same verdict on every rank, by one small exchange."""
        stop, save, bad = ranks.maximum([float(self.stop), float(self.save), float(self.bad)])
        return Verdict(stop > 0, save > 0, bad > 0)


def refuse_non_finite(step: int, loss: float, grad_norm: float) -> InputProblem:
    """The error all ranks raise together when a loss or gradient is not a number (nothing was updated)."""
    what = "loss" if not math.isfinite(loss) else "gradient"
    return InputProblem(
        f"the {what} of step {step} is not finite (loss {loss:g}, gradient norm {grad_norm:g}), no update was made; "
        "try a smaller --lr, more --warmup-epochs, --precision fp32 or --grad-clip 1"
    )
