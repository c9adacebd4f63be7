"""The data set's card: what a synthetic set holds and how it may be used, for people."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from simhand_cli.workspace.atomic import write_text

CARD_NAME: Final = "CARD.md"

_ABOUT: Final = """Made by `simhand synth`; `recipe.json` holds the options, and the same options make the same set.
No person was photographed: hands are rendered from a CC0 mesh before CC0 panoramas and photographs (and, if
`recipe.json` says so, pictures of the maker's own). Labels are exact.

"""
_LIMITS: Final = """
## Limits

Skin has no hair, veins or jewellery, sleeves and held things are simple solids, flesh does not deform where it touches.
Shape, pose and light are drawn from simple distributions, not measured from people. Models trained on it alone do worse
on photographs than on this set: test on real hands.
"""


def tone_quarters(tones: Iterable[float]) -> dict[str, int]:
    """How many of the skin tones (0 light .. 1 dark) lie in each quarter of the range, for a card's table."""
    # A tone of exactly 1 belongs to the last quarter.
    values = np.minimum((np.asarray(list(tones), np.float64) * 4).astype(int), 3)
    return dict(zip(("1st", "2nd", "3rd", "4th"), np.bincount(values, minlength=4).tolist(), strict=True))


def write_card(
    folder: Path, title: str, counts: Mapping[str, Mapping[str, int]], facts: Mapping[str, Any], sheet: bool = True
) -> None:
    """Write the card.

    Args:
        folder: of the set.
        title: of the card.
        counts: table title -> value -> how many.
        facts: name -> value.
        sheet: whether the set has a contact sheet.
    """
    lines = [f"# {title}", "", _ABOUT.rstrip(), ""]
    if sheet:
        lines += ["![a sample](contact_sheet.png)", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    for name, table in counts.items():
        total = max(sum(table.values()), 1)
        lines += [f"## {name[:1].upper()}{name[1:]}", "", "| | number | share |", "|---|---|---|"]
        lines += [f"| {value} | {count} | {100 * count / total:.1f} % |" for value, count in table.items()] + [""]
    write_text(folder / CARD_NAME, "\n".join(lines).rstrip() + "\n" + _LIMITS)
