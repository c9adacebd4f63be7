"""The number format that a workspace's trainings on a CPU have in common, so that they can be compared.

``--precision auto`` measures a few steps, and on a machine that other programs use that may come out otherwise the next
time. So the first training of a kind decides for those that follow.
"""

from pathlib import Path

import torch

from simhand_cli.training.environment import read_document
from simhand_cli.training.precision import Precision, PrecisionName
from simhand_cli.workspace.atomic import write_json

#: In the folder of the runs.
USUAL_FILE = "cpu-precision.json"


def usual_precision(runs: Path, network: str) -> PrecisionName | None:
    """What earlier trainings of such a network were measured to be fastest in, on a machine like this; None at first.

    Args:
        runs: folder of the workspace's runs.
        network: what is trained, as :func:`keep_usual_precision` was told.
    """
    names: dict[str, PrecisionName] = {"fp32": "fp32", "bf16": "bf16"}
    return names.get(str(read_document(runs / USUAL_FILE).get(_kind(network))))


def keep_usual_precision(runs: Path, network: str, precision: Precision) -> None:
    """Note what was measured, if nothing is noted yet; the main process alone calls it."""
    known = read_document(runs / USUAL_FILE)
    if _kind(network) not in known:
        write_json(runs / USUAL_FILE, {**known, _kind(network): precision.name})


def _kind(network: str) -> str:
    return f"{network} on {torch.get_num_threads()} threads of {torch.backends.cpu.get_cpu_capability()}"
