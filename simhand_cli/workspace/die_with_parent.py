"""Child processes that end with their parent, so that no orphan burns a core or holds a lock after ``kill -9``."""

import ctypes
import os
import signal
import sys


def die_with(parent: int) -> None:
    """Have Linux kill this process when its parent dies; elsewhere do nothing.

    Args:
        parent: the parent's process id, as the parent itself told it (it may rightly be 1, in a container).
    """
    if sys.platform != "linux":
        return
    # PR_SET_PDEATHSIG of linux/prctl.h. SIGKILL, as loader workers outlive SIGTERM for a while.
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # died before the request was made
        os.kill(os.getpid(), signal.SIGKILL)
