"""Running the quick start step by step and collecting what it shows."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simhand_cli.commands.quickstart.plan import Step
from simhand_cli.commands.quickstart.quickstart_report import write_report
from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, format_duration
from simhand_cli.errors import UsageProblem
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.summary import Summary
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.lock import workspace_lock

if TYPE_CHECKING:
    from simhand_cli.commands.quickstart.config import QuickstartConfig


@dataclass(frozen=True)
class StepResult:
    """What one step returned, and how long it took in all attempts."""

    step: Step
    summary: Summary | None
    seconds: float


def run_steps(config: "QuickstartConfig", steps: Sequence[Step], console: Console) -> Summary:
    """Run every step, then write the report.

    Raises:
        UsageProblem: the folder holds a quick start with other options, or something else.
        SimhandError: as the step that failed; running the quick start again goes on there.
    """
    with workspace_lock(config.workspace / "quickstart", "quickstart"):
        _begin(config)
        return _run_all(config, steps, console)


def _begin(config: "QuickstartConfig") -> None:
    """Remember the options; refuse others than last time, since half of the results would be of the old ones."""
    marker = config.workspace / "quickstart" / "options.json"
    if not marker.exists() and (config.workspace / "catalog.sqlite").exists():
        raise UsageProblem(f"{config.workspace} holds a project of your own; give --workspace a new folder")
    if config.redo:
        for name in (
            "catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "demo.mp4", "report.html",
            "quickstart/seconds.json",
        ):  # fmt: skip
            (config.workspace / name).unlink(missing_ok=True)
        for name in ("synth", "crops", "keypoints", "mining", "runs"):
            shutil.rmtree(config.workspace / name, ignore_errors=True)
    elif marker.exists():
        before = json.loads(marker.read_text())
        refuse_changes("quick start", before, config.identity(), "--redo starts over, --workspace takes another folder")
    write_json(marker, config.identity())
    save_config(config, config.workspace / "quickstart" / "config.yaml")


def _run_all(config: "QuickstartConfig", steps: Sequence[Step], console: Console) -> Summary:
    results: list[StepResult] = []
    report = config.workspace / "report.html"
    clock = _StepClock(config.workspace / "quickstart" / "seconds.json", frozen=report.is_file())
    for number, step in enumerate(steps, 1):
        console.say(f"\n[{number}/{len(steps)}] {step.title}\n  $ {step.command_line}")
        with clock.running(step.title):
            done_before = step.done_by is not None and step.done_by.exists()
            summary = None if done_before else step.run(console)
        results.append(StepResult(step, summary, clock.seconds[step.title]))
    took_s = sum(clock.seconds.values())
    write_report(config.workspace, [(r.step, r.seconds) for r in results], took_s, report)
    return Summary(
        "quickstart",
        facts={"steps": len(steps), "took": format_duration(took_s), **_headline(results)},
        outputs={"film": config.workspace / "demo.mp4", "report": report},
        hint=f"open {report}",
    )


class _StepClock:
    """Seconds spent on each step, also in attempts that were interrupted; looking at a finished tour adds nothing."""

    def __init__(self, path: Path, frozen: bool) -> None:
        self._path, self._frozen = path, frozen
        self.seconds: dict[str, float] = {}
        try:
            self.seconds = {str(step): float(seconds) for step, seconds in json.loads(path.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._frozen = False

    @contextmanager
    def running(self, step: str) -> Iterator[None]:
        """Add the time of the block, however it ends short of a kill."""
        began = time.monotonic()
        try:
            yield
        finally:
            took = 0.0 if self._frozen else time.monotonic() - began
            self.seconds[step] = self.seconds.get(step, 0.0) + took
            write_json(self._path, self.seconds)


def _headline(results: Sequence[StepResult]) -> dict[str, int | float | str]:
    """The rows worth a glance on the screen: each evaluation's errors before and after Procrustes alignment, mm."""
    rows: dict[str, int | float | str] = {}
    for result in results:
        if result.step.name == "evaluate" and result.summary is not None:
            name = result.summary.outputs["metrics.json"].parent.name.removeprefix("evaluate-")
            figures = result.summary.data["metrics"]["sets"][0]["figures"]
            mpjpe = {f["alignment"]: f["value"] for f in figures if f["metric"] == "mpjpe"}
            both = f"{mpjpe['root_bone_scale']:.1f} / {mpjpe['procrustes_scale']:.1f}"
            rows[f"error of {name}, mm, root + bone scale / Procrustes"] = both
    return rows
