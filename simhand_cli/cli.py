"""The command line: one entry per command, loaded only when it is the one called."""

import atexit
import contextlib
import errno
import importlib
import json
import os
import select
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import typer

from simhand_cli import __version__
from simhand_cli.errors import EnvironmentProblem, ExitCode, SaidElsewhere, SimhandError, machine_problem
from simhand_cli.workspace.atomic import PART_SUFFIX
from simhand_cli.workspace.cores import limit_threads

#: Command -> what it does, in the order the data flows. The modules are imported when called.
COMMANDS = {
    "quickstart": "The whole pipeline on synthetic hands in a few minutes, with a report to look at",
    "synth": "Make synthetic hands: videos to learn from, or images with exact 3D labels",
    "ingest": "Register videos and image folders; nothing is copied",
    "detect": "Find hands in the sampled frames and store right-handed crops",
    "keypoints": "Estimate 21 joints in every crop",
    "mine": "Find, for every hand, similar hands in other videos",
    "pretrain": "Learn an encoder by contrasting similar hands",
    "data": "Check a labelled set: what it is, what is missing or damaged, which labels are wrong",
    "embed": "Export an encoder's features of crops or of labelled pictures",
    "probe": "Compare encoders without fine-tuning: pose retrieval, linear probe, a map of the features",
    "finetune": "Train a 3D hand model on labelled images, from a pre-trained encoder",
    "evaluate": "Measure a 3D hand model: MPJPE and PCK-AUC in every alignment",
    "demo": "Run a model on a webcam, a video or an image",
    "doctor": "Check this machine: versions, GPU, model file, codecs, display, disk",
}


def build_app(words: set[str] | None = None) -> typer.Typer:
    """The typer app; only commands named in ``words`` are imported (None: all of them)."""
    app = typer.Typer(
        name="simhand",
        help="From folders of unlabelled hand videos to a working 3D hand model, one command a step.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        epilog="Start with: simhand quickstart   or, one after the other: ingest VIDEOS/, detect, keypoints, mine, "
        "pretrain, synth (or labels of your own), finetune, evaluate, demo webcam",
    )

    @app.callback(invoke_without_command=True)
    def top(
        version: bool = typer.Option(False, "--version", help="Show the version and exit", show_default=False),
    ) -> None:
        if version:
            typer.echo(f"simhand {__version__}")
            raise typer.Exit

    for name, summary in COMMANDS.items():
        if words is None or name in words:
            _add_command(app, name, summary)
        else:
            app.command(name, help=summary)(_not_loaded)
    return app


def _not_loaded() -> None:
    """Stand-in for a command whose module is not needed to show the overview."""


def _add_command(app: typer.Typer, name: str, summary: str) -> None:
    from simhand_cli.config.flags import Invocation, make_callback
    from simhand_cli.config.help_page import HelpPage, paged_command

    module = importlib.import_module(f"simhand_cli.commands.{name}")
    model = config_class(module, name)

    def run(invocation: Invocation) -> None:
        raise typer.Exit(_execute(module, name, model, invocation))

    page = HelpPage(name, summary, model, module.EXAMPLES)
    app.command(name, cls=paged_command(page), help=f"{summary}.")(make_callback(model, run, page))


def config_class(module: ModuleType, name: str) -> Any:
    """The config class of a command module: ``DetectConfig`` of ``detect``."""
    return getattr(module, name.title().replace("_", "") + "Config")


def _execute(module: ModuleType, name: str, model: Any, invocation: Any) -> int:
    """Resolve the config, run the command, print its summary; returns the exit code."""
    from simhand_cli.config.resolve import resolve_config
    from simhand_cli.console import Console
    from simhand_cli.summary import print_summary

    try:
        console = Console()
        config = resolve_config(
            model, invocation.config_file, invocation.flags, invocation.assignments, hint=console.say
        )
        try:
            summary = getattr(module, name)(config, console)
        except OSError as error:
            named = _named_place(error, config)
            if named is None:
                raise
            raise named from error
        if not summary.silent:
            print_summary(summary, as_json=invocation.as_json, dry_run=config.dry_run)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, name, as_json=invocation.as_json, debug=invocation.debug)
    if summary.problems:
        return ExitCode.INPUT if config.strict else ExitCode.PARTIAL
    return ExitCode.OK


#: Reasons that concern a folder as a whole; another error below it is of the one file that it names.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def _named_place(error: OSError, config: Any) -> EnvironmentProblem | None:
    """A place that cannot be written, by its option: the failed file may be an internal one in or beside it."""
    if error.errno is None or not isinstance(error.filename, str):
        return None
    failed = Path(error.filename).absolute()
    for name in ("out", "workspace"):
        place = getattr(config, name, None)
        if place is None:
            continue
        own = Path(place).absolute()
        beside = failed.parent == own.parent and failed.name.startswith(f"{own.name}.") and failed.suffix == PART_SUFFIX
        above = own.is_relative_to(failed)
        below = failed.is_relative_to(own) and error.errno in _NOT_WRITABLE
        if beside or above or below:
            return EnvironmentProblem(f"--{name} {place} cannot be used: {os.strerror(error.errno)}")
    return None


def _report(error: BaseException, command: str, *, as_json: bool, debug: bool) -> int:
    """One line on standard error (and a JSON document with ``--json``); the traceback only with ``--debug``.

    Nothing where whoever read the output has ended (``| head``): nobody is left to tell.
    """
    if isinstance(error, BrokenPipeError) and _silence_unread_output():
        return ExitCode.BROKEN_PIPE
    if debug:
        traceback.print_exception(error)
    if isinstance(error, SaidElsewhere):
        return int(error.exit_code)
    if isinstance(error, SimhandError):
        code, line = error.exit_code, str(error)
    elif isinstance(error, KeyboardInterrupt):
        said = f"interrupted, {error}" if str(error) else "interrupted"
        code, line = ExitCode.INTERRUPTED, f"{said}; run the same command again to go on"
    elif problem := machine_problem(error):
        code, line = problem.exit_code, str(problem)
    else:
        code = ExitCode.UNEXPECTED
        line = f"unexpected {type(error).__name__}: {error} (run again with --debug and report it)"
    one_line = " ".join(line.split())
    try:
        print(f"simhand {command}: {one_line}", file=sys.stderr)
        if as_json:
            print(json.dumps({"command": command, "error": one_line, "exit_code": int(code)}), flush=True)
    except BrokenPipeError:
        _silence_unread_output()
        return ExitCode.BROKEN_PIPE
    return int(code)


def _silence_unread_output() -> bool:
    """Send output that nobody reads any more to nowhere; False where all is read, so that another pipe broke.

    Without this the interpreter's last flush would fail and complain (Python's documentation of SIGPIPE).
    """
    unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream.fileno())]
    for stream in unread:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(unread)


def _is_unread(file: int) -> bool:
    """Whether the other end of a pipe is closed."""
    state = select.poll()
    state.register(file, 0)  # an error or a hang-up is told unasked
    return bool(state.poll(0))


def main() -> None:
    """Entry point of the ``simhand`` command."""
    limit_threads()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _silence_unread_output():
            raise
        code = ExitCode.BROKEN_PIPE
    if "simhand_cli.training.processes.failures" in sys.modules and _in_a_job():
        _leave_at_once(code)
    sys.exit(code)


def _in_a_job() -> bool:
    from simhand_cli.training.processes.cluster import job_place

    try:
        return job_place() is not None
    except EnvironmentProblem:
        return False


def _leave_at_once(code: int) -> NoReturn:
    """Exit without tearing down loaded libraries.

    torch's DistributedDataParallel never lets go of its process group (seen with 2.14), whose threads then now and then
    abort the interpreter's end; torchrun and srun would take a finished process for a failed one. Processes that
    multiprocessing starts leave in this way too.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run() -> int:
    """Run the called command; returns the exit code."""
    words = set(sys.argv[1:]) | set(os.environ.get("COMP_WORDS", "").split())
    try:
        result = build_app(words)(standalone_mode=False)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        # Usage errors of the argument parser carry their message and exit code; shown in our one-line form.
        message = getattr(error, "format_message", None)
        if message is None:
            return _report(error, "", as_json=False, debug="--debug" in words)
        if text := message():
            command = next((word for word in sys.argv[1:] if word in COMMANDS), "")
            if command and sys.argv[1].startswith("-"):
                text = f"{text}; options stand after the command: simhand {command} {sys.argv[1]}"
            call = f"simhand {command}".strip()
            line = f"{' '.join(text.split())} (see '{call} --help')"
            print(f"{call}: {line}", file=sys.stderr)
            if "--json" in words:
                print(json.dumps({"command": command, "error": line, "exit_code": int(ExitCode.USAGE)}))
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    return result if isinstance(result, int) else ExitCode.OK
