"""A window, and the checks without which opening one would abort the whole process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TITLE = "simhand demo"
_NO_WINDOWS = 3
_PROBE = f"""
import sys, cv2
lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
gui = next((line.partition(":")[2].strip() for line in lines if line.startswith("GUI:")), "NONE")
if gui.upper() in ("", "NONE", "NO"):
    sys.exit({_NO_WINDOWS})
cv2.namedWindow("simhand")
cv2.waitKey(1)
cv2.destroyAllWindows()
"""
#: Forwarded displays over slow lines take several seconds; one that does not answer at all never ends.
_PROBE_TIMEOUT_S = 20.0
_ESCAPE = 27


def display_problem() -> str | None:
    """Why no window can be shown, or None if one can.

    OpenCV's windows end the process with SIGABRT when the display is missing or does not answer; there is no
    exception to catch. So a child process opens a window first; OpenCV is not imported here.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no display (DISPLAY and WAYLAND_DISPLAY are not set)"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer"
    if probe.returncode == _NO_WINDOWS:
        return "this OpenCV is built without windows (opencv-python-headless?)"
    if probe.returncode != 0:
        return "the display cannot be opened"
    return None


def _give_qt_fonts() -> None:
    """Point OpenCV's Qt to matplotlib's fonts: its wheel has none, and complains about that on stderr."""
    import matplotlib

    os.environ.setdefault("QT_QPA_FONTDIR", str(Path(matplotlib.get_data_path()) / "fonts" / "ttf"))


class Window:
    """A resizable window; only to be made where :func:`display_problem` is None."""

    def __init__(self) -> None:
        _give_qt_fonts()
        import cv2

        # GUI_NORMAL: without OpenCV's toolbar.
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False
        self._start = time.monotonic()

    def show(self, image_rgb: "NDArray[np.uint8]", due_s: float | None) -> bool:
        """Show a frame.

        Args:
            image_rgb: (H, W, 3).
            due_s: when, seconds from the first frame, so that a file plays at its own pace; None for at once.

        Returns:
            False once the user closed the window or pressed q or Escape.
        """
        import cv2

        if not self._sized:
            cv2.resizeWindow(_TITLE, image_rgb.shape[1], image_rgb.shape[0])
            self._sized = True
            # The clock starts with the first frame shown: loading the model must not count as lateness.
            self._start = time.monotonic() - (due_s or 0.0)
        cv2.imshow(_TITLE, image_rgb[..., ::-1])
        early_ms = 0.0 if due_s is None else 1000 * (due_s - (time.monotonic() - self._start))
        # At least 1 ms: waitKey draws the window, and 0 would wait for a key for ever.
        return self._goes_on(cv2.waitKey(max(1, round(early_ms))))

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Keep a still picture until the user closes it or ``stopped`` says so."""
        import cv2

        while not stopped() and self._goes_on(cv2.waitKey(50)):
            pass

    def _goes_on(self, key: int) -> bool:
        import cv2

        # Higher bits may hold modifiers such as Num Lock; a window closed by its button sends no key at all.
        return key & 0xFF not in (ord("q"), _ESCAPE) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        import cv2

        cv2.destroyAllWindows()
