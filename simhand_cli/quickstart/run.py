"""Running the tour step by step and collecting what it shows."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, format_duration
from simhand_cli.errors import UsageProblem
from simhand_cli.quickstart.plan import Step
from simhand_cli.quickstart.report import write_report
from simhand_cli.summary import Summary
from simhand_cli.workspace.atomic import write_json
from simhand_cli.workspace.changes import refuse_changes
from simhand_cli.workspace.lock import workspace_lock

if TYPE_CHECKING:
    from simhand_cli.commands.quickstart import QuickstartConfig


@dataclass(frozen=True)
class StepResult:
    """What one step returned, and how long it took here (nothing much if it had been done before)."""

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
        for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "demo.mp4", "report.html"):
            (config.workspace / name).unlink(missing_ok=True)
        for name in ("synth", "crops", "keypoints", "mining", "runs"):
            shutil.rmtree(config.workspace / name, ignore_errors=True)
    elif marker.exists():
        before = json.loads(marker.read_text())
        refuse_changes("quick start", before, config.identity(), "--redo starts over, --workspace takes another folder")
    write_json(marker, config.identity())
    save_config(config, config.workspace / "quickstart" / "config.yaml")


def _run_all(config: "QuickstartConfig", steps: Sequence[Step], console: Console) -> Summary:
    start = time.monotonic()
    results: list[StepResult] = []
    for number, step in enumerate(steps, 1):
        console.say(f"\n[{number}/{len(steps)}] {step.title}\n  $ {step.command_line}")
        began = time.monotonic()
        done_before = step.done_by is not None and step.done_by.exists()
        summary = None if done_before else step.run(console)
        results.append(StepResult(step, summary, time.monotonic() - began))
    report = config.workspace / "report.html"
    took_s = time.monotonic() - start
    write_report(config.workspace, [(r.step, r.seconds) for r in results], took_s, report)
    return Summary(
        "quickstart",
        facts={"steps": len(steps), "took": format_duration(took_s), **_headline(results)},
        outputs={"film": config.workspace / "demo.mp4", "report": report},
        hint=f"open {report}",
    )


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
