"""The steps of the quick start: ordinary commands with ordinary options."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.flags import command_line
from simhand_cli.console import Console
from simhand_cli.summary import Summary

if TYPE_CHECKING:
    from simhand_cli.commands.quickstart import QuickstartConfig

#: Seconds of work on one core of a 2025 server, for the estimate shown at the start; start-up of the steps apart.
_PER_VIDEO_FRAME, _PER_LABELLED, _PER_DETECTED_FRAME = 0.075, 0.035, 0.045
_PER_PRETRAIN_VIEW, _PER_FINETUNE_SAMPLE, _START_UP = 0.016, 0.026, 75.0


@dataclass(frozen=True)
class Step:
    """One command of the tour.

    Attributes:
        title: what it does, for people.
        name: the command.
        config: its options.
        done_by: a file that says it need not be run again (for commands that would refuse to overwrite).
    """

    title: str
    name: str
    config: CommandConfig
    done_by: Path | None = None

    @property
    def command_line(self) -> str:
        """What a user would type for this step."""
        return command_line(self.name, self.config)

    def run(self, console: Console) -> Summary:
        """Run the command through its Python function."""
        module = importlib.import_module(f"simhand_cli.commands.{self.name}")
        function: Callable[[Any, Console], Summary] = getattr(module, self.name)
        return function(self.config, console)


def make_steps(config: "QuickstartConfig") -> list[Step]:
    """Every step, in order; all write below the quick start's workspace."""
    from simhand_cli.commands.demo import DemoConfig
    from simhand_cli.commands.detect import DetectConfig
    from simhand_cli.commands.evaluate import EvaluateConfig
    from simhand_cli.commands.finetune import FinetuneConfig
    from simhand_cli.commands.ingest import IngestConfig
    from simhand_cli.commands.keypoints import KeypointsConfig
    from simhand_cli.commands.mine import MineConfig
    from simhand_cli.commands.pretrain import PretrainConfig
    from simhand_cli.commands.synth import SynthConfig

    root, seed, workers = config.workspace, config.seed, config.workers
    videos, labelled = root / "synth" / "videos", root / "synth" / "labelled"
    unseen, film = root / "synth" / "unseen-person", root / "demo.mp4"
    common: dict[str, Any] = {"workspace": root, "redo": config.redo}
    synth: dict[str, Any] = {**common, "workers": workers}
    return [
        Step(
            f"film {config.people} synthetic people",
            "synth",
            SynthConfig(
                **synth, out=videos, format="videos", count=config.people, frames=config.frames, fps=5.0, seed=seed
            ),
        ),
        Step(
            "film one more, whom no model will have seen",
            "synth",
            SynthConfig(
                **synth, out=unseen, format="videos", count=1, frames=2 * config.frames, fps=10.0, seed=seed + 1000
            ),
        ),
        Step(
            f"make {config.labelled} labelled hands of other synthetic people",
            "synth",
            SynthConfig(
                **synth, out=labelled, format="labelled", count=config.labelled, image_px=128, seed=seed + 2000
            ),
        ),
        Step("register the videos", "ingest", IngestConfig(**common, paths=[videos], fps=5.0, workers=workers)),
        Step("find hands", "detect", DetectConfig(**common, workers=workers, seed=seed)),
        Step("estimate 21 joints a hand", "keypoints", KeypointsConfig(**common, workers=workers)),
        Step("find similar hands in other videos", "mine", MineConfig(**common, topk=1)),
        Step(
            "learn an encoder from the pairs",
            "pretrain",
            PretrainConfig(
                **common, encoder=config.encoder, epochs=config.epochs, batch_size=64, seed=seed, name="quickstart"
            ),
        ),
        Step(
            "train the 3D model on the labelled hands",
            "finetune",
            FinetuneConfig(
                **common,
                data=[labelled],
                encoder=str(root / "runs" / "pretrain-quickstart"),
                epochs=config.finetune_epochs,
                batch_size=32,
                width=64,
                seed=seed,
                name="quickstart",
            ),
        ),
        Step(
            "measure it on people it has not seen",
            "evaluate",
            EvaluateConfig(**common, data=[labelled], model=str(root / "runs" / "finetune-quickstart"), name="model"),
        ),
        Step(
            "measure the floor: always the mean pose",
            "evaluate",
            EvaluateConfig(**common, data=[labelled], model="mean-pose", name="mean-pose"),
        ),
        Step(
            "measure MediaPipe on the same hands",
            "evaluate",
            EvaluateConfig(**common, data=[labelled], model="mediapipe", name="mediapipe"),
        ),
        Step(
            "show it on the unseen person's video",
            "demo",
            DemoConfig(
                **common,
                source=str(unseen),
                output=film,
                model=str(root / "runs" / "finetune-quickstart"),
            ),
            done_by=film,
        ),
    ]


def expected_seconds(config: "QuickstartConfig") -> float:
    """A rough estimate of the whole tour, from figures measured on two cores of a server."""
    frames = config.people * config.frames
    parallel = (
        (frames + 2 * config.frames) * _PER_VIDEO_FRAME
        + config.labelled * _PER_LABELLED
        + frames * _PER_DETECTED_FRAME
        + 2 * frames * config.epochs * _PER_PRETRAIN_VIEW
        + 0.8 * config.labelled * config.finetune_epochs * _PER_FINETUNE_SAMPLE
    )
    return parallel / config.workers + _START_UP
