"""The work of every command as four questions, and the one function that asks them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from simhand_cli.config.base import CommandConfig
from simhand_cli.console import Console
from simhand_cli.stages.earlier_options import take_earlier
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Summary

Config = TypeVar("Config", bound=CommandConfig)


class Record(Protocol):
    """What a place remembers of a job's results: the options and inputs that they were made with, their identity.

    :class:`simhand_cli.stages.records.FolderRecord` keeps it in a run's folder,
    :class:`simhand_cli.stages.records.CatalogRecord` in the workspace's catalog.
    """

    def held(self, *, dry_run: bool) -> AbstractContextManager[None]:
        """The place, for this process alone; a dry run creates nothing there.

        Raises:
            EnvironmentProblem: another process has it.
        """

    def earlier(self) -> Mapping[str, Any] | None:
        """Options that a place with room for one result supplies to a user who gives none; None where it does not."""

    def state(self, identity: Mapping[str, Any], *, redo: bool) -> State:
        """What a run with this identity would find; nothing is written.

        Raises:
            UsageProblem: results with another identity, and ``redo`` is off.
        """

    def begin(self, identity: Mapping[str, Any], config: CommandConfig) -> None:
        """From now on all results there are of this identity; with ``--redo`` earlier ones are gone."""


class Job(Protocol[Config]):
    """One command's work; nothing is written before :meth:`run`.

    Attributes:
        config: the command's options; an option that nobody gave may take its earlier value after :meth:`prepare`.
    """

    config: Config

    @property
    def record(self) -> Record:
        """Where its results lie, known once it is prepared."""

    def prepare(self, console: Console) -> None:
        """Check the input and open what is needed.

        Raises:
            SimhandError: something is missing or cannot be used.
        """

    def identity(self) -> Mapping[str, Any]:
        """All that determines the result, as plain values."""

    def state(self) -> State:
        """Whether the work is new, to be resumed, finished or to be done over.

        Raises:
            UsageProblem: earlier results were made with other options.
        """

    def dry(self) -> Summary:
        """What would be done: counts, bytes, time."""

    def run(self, console: Console) -> Summary:
        """Do the work, or read it back where it is finished."""


def run_job(job: Job[Config], console: Console | None = None) -> Summary:
    """Do what all commands do alike: prepare, hold the place, refuse what changed, and run or say what would be run.

    Args:
        job: the work.
        console: for messages and progress; a quiet one if absent.

    Raises:
        SimhandError: as the job's methods.
    """
    console = console or Console(quiet=True)
    job.prepare(console)
    record = job.record
    with record.held(dry_run=job.config.dry_run):
        if not job.config.redo:
            # Under the lock, so that nobody changes the record between reading and writing.
            job.config = take_earlier(job.config, record.earlier(), console)
        # Refuses changed options before a dry run too: it must promise nothing that a run would refuse.
        job.state()
        if job.config.dry_run:
            return job.dry()
        record.begin(job.identity(), job.config)
        return job.run(console)
