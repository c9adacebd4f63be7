"""Running the installed ``simhand`` as a user would."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: Threads that wait must not spin where a training and its loader share the cores.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
#: Done, and done with a few items left out.
_FINE = (0, 5)


class CommandFailed(Exception):
    """A command ended with an error; the text names it and its log."""


def simhand(*words: object, log: Path, threads: int | None = None) -> dict[str, Any]:
    """Run one command.

    Args:
        *words: command and options.
        log: file that the command and its messages are appended to.
        threads: of PyTorch; None for all cores.

    Returns:
        What ``--json`` prints, and ``seconds``, the wall time of the whole process.

    Raises:
        CommandFailed: its exit code is neither 0 nor 5.
    """
    command = [sys.executable, "-m", "simhand_cli", *map(str, words), "--json"]
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | _ENVIRONMENT | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    start = time.monotonic()
    with log.open("a") as messages:
        messages.write(f"$ simhand {' '.join(command[3:])}\n")
        messages.flush()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=messages, text=True, env=environment, check=False)
    if done.returncode not in _FINE:
        raise CommandFailed(f"'simhand {' '.join(command[3:])}' ended with {done.returncode}; see {log}")
    document: dict[str, Any] = json.loads(done.stdout)
    return {**document, "seconds": round(time.monotonic() - start, 1)}
