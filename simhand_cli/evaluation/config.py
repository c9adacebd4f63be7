"""Options of ``simhand evaluate``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.skeleton import RootJoint


class EvaluateConfig(CommandConfig):
    """Options of ``simhand evaluate``."""

    data: list[Path] = option([], "Labelled set to test on, repeatable; none: those of the fine-tuning run")
    split: str = option("", "Split of the sets; none: test, of DexYCB that of the setup trained on (s1-test)")
    model: str = option(
        "",
        "Name or folder of a 'simhand finetune' run, a model file, mediapipe, mean-pose, mean-shape; none: newest run",
    )
    name: str = option("", "Name of this evaluation's folder; none: named after the model, and the set of --data")
    against: str = option("", "Another evaluation of the same samples to compare with: its folder or name")
    leaderboard: bool = option(
        False,
        "Also write the file that the set's own scorer reads: FreiHAND's pred.json, DexYCB's text, AssemblyHands' JSON",
    )
    limit: int | None = option(None, "Evaluate a random choice of this many samples of each set", ge=1)
    batch_size: int = option(64, "Samples a forward pass", ge=1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the model runs")
    root_joint: RootJoint = option("wrist", "Joint moved onto the truth by root alignments")
    reflections: bool = option(False, "Let Procrustes mirror the hand, as FreiHAND's scorer does")
    bootstrap: int = option(1000, "Draws for the 95 % intervals", ge=10, le=100_000)
    bootstrap_over: Literal["sequence", "subject", "sample"] = option(
        "sequence", "What is drawn; samples where a set has fewer than 10 of it"
    )
    samples_shown: int = option(4, "Best, median and worst samples shown, each this many", ge=1, le=50)
    seed: int = option(0, "Of the choice of samples and of the bootstrap", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where and in which portions the model runs, and what is made of the figures, does not change them."""
        return frozenset({"name", "against", "leaderboard", "device", "batch_size"})
