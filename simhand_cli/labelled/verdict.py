"""What training or measuring does with a split in which something was found."""

from collections.abc import Sequence

import numpy as np

from simhand_cli.labelled.fault import Fault
from simhand_cli.labelled.projection import OUTSIDE


def verdict(command: str, samples: int, missing: int, faults: Sequence[Fault]) -> str:
    """One clause: the command refuses the set, and why, or how many samples it leaves out.

    Agrees with :func:`~simhand_cli.labelled.checks.check_labels`, and counts pictures that cannot be decoded too.

    Args:
        command: ``finetune``, or ``evaluate``, which keeps hands outside their pictures; with its flags.
        samples: of the split.
        missing: left out on opening it already.
        faults: of labels and pictures.
    """
    kept = ("picture-size", OUTSIDE) if command.split()[0] == "evaluate" else ("picture-size",)
    out = np.zeros(samples, bool)
    for fault in faults:
        if fault.kind not in kept:
            out[fault.samples] = True
    refusal = next((fault.refusal for fault in faults if fault.refusal), "no sample is usable" if out.all() else "")
    if refusal:
        return f"'simhand {command}' refuses this set: {refusal}"
    return f"'simhand {command}' leaves out {int(out.sum()) + missing:,} of {samples + missing:,} samples"
