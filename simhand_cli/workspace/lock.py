"""One writer at a time: a lock file that names who holds it and dies with its process."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simhand_cli.errors import EnvironmentProblem

LOCK_NAME = ".simhand.lock"


@contextmanager
def workspace_lock(directory: Path, command: str) -> Iterator[None]:
    """Hold the lock of a workspace or run folder.

    The lock is the kernel's (``flock``), so a killed process leaves none behind; the file's text only says who.

    Raises:
        EnvironmentProblem: another process holds it; the message names its pid, host and command.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK_NAME
    # Not inherited by programs that are started meanwhile: one that lives on would go on holding the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            # Without waiting: a second command that hangs silently would look broken.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 500).decode(errors="replace").strip() or "another process"
            raise EnvironmentProblem(f"{directory} is in use by {holder}; wait for it or stop it") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()} (simhand {command})\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
