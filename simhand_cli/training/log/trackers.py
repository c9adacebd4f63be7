"""Metrics for TensorBoard and Weights & Biases, beside metrics.jsonl; both are extras and never on by themselves."""

import importlib.util
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from simhand_cli.errors import EnvironmentProblem

TrackerName = Literal["tensorboard", "wandb"]
#: Where W&B's own program signs in unless told otherwise, and the project that runs are filed under.
_WANDB_SERVER, _WANDB_PROJECT = "https://api.wandb.ai", "simhand"
#: Of W&B's long messages, what fits into a line.
_REASON_CHARACTERS = 160

Values = Mapping[str, Any]


class Tracker(Protocol):
    """Something that is told every line of metrics."""

    def write(self, step: int, values: Values) -> None:
        """Take numbers, and lists of the shares of equal bins over [0, 1], of a step."""

    def close(self) -> None:
        """Write what is left."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Refuse a tracker whose package is not installed, before any work.

    Raises:
        EnvironmentProblem: it is not; the extra is named.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a folder of that name in the working directory is no package
            raise EnvironmentProblem(
                f"--log {name} needs a package that is not installed: pip install 'simhand[{name}]'"
            )


def open_trackers(
    names: Sequence[TrackerName], run_dir: Path, steps_done: int, options: Mapping[str, Any]
) -> list[Tracker]:
    """The trackers of a run; each writes into a folder of its own in the run's.

    Args:
        names: which ones.
        run_dir: the run's folder.
        steps_done: of a resumed run; what was told of later steps is forgotten where that is possible.
        options: of the run, to be shown with it.
    """
    return [
        TensorBoardTracker(run_dir, steps_done) if name == "tensorboard" else WandbTracker(run_dir, options)
        # Given twice it would write everything twice.
        for name in dict.fromkeys(names)
    ]


class TensorBoardTracker:
    """Event files in ``tensorboard/`` of the run: ``tensorboard --logdir simhand-workspace/runs``."""

    def __init__(self, run_dir: Path, steps_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Later steps of an earlier start are hidden: they are done again.
        purge_step = steps_done + 1 if steps_done else 0
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=purge_step)

    def write(self, step: int, values: Values) -> None:
        """Numbers as scalars, lists as histograms."""
        for name, value in values.items():
            if isinstance(value, list):
                self._add_histogram(name, value, step)
            # Anything else (names, None) has no curve.
            elif isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)

    def _add_histogram(self, name: str, shares: list[float], step: int) -> None:
        bins = len(shares)
        centres = [(number + 0.5) / bins for number in range(bins)]
        self._writer.add_histogram_raw(
            name,
            min=0.0,
            max=1.0,
            # Shares, not counts: the histogram is of one unit in all.
            num=1,
            sum=sum(c * s for c, s in zip(centres, shares, strict=True)),
            sum_squares=sum(c * c * s for c, s in zip(centres, shares, strict=True)),
            bucket_limits=[(number + 1) / bins for number in range(bins)],
            bucket_counts=shares,
            global_step=step,
        )

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbTracker:
    """A W&B run in ``wandb/`` of the run: on this machine alone, unless the user is logged in to W&B.

    Every start of a run is a W&B run of its own; the starts of one run are a group. Neither code, git state nor console
    output is recorded.

    Raises:
        EnvironmentProblem: W&B cannot start a run, for want of a network for instance; with its reason.
    """

    def __init__(self, run_dir: Path, options: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when the package is imported
        import wandb

        self._wandb: Any = wandb
        settings = wandb.Settings(console="off", disable_code=True, disable_git=True, save_code=False, silent=True)
        try:
            self._run: Any = wandb.init(
                project=_WANDB_PROJECT,
                group=run_dir.name,
                name=run_dir.name,
                dir=str(run_dir),
                config=dict(options),
                mode=os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline"),
                settings=settings,
            )
        except Exception as error:  # of its server, the network or its own process; they share no base class
            reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
            raise EnvironmentProblem(
                f"--log wandb cannot start a W&B run ({reason}); set WANDB_MODE=offline to keep it on this machine "
                "('wandb sync' sends it later), or leave --log wandb out"
            ) from error
        # Not W&B's own step, which may only grow: a resumed run goes back to its checkpoint.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Values) -> None:
        """One line of history."""
        line = {name: self._histogram(v) if isinstance(v, list) else v for name, v in values.items()}
        self._run.log({"step": step, **line})

    def _histogram(self, shares: list[float]) -> Any:
        edges = [number / len(shares) for number in range(len(shares) + 1)]
        return self._wandb.Histogram(np_histogram=(shares, edges))

    def close(self) -> None:
        """Write what is left."""
        self._run.finish(quiet=True)


def logged_in() -> bool:
    """Whether the user has logged in to W&B on this machine: a key in the environment, or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    # W&B's own program keeps keys by host name.
    host = urlsplit(os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)).hostname
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return host is not None and host in netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False
