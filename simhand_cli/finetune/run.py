"""One fine-tuning from its options to the finished run, and what is told of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simhand_cli.console import Console
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.dry_run import dry_run
from simhand_cli.finetune.settings import run_identity, settle
from simhand_cli.finetune.training_data import TrainingData, choose_samples
from simhand_cli.finetune.weak_2d import WeakCrops
from simhand_cli.finetune.worker import FinetuneJob, train
from simhand_cli.labelled.open import held_out_split, matching_test_split, newest_own_set, refuse_repeated
from simhand_cli.models.encoder_source import find_encoder
from simhand_cli.stages.records import NoRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary, refuse_dropped
from simhand_cli.training.log.trackers import check_trackers
from simhand_cli.training.processes.failures import ProblemBoard
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.world import World, own_cores
from simhand_cli.training.step.compile import refuse_several
from simhand_cli.workspace.paths import Workspace


class Finetuning:
    """``simhand finetune`` as a :class:`simhand_cli.stages.job.Job`, on one process of the run or the one before it.

    Args:
        config: the options.
        world: the run's processes.
        board: the job's problems, where one is joined.
    """

    def __init__(self, config: FinetuneConfig, world: World, board: ProblemBoard | None) -> None:
        self.config, self._world, self._board = config, world, board
        #: The run's folder is held by the engine's first process, which need not be this one.
        self.record = NoRecord()

    def prepare(self, console: Console) -> None:
        """Find the encoder, read the labels and choose the samples.

        Raises:
            EnvironmentProblem: an encoder file or tracker that is not there.
            InputProblem: unusable labels or weights.
            UsageProblem: options that exclude each other.
        """
        config, self._console = self.config, console
        check_trackers(config.log)
        if config.compile:
            refuse_several(self._world.size, joined=self._board is not None)
        workspace = Workspace(config.workspace)
        self.source = find_encoder(config.encoder, workspace, config.backbone, config.encoder_weights)
        refuse_repeated(config.data)
        self.paths = config.data or [newest_own_set(workspace)]
        console.say("finetune: reading the labels")
        data = choose_samples(
            self.paths,
            split=config.split,
            val_fraction=config.val_fraction,
            label_fraction=config.label_fraction,
            fraction_rule=config.fraction_rule,
            mix=config.mix,
            seed=config.seed,
            loss=config.loss,
        )
        self.data = data.with_weak(WeakCrops(workspace), config.weak_share) if config.weak_2d else data
        self.settings = settle(config, self.source)
        self.path = workspace.run_dir("finetune", self.settings.name)

    def identity(self) -> Mapping[str, Any]:
        """Options, labels, samples and encoder."""
        return run_identity(self.settings, self.data, self.source, self._world.size)

    def state(self) -> State:
        """Known to the engine alone, which opens the folder; a dry run looks into it by itself."""
        return "new"

    def dry(self) -> Summary:
        """Samples, time and disk space."""
        summary = dry_run(self.settings, self.data, self.source, self.path, self.identity(), self._world, self._console)
        summary.dropped = self.data.dropped
        summary.problems = sum(one.count for one in self.data.dropped)
        return summary

    def run(self, console: Console) -> Summary:
        """Train on all processes, or read a finished run back.

        Raises:
            InputProblem: samples are left out, and ``--strict`` is on.
        """
        data, source, world = self.data, self.source, self._world
        validation = "; ".join(data.validation)
        # Before any training, which --strict would only throw away.
        refuse_dropped(data.dropped, self.config.strict)
        console.say(f"encoder {source.described}; {data.labelled} labelled samples; validation on {validation}")
        if data.dropped:
            count, first = sum(one.count for one in data.dropped), data.dropped[0]
            console.warn(
                f"{count} samples are left out; {first.count} of them: {first.why} ('simhand data check' shows them)"
            )
        workers = _workers(self.config.workers, world)
        job = FinetuneJob(self.settings, self.path, dict(self.identity()), data, source, workers, console.quiet)
        result = launch(train, job, world, name=self.path.name, board=self._board, console=console)
        if result.pop("skipped", False):
            console.say(f"{self.path} is finished already; --redo does it over, --name starts another")
        return self._summary(result)

    def _summary(self, result: dict[str, Any]) -> Summary:
        data, path = self.data, self.path
        broken = [Dropped(message, 1, "cannot be read") for message in result["broken"]]
        summary = Summary("finetune", dropped=[*data.dropped, *broken])
        summary.problems = sum(dropped.count for dropped in summary.dropped)
        summary.facts = {
            "encoder": self.source.described,
            **data.counts(),
            "validation": "; ".join(data.validation),
            "best epoch": f"{result['best_epoch']} of {result['epochs']}",
        }
        if "precision" in result:
            summary.facts["precision"] = result["precision"]
        # Results of earlier versions have no val_px.
        if (px := result.get("val_px")) is not None:
            summary.facts["validation error of 2D joints, px of the crop"] = round(px, 2)
        if (mm := result["val_root_bone_mpjpe_mm"]) is not None:
            summary.facts["validation MPJPE, wrist + bone length aligned, mm"] = round(mm, 2)
        summary.outputs = {"model": path / "model.safetensors", "report": path / "report.html"}
        summary.data = dict(result)
        summary.hint = _next_step(data, self.paths)
        return summary


def _workers(asked: int | None, world: World) -> int:
    """Loader processes per rank: on a CPU one is enough, since the model is far slower than the loader."""
    if asked is not None:
        return asked
    return min(8, own_cores(world.processes)) if world.use_gpu else 1


def _next_step(data: TrainingData, paths: list[Path]) -> str:
    """How this model is measured on labels it has not seen, and shown where it has hands in 3D."""
    demo = "" if data.bone_length_mm is None else "; simhand demo shows it on a video"
    trained = [one.split for one in data.sets[: len(paths)]]
    held_out = [held_out_split(one.name, one.split) for one in data.sets[: len(paths)]]
    unseen = [(path, h) for path, h, t in zip(paths, held_out, trained, strict=True) if h != t]
    if not unseen:
        return f"simhand evaluate --data ANOTHER_SET measures it on people it has not seen{demo}"
    if any(h == matching_test_split(t) != t for h, t in zip(held_out, trained, strict=True)):
        return f"simhand evaluate measures it on test people{demo}"
    path, split = unseen[0]
    return f"simhand evaluate --data {path} --split {split} measures it{demo}"
