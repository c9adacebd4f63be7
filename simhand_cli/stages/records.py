"""Where a job's results are remembered: in a run's folder, in the workspace's catalog, or nowhere."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simhand_cli.config.base import CommandConfig
from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console
from simhand_cli.stages.refuse_changes import refuse_changes
from simhand_cli.stages.run_folder import RunDir, State, open_run, peek_run
from simhand_cli.workspace.atomic import remove_leftovers
from simhand_cli.workspace.catalog import Catalog
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace

CONFIG_FILE = "config.yaml"


class FolderRecord:
    """A run's own folder, ``runs/<command>-<name>``: identity.json is its first file and result.json its last."""

    def __init__(self, path: Path, command: str) -> None:
        self.path = path
        self._command = command
        self._run: RunDir | None = None

    @contextmanager
    def held(self, *, dry_run: bool) -> Iterator[None]:
        """Hold the folder's lock; a dry run, which would have to create the folder for that, does not."""
        if dry_run:
            yield
            return
        with workspace_lock(self.path, self._command):
            yield

    def earlier(self) -> None:
        """Nothing: another run may lie beside this one, so that what is not given is the default."""

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:
        """See :func:`simhand_cli.stages.run_folder.peek_run`."""
        return peek_run(self.path, identity, redo=redo)

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """See :func:`simhand_cli.stages.run_folder.open_run`; an unfinished run gets its config.yaml."""
        self._run = open_run(self.path, identity, redo=config.redo)
        if self._run.result is None:
            save_config(config, self.path / CONFIG_FILE)

    @property
    def run(self) -> RunDir:
        """The run that has begun."""
        assert self._run is not None
        return self._run

    def done_before(self, console: Console, done: str) -> dict[str, Any] | None:
        """The result of a run that is finished already, which is said; None if there is something to do.

        Args:
            console: told so.
            done: what was done with the folder, e.g. "evaluated".
        """
        if self.run.result is not None:
            console.say(f"{self.path} is already {done} with these options (--redo does it over)")
        return self.run.result


class CatalogRecord:
    """A stage that works through the workspace's videos: its options lie in the catalog, and what it did with each."""

    def __init__(
        self,
        workspace: Workspace,
        stage: str,
        ways_out: str,
        *,
        folder: Path | None = None,
        clears: tuple[str, ...] = (),
    ) -> None:
        """The record of one stage.

        Args:
            workspace: holds the catalog.
            stage: its name there.
            ways_out: what a user can do whose options changed.
            folder: where its shards lie, if it has any.
            clears: stages whose results ``--redo`` forgets; none: everything in the catalog.
        """
        self._workspace, self._stage, self._ways_out = workspace, stage, ways_out
        self._folder, self._clears = folder, clears
        self._catalog: Catalog | None = None

    @contextmanager
    def held(self, *, dry_run: bool) -> Iterator[None]:
        """Hold the workspace's lock, with the catalog open; a dry run creates no workspace."""
        # Opening a catalog creates it, and a dry run creates nothing.
        if dry_run and not self._workspace.catalog_path.is_file():
            yield
            return
        with workspace_lock(self._workspace.root, self._stage), Catalog(self._workspace.catalog_path) as catalog:
            self._catalog = catalog
            yield

    @property
    def catalog(self) -> Catalog:
        """The open catalog."""
        assert self._catalog is not None
        return self._catalog

    def earlier(self) -> dict[str, Any] | None:
        """The options of the stage's earlier results."""
        return self._catalog.stage_config(self._stage) if self._catalog else None

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:
        """Whether the stage has begun; which videos are left is the stage's to know.

        Raises:
            UsageProblem: it has, with other options.
        """
        before = self.earlier()
        if redo:
            return "new" if before is None else "redo"
        refuse_changes(self._stage, before, identity, self._ways_out, go_on=True)
        return "new" if before is None else "resume"

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """Forget what is to be redone, sweep up after killed writers, and write down the options."""
        if config.redo and self._clears:
            self.catalog.clear_stage(*self._clears)
        elif config.redo:
            self.catalog.clear_all()
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Under the lock: whoever left them is dead.
            remove_leftovers(self._folder)
        self.catalog.set_stage_config(self._stage, dict(identity))
        if self._folder is not None:
            save_config(config, self._folder / CONFIG_FILE)


class NoRecord:
    """Of a command whose result is looked at and not built upon: it is done anew each time."""

    @contextmanager
    def held(self, *, dry_run: bool) -> Iterator[None]:  # noqa: ARG002 (one signature for all)
        """Nothing is shared, so nothing is held."""
        yield

    def earlier(self) -> None:
        """Nothing is remembered."""

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:  # noqa: ARG002 (one signature for all)
        """Always new."""
        return "new"

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """Nothing is written down."""
