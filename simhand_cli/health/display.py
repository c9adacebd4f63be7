"""Whether a window can be opened, found out without opening one.

``cv2.imshow`` without a display aborts the whole process, so this must be asked first.
"""

import os
import sys


def display_problem() -> str:
    """Why no window can be opened on this machine; empty if one can, as far as can be told from outside."""
    if sys.platform in ("darwin", "win32"):
        return ""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    return ""
