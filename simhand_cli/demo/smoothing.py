"""The one-euro filter: steady when a hand rests, without lag when it moves (Casiez et al., CHI 2012)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _share(cutoff_hz: Floats | float, step_s: float) -> Floats:
    """Weight of the new value in a first-order low-pass with this cut-off."""
    # By the real time step: cameras and detections do not come evenly.
    rate = 2 * np.pi * np.asarray(cutoff_hz, dtype=np.float64) * step_s
    share: Floats = rate / (rate + 1)
    return share


class OneEuroFilter:
    """Smooths points over time; each point has its own cut-off, rising with that point's speed.

    Args:
        min_cutoff_hz: cut-off at rest; lower is steadier.
        speed_gain_hz: how much the cut-off rises per ``unit`` of speed per second; higher lags less.
        speed_cutoff_hz: cut-off of the speed estimate.
    """

    def __init__(self, min_cutoff_hz: float = 1.2, speed_gain_hz: float = 14.0, speed_cutoff_hz: float = 4.0) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._speed_gain_hz = speed_gain_hz
        self._speed_cutoff_hz = speed_cutoff_hz
        self._value: Floats | None = None
        self._raw: Floats | None = None
        self._speed: Floats | None = None
        self._time_s = 0.0

    def __call__(self, points: NDArray[np.floating], time_s: float, unit: float) -> Floats:
        """Filter the points of one moment.

        Args:
            points: (J, D) positions.
            time_s: when; a time not after the last one only restarts the filter.
            unit: the length a speed is measured in (the hand's size), same unit as the points.

        Returns:
            (J, D) smoothed positions.
        """
        raw = np.asarray(points, dtype=np.float64)
        step_s = time_s - self._time_s
        if self._value is None or self._raw is None or self._speed is None or step_s <= 0:
            self._value, self._raw, self._speed = raw.copy(), raw.copy(), np.zeros_like(raw)
            self._time_s = time_s
            return self._value.copy()
        # From the raw points: the smoothed ones lag, and would keep the cut-off low just when a hand starts.
        speed_now = (raw - self._raw) / step_s
        self._speed = self._speed + _share(self._speed_cutoff_hz, step_s) * (speed_now - self._speed)
        # In hand sizes a second, so that one setting serves near and far hands, pixels and millimetres.
        pace = np.linalg.norm(self._speed, axis=-1, keepdims=True) / max(unit, 1e-9)
        share = _share(self._min_cutoff_hz + self._speed_gain_hz * pace, step_s)
        self._value = self._value + share * (raw - self._value)
        self._raw, self._time_s = raw, time_s
        return self._value.copy()
