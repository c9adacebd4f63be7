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
    split: str | None = option(
        None, "Split to check (default: every split that is there)", none_was="", min_length=1, common=True
    )
    all_images: bool = option(False, f"Decode every picture; else a random {_DECODED} of each split", common=True)
    samples_shown: int = option(12, "Samples of each split on the sheet; 0 draws none", ge=0, le=500, common=True)
    out: Path | None = option(
        None,
        "File to write, a picture of samples, .png or .jpg (default: runs/data-SET/sheet.png in the workspace)",
        short="-o",
        common=True,
    )

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where the sheet is written."""
        return frozenset({"out"})
