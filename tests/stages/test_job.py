"""The wrapper of all commands: order of its questions, dry runs, locks, and options taken from earlier results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from simhand_cli.config.base import CommandConfig, option
from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.stages.job import Record, run_job
from simhand_cli.stages.records import CatalogRecord, FolderRecord, NoRecord
from simhand_cli.stages.run_folder import State, read_result
from simhand_cli.summary import Summary
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace


class StewConfig(CommandConfig):
    """Options of a made-up command."""

    salt_g: float = option(1.0, "Salt", ge=0)
    lid: bool = option(True, "With a lid on")
    herbs: list[str] = option([], "Herbs")


class Stew:
    """A job that notes what it is asked."""

    def __init__(self, config: StewConfig, record: Record) -> None:
        self.config, self.record = config, record
        self.asked: list[str] = []

    def prepare(self, console: Console) -> None:
        self.asked.append("prepare")

    def identity(self) -> Mapping[str, Any]:
        return self.config.identity()

    def state(self) -> State:
        found = self.record.state(self.identity(), redo=self.config.redo)
        self.asked.append(f"state {found}")
        return found

    def dry(self) -> Summary:
        self.asked.append("dry")
        return Summary("stew")

    def run(self, console: Console) -> Summary:
        self.asked.append("run")
        if isinstance(self.record, FolderRecord) and self.record.done_before(console, "cooked") is None:
            self.record.run.finish({"grams": 300})
        return Summary("stew", {"salt": self.config.salt_g})


def _in_folder(root: Path, **options: Any) -> Stew:
    return Stew(StewConfig(workspace=root, **options), FolderRecord(root / "runs" / "stew-a", "stew"))


def _in_catalog(root: Path, **options: Any) -> Stew:
    record = CatalogRecord(Workspace(root), "stew", "--redo cooks again", folder=root / "stew", clears=("stew",))
    return Stew(StewConfig(workspace=root, **options), record)


@pytest.mark.parametrize("make", [_in_folder, _in_catalog])
def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path, make: Any) -> None:
    job = make(tmp_path, dry_run=True)
    run_job(job)
    assert job.asked == ["prepare", "state new", "dry"]
    assert list(tmp_path.iterdir()) == []


def test_a_finished_folder_is_read_back_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_job(_in_folder(tmp_path))
    assert (tmp_path / "runs" / "stew-a" / "config.yaml").read_text().startswith("salt_g: 1.0")
    assert read_result(tmp_path / "runs" / "stew-a") == {"grams": 300}
    again = _in_folder(tmp_path)
    run_job(again, Console())
    assert again.asked == ["prepare", "state finished", "run"]
    assert "is already cooked with these options (--redo does it over)" in capsys.readouterr().err


@pytest.mark.parametrize("make", [_in_folder, _in_catalog])
def test_other_options_are_refused_and_redo_takes_them(tmp_path: Path, make: Any) -> None:
    run_job(make(tmp_path, salt_g=2))
    with pytest.raises(UsageProblem, match=r"salt_g=2\.0, now 3\.0; .*--redo"):
        run_job(make(tmp_path, salt_g=3))
    redone = make(tmp_path, salt_g=3, redo=True)
    assert run_job(redone).facts == {"salt": 3.0}
    assert redone.asked == ["prepare", "state redo", "run"]


def test_a_place_with_room_for_one_result_supplies_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(_in_catalog(tmp_path, salt_g=2, lid=False))
    assert run_job(_in_catalog(tmp_path, herbs=[]), Console()).facts == {"salt": 2.0}
    assert capsys.readouterr().err == (
        "--salt-g 2.0 --no-lid: as before in this workspace (--redo starts over with other options)\n"
    )
    assert "lid: false" in (tmp_path / "stew" / "config.yaml").read_text()
    with pytest.raises(UsageProblem, match=r"now 1\.0; --salt-g 2\.0 goes on as before, --redo cooks again"):
        run_job(_in_catalog(tmp_path, salt_g=1))
    assert run_job(_in_catalog(tmp_path, redo=True)).facts == {"salt": 1.0}  # a start of its own has the defaults


def test_a_named_folder_does_not_supply_options(tmp_path: Path) -> None:
    run_job(_in_folder(tmp_path, salt_g=2))
    with pytest.raises(UsageProblem, match=r"salt_g=2\.0, now 1\.0"):
        run_job(_in_folder(tmp_path))


def test_a_value_that_is_allowed_no_longer_is_named_and_not_taken(tmp_path: Path) -> None:
    run_job(_in_catalog(tmp_path))
    record = CatalogRecord(Workspace(tmp_path), "stew", "")
    with record.held(dry_run=False):
        record.catalog.set_stage_config("stew", {"salt_g": -1.0, "lid": True, "herbs": []})
    with pytest.raises(UsageProblem, match=r"salt_g=-1\.0, now 1\.0"):
        run_job(_in_catalog(tmp_path))


@pytest.mark.parametrize(("make", "place"), [(_in_folder, "runs/stew-a"), (_in_catalog, ".")])
def test_two_at_once_are_one_too_many(tmp_path: Path, make: Any, place: str) -> None:
    with workspace_lock(tmp_path / place, "stew"), pytest.raises(EnvironmentProblem, match="is in use by pid"):
        run_job(make(tmp_path))


def test_what_is_not_remembered_is_done_each_time(tmp_path: Path) -> None:
    for _ in range(2):
        job = Stew(StewConfig(workspace=tmp_path / "none"), NoRecord())
        run_job(job)
        assert job.asked == ["prepare", "state new", "run"]
    assert list(tmp_path.iterdir()) == []
