"""Loops that are timed take turns, so that what else the machine does meets all alike."""

import statistics
from collections.abc import Callable, Mapping


def in_turn(loops: Mapping[str, Callable[[], float]], rounds: int, label: str) -> dict[str, list[float]]:
    """The rates of every loop, one a round, printed as they come."""
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            rates[name].append(round(loop(), 1))
        print(label, {name: found[-1] for name, found in rates.items()}, flush=True)
    return rates


def ratio(rates: Mapping[str, list[float]], this: str, other: str) -> float:
    """Of the medians of two loops."""
    return round(statistics.median(rates[this]) / statistics.median(rates[other]), 3)
