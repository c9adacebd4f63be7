"""metrics.jsonl, run folders, environment.json."""

import json

import pytest
import torch

from simhand_cli.errors import UsageProblem
from simhand_cli.stages.run_folder import open_run, peek_run
from simhand_cli.training.log.metrics_log import MetricsLog, read_metrics
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.checkpoint import save_checkpoint
from simhand_cli.training.state.environment import record_start, recorded_precision
from simhand_cli.training.step.precision import Precision


def test_log_is_cut_back_to_the_resumed_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in range(1, 8):
            log.write(step, {"loss": step / 3})
    with path.open("a") as stream:
        stream.write('{"step": 8, "lo')  # killed while writing
    with MetricsLog(path, steps_done=5) as log:
        log.write(6, {"loss": float("nan")})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[4]["loss"] == 5 / 3
    assert lines[5]["loss"] is None


def test_torn_and_foreign_lines_are_left_out_when_reading(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n[1]\n\xff\xfe\n{"loss": 3}\n{"step": 2}\n{"step": 3')
    assert [line["step"] for line in read_metrics(path)] == [1, 2]
    assert read_metrics(tmp_path / "absent") == []


def test_a_new_run_forgets_an_old_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    MetricsLog(path).close()
    assert path.read_text() == ""


def test_run_is_new_then_resumed_then_finished(tmp_path):
    path, options = tmp_path / "runs" / "pretrain-a", {"lr": 0.1, "views": {"margin": (0.9, 1.5)}}
    assert peek_run(path, options, redo=False) == peek_run(path, options, redo=True) == "new"
    run = open_run(path, options, redo=False)
    assert run.checkpoint is None
    assert run.result is None
    assert peek_run(path, options, redo=False) == "new"
    saved = save_checkpoint(path, 3, {"x": torch.zeros(1)}, {})
    assert open_run(path, options, redo=False).checkpoint == saved
    assert peek_run(path, options, redo=False) == "resume"
    run.finish({"loss": 1.5})
    assert open_run(path, options, redo=False).result == {"loss": 1.5}
    assert peek_run(path, options, redo=False) == "finished"
    with pytest.raises(UsageProblem, match=r"lr=0\.1, now 0\.2"):  # as open_run would
        peek_run(path, {**options, "lr": 0.2}, redo=False)
    assert peek_run(path, options, redo=True) == peek_run(path, {**options, "lr": 0.2}, redo=True) == "redo"


def test_leftovers_of_killed_writers_are_swept(tmp_path):
    path, options = tmp_path / "pretrain-a", {"lr": 0.1}
    open_run(path, options, redo=False)
    saved = save_checkpoint(path, 3, {"x": torch.zeros(1)}, {})
    (path / "report.html.123.part").write_text("half")
    half = path / "checkpoints" / "step-00000004.part"
    half.mkdir()
    (half / "tensors.safetensors").write_text("half")
    assert open_run(path, options, redo=False).checkpoint == saved
    assert not list(path.rglob("*.part*"))


def test_changed_options_are_named_with_both_ways_out(tmp_path):
    path = tmp_path / "pretrain-a"
    open_run(path, {"lr": 0.1, "views": {"margin": (0.9, 1.5)}}, redo=False)
    save_checkpoint(path, 3, {"x": torch.zeros(1)}, {})
    with pytest.raises(UsageProblem, match=r"views\.margin=\[0\.9, 1\.5\], now \[0\.9, 2\.0\].*--redo.*--name"):
        open_run(path, {"lr": 0.1, "views": {"margin": (0.9, 2.0)}}, redo=False)


def test_a_start_that_failed_does_not_keep_the_name(tmp_path):
    path = tmp_path / "pretrain-a"
    open_run(path, {"init": "damaged.pth"}, redo=False)
    (path / "metrics.jsonl").write_text("half a line")
    assert peek_run(path, {"init": "good.pth"}, redo=False) == "new"
    run = open_run(path, {"init": "good.pth"}, redo=False)
    assert (run.checkpoint, run.result, run.replaced) == (None, None, True)
    assert not open_run(path, {"init": "good.pth"}, redo=False).replaced
    assert [p.name for p in path.iterdir()] == ["identity.json"]
    assert json.loads((path / "identity.json").read_text()) == {"init": "good.pth"}


def test_redo_removes_everything_but_the_lock(tmp_path):
    path = tmp_path / "pretrain-a"
    open_run(path, {"lr": 0.1}, redo=False).finish({})
    save_checkpoint(path, 3, {"x": torch.zeros(1)}, {})
    (path / ".simhand.lock").write_text("")
    (path / "metrics.jsonl").write_text("x")
    run = open_run(path, {"lr": 0.2}, redo=True)
    assert (run.checkpoint, run.result) == (None, None)
    assert {p.name for p in path.iterdir()} == {".simhand.lock", "identity.json"}


def test_a_foreign_run_is_not_touched(tmp_path):
    path = tmp_path / "pretrain-a"
    save_checkpoint(path, 3, {"x": torch.zeros(1)}, {})
    with pytest.raises(UsageProblem, match="unknown config"):
        open_run(path, {"lr": 0.1}, redo=False)


def test_environment_remembers_every_start_and_the_first_precision(tmp_path):
    path = tmp_path / "environment.json"
    assert recorded_precision(path) is None
    record_start(path, Ranks(), Precision("bf16", "faster"), steps_done=0)
    record_start(path, Ranks(), Precision("fp32", "by flag"), steps_done=7)
    document = json.loads(path.read_text())
    assert recorded_precision(path) == "bf16"
    assert [start["steps_done"] for start in document["starts"]] == [0, 7]
    assert document["starts"][0]["packages"]["torch"].startswith("2.")
    record_start(path, Ranks(), Precision("fp32", "by flag"), steps_done=0)
    assert recorded_precision(path) == "fp32"
