"""A run's folder: new, resumed, finished, refused, done over."""

import json

import pytest
import torch

from simhand_cli.errors import UsageProblem
from simhand_cli.stages.run_folder import open_run, peek_run
from simhand_cli.training.state.checkpoint import save_checkpoint


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
