"""The real loop: exact resume, two ranks as one, orderly ends, and what a run leaves behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_workspace import CROP_PX, TINY, make_workspace, terminated_after_logging

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.crops.balance import Balance, save_balance
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.models.encoder import build_encoder, load_encoder_weights
from simhand_cli.pretrain import dry_run as estimate
from simhand_cli.pretrain import loss_options as options
from simhand_cli.pretrain import trial_step
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.loss.diagnostics import uniformity
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.pairs.epoch_order import Sampling
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.pretrain.pretrain_report import last_figures
from simhand_cli.pretrain.recipe import DecayOption
from simhand_cli.pretrain.run import Pretraining
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.worker import load_table
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.stages.job import run_job
from simhand_cli.training import engine
from simhand_cli.training.loader_workers import killed_workers
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.processes.cluster import JobPlace
from simhand_cli.training.processes.world import World
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.training.step.optimisers import OptimiserName
from simhand_cli.training.step.precision import PrecisionOption
from simhand_cli.training.step.schedule import LrRule
from simhand_cli.workspace.catalog import Catalog, StageRecord
from simhand_cli.workspace.paths import Workspace

HELPERS = Path(__file__).parents[1] / "helpers"
QUIET = Console(quiet=True)


def run(workspace: Path, **given):
    return pretrain(PretrainConfig(workspace=workspace, **{**TINY, **given}), QUIET)


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "ws")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run."""
    workspace = make_workspace(tmp_path_factory.mktemp("reference") / "ws")
    run(workspace, name="a", checkpoint_every=2)
    return workspace / "runs" / "pretrain-a"


def learned(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(latest_complete(run_dir))[0]


def logged(run_dir: Path) -> list[dict]:
    """The metrics, without the speed."""
    return [{k: v for k, v in line.items() if k != "views_per_s"} for line in read_metrics(run_dir / "metrics.jsonl")]


def assert_same_run(run_dir: Path, reference: Path) -> None:
    ours, theirs = learned(run_dir), learned(reference)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert logged(run_dir) == logged(reference)
    backbone = "backbone.safetensors"
    assert (run_dir / backbone).read_bytes() == (reference / backbone).read_bytes()


@pytest.mark.slow
def test_a_run_leaves_what_was_promised(reference):
    names = {p.name for p in reference.iterdir()}
    assert names >= {
        "config.yaml", "environment.json", "metrics.jsonl", "checkpoints", "report.html",
        "backbone.safetensors", "loss.png", "pairs.png", "result.json",
    }  # fmt: skip
    assert [line["step"] for line in logged(reference)] == [1, 2, 3, 4, 5, 6]
    wanted = {
        "loss",
        "lr",
        "grad_norm",
        "positive_similarity",
        "negative_similarity",
        "alignment",
        "uniformity",
        "epoch",
        "positive_weight_histogram",
    }
    assert logged(reference)[0].keys() >= wanted
    assert "Adaptive weights" in (reference / "report.html").read_text()
    assert not list(reference.rglob("*.part"))
    resolved = yaml.safe_load((reference / "resolved.yaml").read_text())
    given = yaml.safe_load((reference / "config.yaml").read_text())  # to be used again, with another recipe too
    assert given["loss"]["weight_range"] is None
    for section in ("loss", "views"):  # what method and recipe fill in stands there too
        assert None not in resolved[section].values()
    assert resolved["loss"]["weights"] == "linear"
    trained, fresh = build_encoder("test_resnet"), build_encoder("test_resnet")
    assert load_encoder_weights(trained, reference).missing == []
    weights = load_file(reference / "backbone.safetensors")
    assert torch.equal(weights["layer1.0.conv1.weight"], trained.backbone.layer1[0].conv1.weight)
    assert not torch.equal(fresh.backbone.layer1[0].conv1.weight, weights["layer1.0.conv1.weight"])


@pytest.mark.slow
def test_stopped_by_a_signal_and_resumed_is_bit_equal(workspace, reference):
    with terminated_after_logging(3), pytest.raises(KeyboardInterrupt, match="saved after step 4"):
        run(workspace, name="a", checkpoint_every=100)
    run_dir = workspace / "runs" / "pretrain-a"
    assert latest_complete(run_dir).name == "step-00000004"
    assert not (run_dir / "result.json").exists()
    run(workspace, name="a", workers=1)  # how many workers fetch does not matter
    assert_same_run(run_dir, reference)
    starts = json.loads((run_dir / "environment.json").read_text())["starts"]
    assert [start["steps_done"] for start in starts] == [0, 4]


KILLED_IN_SECOND_WRITE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tiny_workspace import TINY
from simhand_cli.training.state import checkpoint
write, calls = checkpoint.save_file, []
def cut_short(tensors, path, metadata):
    calls.append(path)
    if len(calls) == 2:
        Path(path).write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    write(tensors, path, metadata)
checkpoint.save_file = cut_short
from simhand_cli.commands.pretrain import pretrain
from simhand_cli.pretrain.config import PretrainConfig
pretrain(PretrainConfig(workspace=Path({workspace!r}), **{{**TINY, "name": "a", "checkpoint_every": 2, "workers": 1}}))
"""


@pytest.mark.slow
def test_killed_inside_a_checkpoint_write_and_run_again_is_bit_equal(workspace, reference):
    script = KILLED_IN_SECOND_WRITE.format(tests=str(HELPERS), workspace=str(workspace))
    root = Path(__file__).parents[2]
    # Sums depend on the number of threads, so to the bit means with as many as this process has.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, timeout=120, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    run_dir = workspace / "runs" / "pretrain-a"
    assert (run_dir / "checkpoints" / "step-00000004.part").is_dir()
    assert latest_complete(run_dir).name == "step-00000002"
    with (run_dir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "lo')
    run(workspace, name="a", checkpoint_every=2)
    assert_same_run(run_dir, reference)
    assert not list(run_dir.rglob("*.part"))


@pytest.mark.slow
def test_two_ranks_learn_what_one_rank_learns(workspace):
    """Float64, synchronised batch norm, gathered negatives: weights after three steps agree to rounding."""
    given = {"precision": "fp64", "max_steps": 3, "optimiser": "adamw", "probe_every": 1}
    run(workspace, name="one", **given)
    run(workspace, name="two", cpu_ranks=2, workers=1, **given)
    one, two = workspace / "runs" / "pretrain-one", workspace / "runs" / "pretrain-two"
    ours, theirs = learned(one), learned(two)
    compared = [name for name in ours if not name.startswith("random.")]
    assert sum(ours[name].dtype == torch.float64 for name in compared) > 100
    for name in compared:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-9, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    same_on_all = {"loss", "lr", "grad_norm", "positive_similarity", "alignment", "top1", "probe_distance"}
    for mine, other in zip(logged(one), logged(two), strict=True):
        names = sorted(same_on_all & mine.keys())
        assert names
        assert [other[k] for k in names] == pytest.approx([mine[k] for k in names], rel=1e-9)
    environment = json.loads((two / "environment.json").read_text())
    assert environment["starts"][0]["processes"] == 2


TWO_RANKS_CHOOSE = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tiny_workspace import TINY
from simhand_cli.commands.pretrain import pretrain
from simhand_cli.pretrain.config import PretrainConfig
given = {{**TINY, "name": "a", "max_steps": 1, "precision": "auto", "cpu_ranks": 2}}
pretrain(PretrainConfig(workspace=Path({workspace!r}), **given))
"""


@pytest.mark.slow
def test_two_ranks_choose_their_precision(workspace):
    """Rank 0 alone measures; its trial steps must not wait for the other's batch statistics."""
    script = TWO_RANKS_CHOOSE.format(tests=str(HELPERS), workspace=str(workspace))
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True, timeout=120)
    environment = json.loads((workspace / "runs" / "pretrain-a" / "environment.json").read_text())
    assert environment["precision"]["reason"].startswith("measured ")


@pytest.mark.slow
def test_micro_batches_learn_and_resume(workspace):
    whole = run(workspace, name="whole", max_steps=4, micro_batch=3)
    assert whole.facts["steps"] == 4
    run(workspace, name="halves", max_steps=4, micro_batch=3, checkpoint_every=2)
    halves = workspace / "runs" / "pretrain-halves"
    shutil.rmtree(halves / "checkpoints" / "step-00000004")
    (halves / "result.json").unlink()
    run(workspace, name="halves", max_steps=4, micro_batch=3, checkpoint_every=2)
    assert (halves / "backbone.safetensors").read_bytes() == (
        workspace / "runs" / "pretrain-whole" / "backbone.safetensors"
    ).read_bytes()
    planned = run(workspace, name="plan", max_steps=4, micro_batch=1, dry_run=True).facts
    assert planned["pairs per step"] == 8


@pytest.mark.slow
def test_averaged_weights_are_the_encoder_and_survive_a_resume(workspace):
    run(workspace, name="whole", max_steps=4, ema=0.9, checkpoint_every=2)
    whole = workspace / "runs" / "pretrain-whole"
    state = learned(whole)
    written = load_file(whole / "backbone.safetensors")
    name = next(n for n in written if n.endswith("conv1.0.weight"))
    assert torch.equal(written[name], state[f"module.average.encoder.backbone.{name}"])
    assert not torch.equal(written[name], state[f"module.model.encoder.backbone.{name}"])
    expected = (whole / "backbone.safetensors").read_bytes()
    shutil.rmtree(whole / "checkpoints" / "step-00000004")
    (whole / "result.json").unlink()
    run(workspace, name="whole", max_steps=4, ema=0.9, checkpoint_every=2)
    assert (whole / "backbone.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_dry_run_of_a_redo_says_so(workspace):
    run(workspace, name="a", max_steps=1)
    for given in ({}, {"lr": 0.01}):
        assert run(workspace, name="a", max_steps=1, dry_run=True, redo=True, **given).facts["found there"] == "redo"
    assert run(workspace, name="a", max_steps=1, dry_run=True).facts["found there"] == "finished"


def test_rank_zero_alone_measures_for_a_dry_run(workspace, monkeypatch):
    measured = []
    measure = estimate.estimate_step
    monkeypatch.setattr(estimate, "estimate_step", lambda *given: measured.append(given) or measure(*given))
    place = {"local_world_size": 2, "world_size": 2, "starter": "torchrun", "address": "localhost", "port": 29500}
    config = PretrainConfig(workspace=workspace, **TINY, dry_run=True)
    for rank in (1, 0):
        assert measured == []
        world = World(2, place=JobPlace(rank=rank, local_rank=rank, **place))
        assert run_job(Pretraining(config, world, None), QUIET).dropped
    assert len(measured) == 1


@pytest.mark.slow
def test_dry_run_refuses_what_the_run_would(workspace, tmp_path):
    run(workspace, name="a", max_steps=1)
    with pytest.raises(UsageProblem, match=r"lr=0\.001, now 0\.01"):
        run(workspace, name="a", max_steps=1, dry_run=True, lr=0.01)
    other = tmp_path / "vit.pth"
    torch.save({"blocks.0.weight": torch.zeros(3)}, other)
    for damaged in (other, workspace / "mining" / "pairs.h5"):
        with pytest.raises(InputProblem, match=damaged.name):
            run(workspace, name="b", dry_run=True, init=str(damaged))


def test_dry_run_of_a_stopped_run_counts_what_is_left(workspace, monkeypatch):
    with terminated_after_logging(3), pytest.raises(KeyboardInterrupt):
        run(workspace, name="a")
    summary = run(workspace, name="a", dry_run=True)
    assert (summary.facts["found there"], summary.facts["steps done"]) == ("resume", 4)
    whole = run(workspace, name="b", dry_run=True)
    assert "steps done" not in whole.facts
    monkeypatch.setattr(estimate, "estimate_step", lambda *_: estimate.Estimate(0.5, 8, "fp32", 0, 0))
    left, all_of_it = (run(workspace, name=name, dry_run=True).data["seconds"] for name in ("a", "b"))
    assert (left, all_of_it) == ((6 - 4) * 2 * 8 * 0.5, 6 * 2 * 8 * 0.5)


@pytest.mark.parametrize(("method", "crops"), [("simhand", 16), ("peclr", 8)])
def test_dry_run_counts_the_crops_in_memory(workspace, monkeypatch, method, crops):
    monkeypatch.setattr(estimate, "estimate_step", lambda *_: estimate.Estimate(0.5, 8, "fp32", 1000, 0))
    found = run(workspace, name="m", method=method, dry_run=True).data["bytes_per_process"]
    assert found == 1000 + 2 * crops * 3 * CROP_PX**2  # a batch in use and one that lies ready


@pytest.mark.slow
def test_the_official_recipe_sets_rate_optimiser_and_statistics(workspace):
    dry = run(workspace, dry_run=True, lr=None, epochs=20, loss={"recipe": "official"})
    assert dry.facts["peak learning rate"] == 3.2e-3
    assert dry.facts["warm-up steps"] == 10 * dry.facts["steps"] / 20
    assert run(workspace, dry_run=True, lr=0.5, loss={"recipe": "official"}).facts["peak learning rate"] == 0.5
    # A rule without a rate is PeCLR's, not the scaled rate scaled again.
    peclr = run(workspace, dry_run=True, lr=None, lr_rule="sqrt", batch_size=16, loss={"recipe": "official"})
    assert peclr.facts["peak learning rate"] == pytest.approx(1e-4 * 16**0.5)
    short = run(workspace, name="a", lr=None, max_steps=1, loss={"recipe": "official"}).outputs["encoder"].parent
    resolved = yaml.safe_load((short / "resolved.yaml").read_text())
    assert (resolved["optimiser"], resolved["lr_rule"], resolved["sync_bn"]) == ("adam-lars", "constant", False)
    assert (resolved["decay"], resolved["sampling"]) == ("released", "replacement")
    assert yaml.safe_load((short / "config.yaml").read_text())["optimiser"] is None
    assert json.loads((short / "identity.json").read_text())["processes"] == 1


@pytest.mark.slow
def test_trackers_are_told_the_filled_options(workspace, monkeypatch):
    told = []

    def open_nothing(kinds, path, step, options):
        told.append(options)
        return []

    monkeypatch.setattr(engine, "open_trackers", open_nothing)
    run(workspace, name="a", lr=None, max_steps=1)
    (options,) = told
    assert (options["lr"], options["lr_rule"], options["sync_bn"]) == (1e-4, "sqrt", True)
    assert options["loss"]["weight_range"] == "single"


def test_the_speed_is_that_of_the_whole_run():
    lines = [{"step": n, "loss": 1.0, "views_per_s": v} for n, v in enumerate([1.0, 10.0, 30.0], 1)]
    assert last_figures(lines)["views_per_s"] == pytest.approx(15.0)  # as many views at 10 a second as at 30
    assert last_figures(lines[:2])["views_per_s"] == pytest.approx(2 / (1 + 1 / 10))
    assert last_figures([{"step": 1, "loss": 1.0}])["views_per_s"] is None


@pytest.mark.slow
def test_runs_of_a_workspace_share_what_was_measured(workspace, monkeypatch):
    cost = {"fp32": 0.02, "bf16": 0.0}
    monkeypatch.setattr(trial_step.TrialStep, "__call__", lambda self, precision: time.sleep(cost[precision.name]))
    given = {"precision": "auto", "max_steps": 1}
    assert run(workspace, name="a", **given).facts["precision"] == "bf16"
    cost.update(fp32=0.0, bf16=0.02)
    assert run(workspace, name="b", dry_run=True, **given).facts["precision"] == "bf16"
    assert run(workspace, name="b", **given).facts["precision"] == "bf16"
    chosen = json.loads((workspace / "runs" / "pretrain-b" / "environment.json").read_text())["precision"]
    assert chosen["reason"] == "as measured for earlier runs of this workspace"
    assert run(workspace, name="c", **{**given, "views": {"output_px": 40}}).facts["precision"] == "fp32"
    (workspace / "runs" / "cpu-precision.json").unlink()
    assert run(workspace, name="d", **given).facts["precision"] == "fp32"


@pytest.mark.slow
def test_decay_reaches_the_norms_that_the_released_code_decays(workspace):
    norms = {"stem": "encoder.backbone.bn1", "block": "encoder.backbone.layer1.0.bn1", "head": "projection.layers.1"}
    scales: dict[str, list[torch.Tensor]] = {place: [] for place in norms}
    for decay in ("kernels", "released"):
        given = {"max_steps": 1, "weight_decay": 0.5, "warmup_epochs": 0, "optimiser": "adamw", "decay": decay}
        weights = learned(run(workspace, name=decay, **given).outputs["encoder"].parent)
        for place, name in norms.items():
            scales[place].append(weights[f"module.model.{name}.weight"])
    decayed_by = 0.5 * 1e-3 * 8**0.5  # of the ones that scales begin with, by AdamW
    for place, (kernels, released) in scales.items():
        expected = 0 if place == "block" else decayed_by
        torch.testing.assert_close(kernels - released, torch.full_like(kernels, expected), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_paper_s_weights_are_of_the_embeddings(workspace):
    runs = {
        metric: run(workspace, name=metric, max_steps=2, loss={"recipe": "paper", "weight_metric": metric})
        for metric in ("embedding", "joints")
    }
    default = run(workspace, name="default", max_steps=2, loss={"recipe": "paper"})
    assert default.facts["final loss"] == runs["embedding"].facts["final loss"] != runs["joints"].facts["final loss"]
    identity = json.loads((default.outputs["encoder"].parent / "identity.json").read_text())
    assert identity["loss"]["weight_metric"] == "embedding"
    unweighted = PretrainConfig(workspace=workspace, **TINY, loss={"recipe": "paper", "weights": "none"})
    assert load_table(Workspace.open(workspace), settle(unweighted)).embedding is None


def test_a_loss_that_is_not_finite_stops_before_the_update(workspace, monkeypatch):
    compute = PairLoss.__call__

    def broken_at_the_third(self, model, batch):
        loss, metrics = compute(self, model, batch)
        calls.append(0)
        return (loss * torch.nan if len(calls) == 3 else loss), metrics

    calls: list[int] = []
    monkeypatch.setattr(PairLoss, "__call__", broken_at_the_third)
    with pytest.raises(InputProblem, match="loss of step 3 is not finite"):
        run(workspace, name="a", checkpoint_every=1)
    run_dir = workspace / "runs" / "pretrain-a"
    assert latest_complete(run_dir).name == "step-00000002"
    assert all(torch.isfinite(t).all() for t in learned(run_dir).values() if t.is_floating_point())


@pytest.mark.slow
def test_finished_changed_and_redone_runs(workspace):
    first = run(workspace, name="a", max_steps=1)
    again = run(workspace, name="a", max_steps=1)
    assert again.data["result"]["skipped"] is True
    assert again.facts == first.facts
    with pytest.raises(UsageProblem, match=r"lr=0\.001, now 0\.01; .*--redo .*--name"):
        run(workspace, name="a", max_steps=1, lr=0.01)
    with pytest.raises(UsageProblem, match=r"pretrain-a .*lr="):
        pretrain(PretrainConfig(workspace=workspace, **{**TINY, "name": "a", "max_steps": 1, "lr": 0.01}), QUIET)
    redone = run(workspace, name="a", max_steps=1, lr=0.01, redo=True)
    assert redone.facts["final loss"] == first.facts["final loss"]  # the first loss is before any update
    other = run(workspace, name="b", max_steps=1, init=str(workspace / "runs" / "pretrain-a"))
    assert other.facts["final loss"] != first.facts["final loss"]


def test_mining_again_makes_it_another_run(workspace):
    run(workspace, name="a", max_steps=1)
    pairs = workspace / "mining" / "pairs.h5"
    pairs.write_bytes(
        (make_workspace(workspace.parent / "other", without_positive=5) / "mining" / "pairs.h5").read_bytes()
    )
    with pytest.raises(UsageProblem, match="other mined pairs"):
        run(workspace, name="a", max_steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["detect", "keypoints"])
def test_pairs_of_earlier_crops_are_refused(workspace, stage):
    run(workspace, name="a", max_steps=1)
    with Catalog(workspace / "catalog.sqlite") as catalog:
        video_id, before = next(iter(catalog.stage(stage).items()))
        catalog.record_stage(stage, StageRecord(video_id, "done", "f" * 64, before.bytes))
    for given in ({}, {"dry_run": True}, {"redo": True}, {"name": "b"}):
        with pytest.raises(InputProblem, match=r"^the crops changed since .* ran; run 'simhand mine' again$"):
            run(workspace, **{"name": "a", "max_steps": 1, **given})
    with Catalog(workspace / "catalog.sqlite") as catalog:
        catalog.record_stage(stage, before)
    assert run(workspace, name="a", max_steps=1).data["result"]["skipped"] is True


def test_another_balance_or_unfinished_mining_is_refused(workspace):
    with Catalog(workspace / "catalog.sqlite") as catalog:
        save_balance(catalog, Balance(left_key_max=7))
    with pytest.raises(InputProblem, match="the crops changed"):
        run(workspace, dry_run=True)
    (workspace / "mining" / "mine.json").unlink()
    with pytest.raises(InputProblem, match="was not finished: run 'simhand mine' again"):
        run(workspace, dry_run=True)


@pytest.mark.slow
def test_training_loads_neither_the_index_nor_the_detector():
    script = (
        "import sys, simhand_cli.pretrain.worker, simhand_cli.finetune.worker;"
        "assert not {'hnswlib', 'mediapipe'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True, timeout=120)


def test_a_recipe_that_changed_its_mind_does_not_continue_a_run(workspace, monkeypatch):
    """Options left open are compared as filled, not as typed."""
    run(workspace, name="a", max_steps=1)
    other = {**options.RECIPES["simhand"], "shift_unit": "range"}
    monkeypatch.setitem(options.RECIPES, "simhand", other)
    with pytest.raises(UsageProblem, match=r"loss\.shift_unit='hand', now 'range'"):
        run(workspace, name="a", max_steps=1)


def test_dry_run_says_what_it_would_do_and_writes_nothing(workspace):
    before = sorted(workspace.rglob("*"))
    summary = run(workspace, dry_run=True, batch_size=64, epochs=3)
    assert summary.facts["pairs per step"] == 28
    assert summary.facts["steps"] == 3
    assert summary.facts["found there"] == "new"
    assert "reduced to 28: there are only 28 pairs" in summary.facts["note"]
    assert summary.data["seconds"] > 0
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, "Killed"), (signal.SIGBUS, "Bus error")])
def test_a_killed_worker_is_one_line(workspace, monkeypatch, number, how):
    main, fetch = os.getpid(), PairDataset.__getitems__

    def killed_at_the_second(self, request):
        if os.getpid() != main and request[0] == 1:
            os.kill(os.getpid(), number)
        return fetch(self, request)

    monkeypatch.setattr(PairDataset, "__getitems__", killed_at_the_second)
    with pytest.raises(
        EnvironmentProblem, match=rf"^a process that loads .* \({how}\); use fewer --workers, .*/dev/shm"
    ):
        run(workspace, name="a", workers=1)


def test_other_errors_of_torch_are_not_called_a_lost_worker():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), killed_workers():
        raise RuntimeError("shapes differ")
    with pytest.raises(EnvironmentProblem, match=r"\(no memory left\?\)"), killed_workers():
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def test_problems_are_said_before_any_work(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblem, match="--gpus 8"):
        run(workspace, gpus=8)
    with pytest.raises(UsageProblem, match="did you mean 'test_resnet'"):
        run(workspace, backbone="test_resnt")
    with pytest.raises(InputProblem, match=r"absent\.pth is not there"):
        run(workspace, init="absent.pth")
    with pytest.raises(InputProblem, match="no workspace"):
        run(tmp_path / "nowhere")
    (tmp_path / "ws2").mkdir()
    (tmp_path / "ws2" / "catalog.sqlite").touch()
    with pytest.raises(InputProblem, match="run 'simhand mine' first"):
        run(tmp_path / "ws2")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "peclr", "handclr"])
def test_every_method_runs(workspace, method):
    summary = run(workspace, method=method, max_steps=2, name="a")
    assert summary.facts["pairs"] == (28 if method == "handclr" else 30)


def test_options_offer_exactly_what_the_parts_can_do():
    fields = PretrainConfig.model_fields
    for name, kind in (
        ("method", options.MethodName),
        ("optimiser", OptimiserName),
        ("precision", PrecisionOption),
        ("lr_rule", LrRule),
        ("decay", DecayOption),
        ("sampling", Sampling),
    ):
        offered = fields[name].annotation
        if type(None) in get_args(offered):  # left open: as the recipe says
            offered = next(arg for arg in get_args(offered) if arg is not type(None))
        assert get_args(offered) == get_args(kind)


def test_uniformity_matches_its_definition():
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = torch.stack([torch.exp(-2 * (unit[i] - unit[j]).square().sum()) for i, j in pairs]).mean().log()
    assert float(uniformity(unit)) == pytest.approx(float(expected), rel=1e-5)
