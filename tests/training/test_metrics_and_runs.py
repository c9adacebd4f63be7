"""metrics.jsonl and environment.json."""

import json

from simhand_cli.training.log.metrics_log import MetricsLog, read_metrics
from simhand_cli.training.processes.ranks import Ranks
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
