"""When a run writes checkpoints: at steps that were asked for, else by what writing costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: A slow run saves at least this often, whatever --checkpoint-every says.
SAVE_EVERY_S = 600.0
#: Without --checkpoint-every: steps between checkpoints, if writing one took at most this share of the time since then.
SAVE_EVERY_STEPS, SAVE_SHARE = 500, 0.01


class SaveClock:
    """Every rank knows which step is due; rank 0 alone looks at the time, since clocks differ.

    Args:
        every: steps between checkpoints; None: by cost.
        total_steps: of the run; the last one is always due.
        by_cost_steps: without ``every``, steps after which a checkpoint is written if it is cheap.
    """

    def __init__(self, every: int | None, total_steps: int, by_cost_steps: int = SAVE_EVERY_STEPS) -> None:
        self._every, self._total_steps, self._by_cost_steps = every, total_steps, by_cost_steps
        # Monotonic: a clock that is set back must not put off a save. The first save counts as free.
        self._saved_at, self._cost_s = time.monotonic(), 0.0

    def due(self, step: int) -> bool:
        """Whether every rank knows that there is a checkpoint after this step."""
        return step == self._total_steps or (self._every is not None and step % self._every == 0)

    def late(self, step: int) -> bool:
        """Whether this process would like one by its clock."""
        passed = time.monotonic() - self._saved_at
        cheap = self._cost_s <= SAVE_SHARE * passed
        # Ten minutes are what a crash may cost at most, however dear a checkpoint is.
        return passed > SAVE_EVERY_S or (self._every is None and step % self._by_cost_steps == 0 and cheap)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of one, to know what it costs."""
        start = time.monotonic()
        yield
        self._saved_at = time.monotonic()
        self._cost_s = self._saved_at - start
