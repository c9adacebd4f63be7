"""One pre-training from its options to the finished run, and what is told of it."""

from collections.abc import Mapping
from typing import Any

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.dry_run import dry_run
from simhand_cli.pretrain.plan import make_plan, run_identity
from simhand_cli.pretrain.pretrain_report import probe_facts
from simhand_cli.pretrain.run_notes import left_out, told_recipe, told_weights, verdict
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.worker import Job, load_table, train
from simhand_cli.stages.records import NoRecord
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Summary
from simhand_cli.training.log.trackers import check_trackers
from simhand_cli.training.processes.failures import ProblemBoard
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.world import World
from simhand_cli.training.step.compile import refuse_several
from simhand_cli.workspace.paths import Workspace


class Pretraining:
    """``simhand pretrain`` as a :class:`simhand_cli.stages.job.Job`, on one process of the run or the one before it.

    Args:
        config: the options.
        world: the run's processes.
        board: the job's problems, where one is joined.
    """

    def __init__(self, config: PretrainConfig, world: World, board: ProblemBoard | None) -> None:
        self.config, self._world, self._board = config, world, board
        #: The run's folder is held by the engine's first process, which need not be this one.
        self.record = NoRecord()

    def prepare(self, console: Console) -> None:
        """Settle the options and read the pairs.

        Raises:
            InputProblem: nothing mined yet.
            UsageProblem: --compile on several processes.
            EnvironmentProblem: a tracker or GPU that is not there.
        """
        config, world, self._console = self.config, self._world, console
        # What is cheap to refuse comes first, before minutes of reading.
        check_trackers(config.log)
        self.settings = settle(config)
        if config.decode == "gpu" and not world.use_gpu:
            raise EnvironmentProblem("--decode gpu needs a GPU; leave it out, or use --gpus 1 or more")
        if config.compile:
            refuse_several(world.size, joined=self._board is not None)
        self.workspace = Workspace.open(config.workspace)
        self.run_dir = self.workspace.run_dir("pretrain", self.settings.name)
        console.say("pretrain: reading the pairs")
        self.table = load_table(self.workspace, self.settings)

    def identity(self) -> Mapping[str, Any]:
        """Options, pairs and initial weights."""
        plan = make_plan(self.settings, len(self.table), self._world.size)
        return run_identity(self.settings, self.workspace, plan, self._world.size)

    def state(self) -> State:
        """Known to the engine alone, which opens the folder; a dry run looks into it by itself."""
        return "new"

    def dry(self) -> Summary:
        """Steps, time and memory; the first process alone measures and is heard."""
        dropped = left_out(self.table, self.settings)
        if not self._world.is_main:
            return Summary("pretrain", dropped=dropped)
        summary = dry_run(self.settings, self.workspace, self.table, self._world, self._console)
        summary.dropped = dropped
        return summary

    def run(self, console: Console) -> Summary:
        """Train on all processes, or read a finished run back."""
        run_dir, job = self.run_dir, Job(self.settings, console.quiet)
        result = launch(train, job, self._world, name=run_dir.name, board=self._board, console=console)
        if result.get("skipped"):
            console.say(f"{run_dir} is finished already; --redo does it over, --name starts another")
        if told := verdict(result):
            console.warn(told)
        return self._summary(result)

    def _summary(self, result: dict[str, Any]) -> Summary:
        settings, run_dir = self.settings, self.run_dir
        facts: dict[str, int | float | str] = {
            "method": settings.method,
            "recipe": told_recipe(settings),
            "weights": told_weights(settings),
            "encoder": settings.backbone,
            "pairs": int(result["pairs"]),
            "steps": int(result["steps"]),
            "pairs per step": int(result["batch_size"]),
            "precision": str(result.get("precision", "unknown")),
        }
        figures = {
            "final loss": result["loss"],
            "positives that are the nearest": result["top1"],
            "the same by chance": result.get("top1_chance"),
            "similarity of positives": result["positive_similarity"],
            "similarity of negatives": result["negative_similarity"],
            **probe_facts(result),
            "views/s": result["views_per_s"],
            "verdict": verdict(result),
        }
        outputs = {
            "encoder": run_dir / "backbone.safetensors",
            "report": run_dir / "report.html",
            "pairs": run_dir / "pairs.png",
            "metrics": run_dir / "metrics.jsonl",
        }
        return Summary(
            "pretrain",
            facts={**facts, **{name: value for name, value in figures.items() if value is not None}},
            dropped=left_out(self.table, settings),
            outputs=outputs,
            data={"result": result},
            hint=f"simhand finetune --encoder {run_dir} (labels: --data YOUR_SET, or run simhand synth first)",
        )
