"""Options of ``simhand quickstart``."""

from pathlib import Path

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.workspace.cores import usable_cores


class QuickstartConfig(CommandConfig):
    """Options of ``simhand quickstart``; the defaults fit eight minutes on two cores."""

    workspace: Path = option(Path("quickstart"), "Folder for all of it", short="-w", common=True)
    people: int = option(16, "Synthetic people, one video each", ge=3, le=1000, common=True)
    frames: int = option(30, "Frames of each video", ge=5, le=100_000, common=True)
    labelled: int = option(4000, "Labelled synthetic images for fine-tuning and testing", ge=60, common=True)
    backbone: str = option("resnet10t", "timm name of the encoder", formerly=("encoder",), common=True)
    epochs: int = option(8, "Passes over all pairs in pre-training", ge=1, common=True)
    finetune_epochs: int = option(9, "Passes over the training samples in fine-tuning", ge=1, common=True)
    seed: int = option(0, "Seed of everything", ge=0, common=True)
    workers: int = option(usable_cores(), "Processes", ge=1, le=1024, common=True)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Workers only change the speed."""
        return frozenset({"workers"})
