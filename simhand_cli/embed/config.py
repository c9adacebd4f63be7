"""Options of ``simhand embed``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, option


class EmbedConfig(CommandConfig):
    """Options of ``simhand embed``."""

    encoder: str = option(
        "latest", "latest (newest pre-training run), a run's name or folder, a weight file, random, or imagenet"
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet")
    backbone: str | None = option(
        None, "timm name of the encoder (default: what the weights are for, else resnet50)", min_length=1
    )
    data: list[Path] = option([], "Folder of a labelled set, repeatable; none: the crops of the workspace")
    split: str = option("train", "Split of the sets of --data")
    format: Literal["h5", "safetensors"] = option("h5", "safetensors: the ids lie in a JSON file beside it")
    name: str | None = option(
        None, "Name of the run: runs/embed-NAME (default: after the encoder and --data)", short="-n"
    )
    input_px: int = option(128, "Side of the crops the encoder sees, pixels", ge=64, le=512, multiple_of=32)
    limit: int | None = option(None, "Embed a random choice of this many pictures", ge=1)
    batch_size: int = option(64, "Crops a forward pass", ge=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the encoder runs")
    seed: int = option(0, "Of the choice of pictures and of random weights", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where encoder and pictures lie is replaced by what they are; the rest is how to run."""
        return frozenset({"encoder", "encoder_weights", "backbone", "data", "name", "batch_size", "device"})
