"""Options of ``simhand probe``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, option


class ProbeConfig(CommandConfig):
    """Options of ``simhand probe``."""

    encoder: list[str] = option(
        ["latest"],
        "latest, a run's name or folder, a weight file, random, or imagenet; repeatable, the first is compared with",
        min_length=1,
    )
    encoder_weights: Path | None = option(None, "File of ImageNet weights for --encoder imagenet")
    backbone: str | None = option(
        None, "timm name of the encoders (default: what the weights are for, else resnet50)", min_length=1
    )
    untrained: bool = option(True, "Also measure an untrained encoder of every architecture, unless random is named")
    data: Path | None = option(None, "Folder of a labelled set (default: the workspace's synthetic set)")
    split: str = option("test", "Split that is asked about")
    gallery_split: str = option("train", "Split that neighbours and the linear probe's training come from")
    name: str | None = option(
        None, "Name of the run: runs/probe-NAME (default: after the first encoder and --data)", short="-n"
    )
    limit: int = option(1000, "Test samples, a random choice of at most this many", ge=1)
    gallery_limit: int = option(5000, "Gallery samples, a random choice of at most this many", ge=1)
    val_fraction: float = option(0.2, "Part of the gallery, by whole people, to choose the penalty on", gt=0, lt=1)
    plotted: int = option(600, "Test hands on the map at most", ge=12, le=2000)
    perplexity: float = option(30.0, "Of the map: about how many neighbours count as near", ge=2)
    bootstrap: int = option(1000, "Draws for the 95 % intervals", ge=10, le=100_000)
    input_px: int = option(128, "Side of the crops the encoders see, pixels", ge=64, le=512, multiple_of=32)
    batch_size: int = option(64, "Crops a forward pass", ge=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the encoders run")
    seed: int = option(0, "Of the choices of samples, of random weights and of the bootstrap", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where encoders and labels lie is replaced by what they are; the rest is how to run."""
        return frozenset(
            {"encoder", "encoder_weights", "backbone", "untrained", "data", "name", "batch_size", "device"}
        )
