"""Options of ``simhand evaluate``."""

from pathlib import Path
from typing import Literal

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.skeleton import RootJoint


class EvaluateConfig(CommandConfig):
    """Options of ``simhand evaluate``."""

    data: list[Path] = option(
        [], "Folder of a labelled set, repeatable (default: those of the fine-tuning run)", common=True
    )
    split: str | None = option(
        None,
        "Split of the sets (default: test, of DexYCB that of the setup trained on, as s1-test)",
        none_was="",
        min_length=1,
        common=True,
    )
    model: str | None = option(
        None,
        "Name or folder of a 'simhand finetune' run, a model file, mediapipe, mean-pose, or mean-shape (default: the "
        "newest run)",
        none_was="",
        min_length=1,
        common=True,
    )
    name: str | None = option(
        None,
        "Name of the run: runs/evaluate-NAME (default: after the model, and the set of --data)",
        short="-n",
        none_was="",
        min_length=1,
        common=True,
    )
    against: str | None = option(
        None,
        "Another evaluation of the same samples to compare with: its folder or name",
        none_was="",
        min_length=1,
        common=True,
    )
    leaderboard: bool = option(
        False,
        "Also write the file that the set's own scorer reads: FreiHAND's pred.json, DexYCB's text, AssemblyHands' JSON",
        common=True,
    )
    limit: int | None = option(None, "Samples of each set at most, drawn at random", ge=1, common=True)
    batch_size: int = option(64, "Samples a forward pass", ge=1, common=True)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the network runs", common=True)
    root_joint: RootJoint = option("wrist", "Joint moved onto the truth by root alignments")
    reflections: bool = option(False, "Let Procrustes mirror the hand, as FreiHAND's scorer does")
    bootstrap: int = option(1000, "Draws for the 95 % intervals", ge=10, le=100_000)
    bootstrap_over: Literal["sequence", "subject", "sample"] = option(
        "sequence", "What is drawn; samples where a set has fewer than 10 of it"
    )
    samples_shown: int = option(4, "Best, median and worst samples shown, each this many", ge=1, le=50)
    seed: int = option(0, "Seed of the choice of samples and of the bootstrap", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where and in which portions the model runs, and what is made of the figures, does not change them."""
        return frozenset({"name", "against", "leaderboard", "device", "batch_size"})
