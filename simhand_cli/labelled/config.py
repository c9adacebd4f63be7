"""Options of ``simhand data``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, argument, option

#: Pictures decoded without --all-images, and the seed of their choice.
_DECODED, _SEED = 200, 0


class DataConfig(CommandConfig):
    """Options of ``simhand data``."""

    action: Literal["check"] = argument("What to do: check")
    path: Path = argument("Folder of the labelled set")
    split: str = option("", "Check this split only; none: every split that is there")
    all_images: bool = option(False, f"Decode every picture; else a random {_DECODED} of each split")
    samples_shown: int = option(12, "Samples of each split on the sheet; 0 draws none", ge=0, le=500)
    out: Path | None = option(
        None,
        "Picture of samples to write, .png or .jpg (default: runs/data-SET/sheet.png in the workspace)",
        short="-o",
    )

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the sheet is written."""
        return frozenset({"out"})
