"""How long a step of a whole batch takes, from steps that take a few seconds."""

from collections.abc import Callable

#: A step that is expected to take longer is not measured whole.
_LONGEST_S = 4.0


def step_seconds(measure: Callable[[int], float], first: int, wanted: int) -> tuple[float, int]:
    """Seconds of a step of ``wanted`` items, and of how many items a step was measured.

    A step of few items is no measure of a large one: a fixed part of its time (launching, weights) is spread over few
    of them, and caches hold what a whole batch does not leave in them. So the whole batch is measured where that takes
    seconds; else two sizes are, and the line through them is followed.

    Args:
        measure: seconds of a step of so many items.
        first: items of the first measurement, at most ``wanted``.
        wanted: items of a step of the run.
    """
    few = measure(first)
    if first >= wanted:
        return few, first
    # By proportion, which is near enough to tell seconds from minutes.
    if few * wanted / first <= _LONGEST_S:
        return measure(wanted), wanted
    more = min(max(2 * first, round(first * _LONGEST_S / few)), wanted)
    many = measure(more)
    # Noise can make the larger step the faster one; a negative slope would promise a run of no time.
    slope = max(many - few, 0.0) / (more - first)
    return many + slope * (wanted - more), more
