"""Learning rates: how the base rate follows from the batch size, and how it goes over the steps."""

import math
from typing import Literal

LrRule = Literal["constant", "sqrt", "linear"]


def scaled_lr(lr: float, rule: LrRule, batch_size: int) -> float:
    """The peak learning rate for a global batch.

    Args:
        lr: the rate as configured.
        rule: ``constant``: lr itself; ``sqrt``: lr x sqrt(batch), as PeCLR trains; ``linear``: lr x batch / 256, as
            Goyal et al. (2017) and SimCLR do.
        batch_size: samples per step over all ranks.
    """
    if rule == "sqrt":
        return lr * math.sqrt(batch_size)
    return lr * batch_size / 256 if rule == "linear" else lr


def warmup_step(step: int, every_steps: int, warmup_steps: int, peak_lr: float, factor: float = 0.1) -> float:
    """Learning rate of a step: linear warm-up to the peak, then times ``factor`` after every ``every_steps`` steps.

    Args:
        step: from 0, counted from the start of the run.
        every_steps: steps between two falls.
        warmup_steps: steps of the warm-up.
        peak_lr: rate at its end.
        factor: of each fall; 0.1 as in DetNet's training code (fact sheet, section 5.4).
    """
    warm = min((step + 1) / max(warmup_steps, 1), 1.0)
    return peak_lr * warm * factor ** (step // every_steps)


def warmup_cosine(step: int, total_steps: int, warmup_steps: int, peak_lr: float, final_lr: float = 0.0) -> float:
    """Learning rate of a step: linear warm-up to the peak, then half a cosine down to ``final_lr``.

    A pure function of the step, so that a resumed run needs no schedule state. Step 0 already learns (rate
    peak / warmup_steps); the peak is reached at step warmup_steps - 1.

    Args:
        step: 0 .. total_steps - 1.
        total_steps: steps of the whole run.
        warmup_steps: steps of the warm-up; at most the whole run.
        peak_lr: rate at the end of the warm-up.
        final_lr: rate that the cosine would reach at step ``total_steps``.
    """
    # A short run (--max-steps) ends within its warm-up rather than above its peak.
    warmup_steps = min(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak_lr * (step + 1) / warmup_steps
    done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return final_lr + (peak_lr - final_lr) * 0.5 * (1 + math.cos(math.pi * done))
