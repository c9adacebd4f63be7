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
    from simhand_cli.commands.quickstart.config import QuickstartConfig

#: Seconds of work on one core of a 2025 server, for the estimate shown at the start; start-up of the steps apart.
_PER_VIDEO_FRAME, _PER_LABELLED, _PER_DETECTED_FRAME = 0.075, 0.025, 0.045
_PER_PRETRAIN_VIEW, _PER_FINETUNE_SAMPLE, _START_UP = 0.010, 0.013, 75.0


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


@dataclass(frozen=True)
class _Places:
    """Where the tour's files lie."""

    root: Path

    @property
    def videos(self) -> Path:
        return self.root / "synth" / "videos"

    @property
    def unseen(self) -> Path:
        return self.root / "synth" / "unseen-person"

    @property
    def labelled(self) -> Path:
        return self.root / "synth" / "labelled"

    @property
    def encoder_run(self) -> Path:
        return self.root / "runs" / "pretrain-quickstart"

    @property
    def model_run(self) -> Path:
        return self.root / "runs" / "finetune-quickstart"


def make_steps(config: "QuickstartConfig") -> list[Step]:
    """Every step, in order; all write below the quick start's workspace."""
    places = _Places(config.workspace)
    return [
        *_make_data(config, places),
        *_mine_pairs(config, places),
        *_train(config, places),
        *_look(config, places),
    ]


def _make_data(config: "QuickstartConfig", places: _Places) -> list[Step]:
    from simhand_cli.synth.config import SynthConfig

    common: dict[str, Any] = {"workspace": places.root, "workers": config.workers}
    people = SynthConfig(
        **common,
        out=places.videos,
        format="videos",
        count=config.people,
        frames=config.frames,
        fps=5.0,
        seed=config.seed,
    )
    one_more = SynthConfig(
        **common,
        out=places.unseen,
        format="videos",
        count=1,
        frames=2 * config.frames,
        fps=10.0,
        seed=config.seed + 1000,
    )
    labelled = SynthConfig(
        **common, out=places.labelled, format="labelled", count=config.labelled, image_px=128, seed=config.seed + 2000
    )
    return [
        Step(f"film {config.people} synthetic people", "synth", people),
        Step("film one more, whom no model will have seen", "synth", one_more),
        Step(f"make {config.labelled} labelled hands of other synthetic people", "synth", labelled),
    ]


def _mine_pairs(config: "QuickstartConfig", places: _Places) -> list[Step]:
    from simhand_cli.hands.config import DetectConfig, KeypointsConfig
    from simhand_cli.mining.config import MineConfig
    from simhand_cli.video.config import IngestConfig

    common: dict[str, Any] = {"workspace": places.root}
    parallel: dict[str, Any] = {**common, "workers": config.workers}
    return [
        Step("register the videos", "ingest", IngestConfig(**parallel, paths=[places.videos], fps=5.0)),
        Step("find hands", "detect", DetectConfig(**parallel, seed=config.seed)),
        Step("estimate 21 joints a hand", "keypoints", KeypointsConfig(**parallel)),
        Step("find similar hands in other videos", "mine", MineConfig(**common, topk=1)),
    ]


def _train(config: "QuickstartConfig", places: _Places) -> list[Step]:
    from simhand_cli.finetune.config import FinetuneConfig
    from simhand_cli.finetune.options import AugmentOptions
    from simhand_cli.pretrain.config import PretrainConfig

    common: dict[str, Any] = {"workspace": places.root, "seed": config.seed, "name": "quickstart"}
    pretrain = PretrainConfig(**common, backbone=config.backbone, epochs=config.epochs, batch_size=64)
    finetune = FinetuneConfig(
        **common,
        data=[places.labelled],
        encoder=str(places.encoder_run),
        epochs=config.finetune_epochs,
        # Small crops, a light model and mild augmentation learn most in the time there is.
        batch_size=32,
        width=64,
        input_px=64,
        augment=AugmentOptions(rotation_deg=15.0, scale=0.05, shift=0.03, colour=0.3, blur_px=0.0),
    )
    return [
        Step("learn an encoder from the pairs", "pretrain", pretrain),
        Step("train the 3D model on the labelled hands", "finetune", finetune),
    ]


def _look(config: "QuickstartConfig", places: _Places) -> list[Step]:
    from simhand_cli.demo.config import DemoConfig
    from simhand_cli.evaluation.config import EvaluateConfig

    def evaluation(model: str, name: str) -> EvaluateConfig:
        return EvaluateConfig(workspace=places.root, data=[places.labelled], model=model, name=name, seed=config.seed)

    film = places.root / "demo.mp4"
    demo = DemoConfig(
        workspace=places.root,
        source=str(places.unseen / "person-00000.mp4"),
        out=film,
        model=str(places.model_run),
    )
    return [
        Step("measure it on people it has not seen", "evaluate", evaluation(str(places.model_run), "model")),
        Step("measure a baseline to get below: always the mean pose", "evaluate", evaluation("mean-pose", "mean-pose")),
        Step("measure another one: always the mean shape", "evaluate", evaluation("mean-shape", "mean-shape")),
        Step("measure MediaPipe on the same hands", "evaluate", evaluation("mediapipe", "mediapipe")),
        Step("show it on the unseen person's video", "demo", demo, done_by=film),
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
