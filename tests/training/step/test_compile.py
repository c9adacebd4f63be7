"""--compile: the same names everywhere, runs that go on with and without it, and machines that cannot."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from tiny_workspace import TINY, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.training import engine
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.training.step import compile as compiler


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "ws")


@pytest.fixture
def traced(monkeypatch):
    """As compiled but for the machine code: torch traces the network and runs its graphs, which are collected here."""
    graphs = []

    def run_graph(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(engine, "check_compiler", lambda device: None)
    monkeypatch.setattr(engine, "compile_model", lambda model: model.compile(backend=run_graph))
    return graphs


def run(workspace, name, **given):
    pretrain(PretrainConfig(workspace=workspace, **{**TINY, "name": name, **given}), Console(quiet=True))
    run_dir = workspace / "runs" / f"pretrain-{name}"
    losses = [line["loss"] for line in read_metrics(run_dir / "metrics.jsonl") if "loss" in line]
    return load_checkpoint(latest_complete(run_dir))[0], load_file(run_dir / "backbone.safetensors"), losses


@pytest.mark.slow
def test_names_and_losses_are_those_of_a_run_that_is_not_compiled(workspace, traced):
    given = {"precision": "fp64", "max_steps": 3, "ema": 0.9, "probe_every": 1}
    plain = run(workspace, "plain", **given)
    assert traced == []
    compiled = run(workspace, "compiled", compile=True, **given)
    assert traced
    assert compiled[0].keys() == plain[0].keys()
    assert compiled[1].keys() == plain[1].keys()
    assert compiled[2] == pytest.approx(plain[2], rel=1e-9)


@pytest.mark.slow
def test_a_run_goes_on_with_it_and_without(workspace, traced, monkeypatch):
    expected = run(workspace, "whole")
    for name, first in (("on-off", True), ("off-on", False)):
        with monkeypatch.context() as patched:
            patched.setattr(engine.Engine, "_learn", _stop_at_the_third(engine.Engine._learn))
            with pytest.raises(KeyboardInterrupt):
                run(workspace, name, compile=first, checkpoint_every=1)
        found = run(workspace, name, compile=not first, checkpoint_every=1)
        assert found[0].keys() == expected[0].keys()
        assert found[2] == pytest.approx(expected[2], rel=1e-4)


def _stop_at_the_third(learn):
    def stopping(self, *args, **kwargs):
        if self.network.step == 2:
            raise KeyboardInterrupt
        return learn(self, *args, **kwargs)

    return stopping


@pytest.mark.slow
def test_large_batches_in_parts(workspace, traced):
    given = {"precision": "fp64", "max_steps": 2, "micro_batch": 4}
    assert run(workspace, "a", compile=True, **given)[2] == pytest.approx(run(workspace, "b", **given)[2], rel=1e-9)


@pytest.mark.parametrize("dry_run", [False, True])
def test_several_processes_are_refused_before_any_starts(workspace, dry_run):
    with pytest.raises(UsageProblem, match=r"^--compile is for a run of one process, and this one has 2; .*--gpus 1$"):
        run(workspace, "a", compile=True, cpu_ranks=2, dry_run=dry_run)
    assert not (workspace / "runs" / "pretrain-a").exists()


def test_one_process_of_a_joined_job_is_refused_too():
    compiler.refuse_several(1)
    with pytest.raises(UsageProblem, match=r"^--compile is for a run that simhand starts itself"):
        compiler.refuse_several(1, joined=True)


@pytest.mark.slow
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_machine_without_a_compiler_says_so_in_one_line(workspace, dry_run):
    from torch._inductor import config, utils

    said = r"^--compile does not work on this machine \(.*no-such-compiler.*\); it needs .*leave --compile out$"
    missing = config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with missing, utils.fresh_cache(), pytest.raises(EnvironmentProblem, match=said) as problem:
        run(workspace, "a", compile=True, dry_run=dry_run)
    assert "\n" not in str(problem.value)
    assert not (workspace / "runs" / "pretrain-a" / "checkpoints").exists()


@pytest.mark.slow
def test_the_real_compiler_gives_the_same_numbers_and_names():
    compiler.check_compiler("cpu")
    torch.manual_seed(0)
    layers = (torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    plain, inputs = torch.nn.Sequential(*layers).double(), torch.randn(4, 6, dtype=torch.float64)
    compiled = copy.deepcopy(plain)
    compiler.compile_model(compiled)
    for model in (plain, compiled):
        model(inputs).square().sum().backward()
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    for (name, mine), (_, other) in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
        torch.testing.assert_close(other.grad, mine.grad, msg=lambda m, n=name: f"{n}: {m}")
