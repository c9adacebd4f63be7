"""TensorBoard and W&B beside metrics.jsonl: what they are told, by stand-ins; and the real TensorBoard where it is."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.training.log.metrics_log import MetricsLog, read_metrics
from simhand_cli.training.log.trackers import check_trackers, logged_in, open_trackers

SHARES = [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.25]


@pytest.fixture
def tensorboard(monkeypatch):
    """Stands in for torch.utils.tensorboard; the calls of its writer."""
    calls = []

    class SummaryWriter:
        def __init__(self, log_dir, purge_step):
            calls.append(("open", log_dir, purge_step))

        def add_scalar(self, tag, scalar_value, global_step):
            calls.append((tag, scalar_value, global_step))

        def add_histogram_raw(self, tag, **given):
            calls.append((tag, given, given.pop("global_step")))

        def close(self):
            calls.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return calls


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """Stands in for wandb; the calls of its interface, on a machine where nobody is logged in."""
    calls = SimpleNamespace(settings=None, init=None, lines=[], defined=[], finished=0)
    module = ModuleType("wandb")

    def finish(quiet):
        calls.finished += 1

    run = SimpleNamespace(
        log=calls.lines.append, define_metric=lambda *a, **k: calls.defined.append((a, k)), finish=finish
    )
    module.Settings = lambda **given: given
    module.Histogram = lambda np_histogram: ("histogram", *np_histogram)
    module.init = lambda **given: (setattr(calls, "init", given), run)[1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return calls


def write_some(tmp_path, name, steps_done=0):
    run_dir = tmp_path / "pretrain-a"
    run_dir.mkdir(exist_ok=True)
    trackers = open_trackers([name, name], run_dir, steps_done, {"lr": 0.1})
    with MetricsLog(run_dir / "metrics.jsonl", steps_done, trackers) as log:
        log.write(steps_done + 1, {"loss": 2.5, "weights": SHARES})
    return run_dir


def test_tensorboard_gets_scalars_and_histograms(tmp_path, tensorboard):
    run_dir = write_some(tmp_path, "tensorboard")
    opened, scalar, (tag, histogram, step), closed = tensorboard
    assert opened == ("open", str(run_dir / "tensorboard"), 0)
    assert scalar == ("loss", 2.5, 1)
    assert (tag, step, closed) == ("weights", 1, "closed")
    assert histogram["bucket_limits"] == pytest.approx([n / 10 for n in range(1, 11)])
    assert histogram["bucket_counts"] == SHARES
    assert (histogram["min"], histogram["max"], histogram["num"]) == (0, 1, 1)
    assert histogram["sum"] == pytest.approx(0.5 * 0.05 + 0.25 * 0.85 + 0.25 * 0.95)
    assert histogram["sum_squares"] == pytest.approx(0.5 * 0.05**2 + 0.25 * 0.85**2 + 0.25 * 0.95**2)
    assert read_metrics(run_dir / "metrics.jsonl") == [{"step": 1, "loss": 2.5, "weights": SHARES}]


def test_a_resumed_run_hides_what_it_does_again(tmp_path, tensorboard):
    write_some(tmp_path, "tensorboard", steps_done=7)
    assert tensorboard[0][2] == 8


def test_wandb_stays_on_this_machine_and_records_no_code(tmp_path, wandb, monkeypatch):
    import os

    run_dir = write_some(tmp_path, "wandb")
    assert wandb.init["mode"] == "offline"
    assert wandb.init["dir"] == str(run_dir)
    assert (wandb.init["group"], wandb.init["config"]) == ("pretrain-a", {"lr": 0.1})
    settings = wandb.init["settings"]
    assert (settings["console"], settings["disable_code"], settings["disable_git"]) == ("off", True, True)
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    edges = pytest.approx([n / 10 for n in range(11)])
    assert wandb.lines == [{"step": 1, "loss": 2.5, "weights": ("histogram", SHARES, edges)}]
    assert wandb.defined == [(("*",), {"step_metric": "step"})]
    assert wandb.finished == 1


def test_wandb_goes_online_only_where_somebody_logged_in(tmp_path, wandb, monkeypatch):
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine example.org login a password b\n")
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password stand-in\n")
    assert logged_in()
    write_some(tmp_path, "wandb")
    assert wandb.init["mode"] == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "stand-in")
    assert logged_in()
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_some(tmp_path, "wandb")
    assert wandb.init["mode"] == "offline"


def test_wandb_without_a_network_is_one_line(tmp_path, wandb, monkeypatch):
    def fail(**_given):
        raise ConnectionError("Run initialization has timed out after 90.0 sec.\n" + "Please try " * 99)

    monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    said = (
        r"^--log wandb cannot start a W&B run \(Run init.* timed out .* Please [^\n]{,150}\); set WANDB_MODE=offline "
    )
    with pytest.raises(EnvironmentProblem, match=said) as problem:
        write_some(tmp_path, "wandb")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_line_that_names_the_extra(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()  # a folder of results, not the package
    monkeypatch.syspath_prepend(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == name else find(n))
    with pytest.raises(EnvironmentProblem, match=rf"^--log {name} needs .*: pip install 'simhand\[{name}\]'$"):
        check_trackers([name])
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    if find(name) is None or find(name).origin is None:
        with pytest.raises(EnvironmentProblem, match="not installed"):
            check_trackers([name])
    check_trackers([])


def test_a_package_that_is_there_is_fine(tmp_path, monkeypatch):
    for name in ("tensorboard", "wandb"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    check_trackers(["tensorboard", "wandb"])


def test_the_real_tensorboard_reads_back_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra simhand[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = write_some(tmp_path, "tensorboard")
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.5)]
    assert list(events.Histograms("weights")[0].histogram_value.bucket) == SHARES


def test_the_real_wandb_writes_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra simhand[wandb] is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_dir = write_some(tmp_path, "wandb")
    assert list((run_dir / "wandb").glob("offline-run-*/run-*.wandb"))
