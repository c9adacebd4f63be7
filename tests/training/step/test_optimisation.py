"""Schedule, optimisers, precision, stopping, synchronised batch norm: against closed forms and plain torch."""

import math
import os
import signal
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from simhand_cli.errors import EnvironmentProblem, UsageProblem
from simhand_cli.models.encoder import build_encoder
from simhand_cli.training.processes.launch import launch
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.processes.world import World
from simhand_cli.training.step.optimisers import AdamLars, Lars, build_optimiser, parameter_groups, set_lr
from simhand_cli.training.step.precision import Precision, choose_precision
from simhand_cli.training.step.schedule import scaled_lr, warmup_cosine
from simhand_cli.training.step.stop import StopSignals, Verdict, refuse_non_finite
from simhand_cli.training.step.sync_batch_norm import CpuSyncBatchNorm, synchronise_batch_norm


def test_schedule_matches_its_closed_form():
    rates = [warmup_cosine(step, 12, 4, 0.8, 0.2) for step in range(12)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)  # the cosine starts at the peak
    assert rates[8] == pytest.approx(0.5)  # half way: the mean of both ends
    assert rates[11] == pytest.approx(0.2 + 0.6 * math.cos(math.pi * 7 / 16) ** 2)
    assert warmup_cosine(0, 5, 0, 1.0) == 1.0


@given(st.integers(1, 500), st.integers(0, 600), st.floats(1e-6, 10))
def test_schedule_rises_then_falls_and_stays_positive(total, warmup, peak):
    rates = [warmup_cosine(step, total, warmup, peak) for step in range(total)]
    turn = min(warmup, total)
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    assert all(a < b for a, b in pairwise(rates[:turn]))
    assert all(a >= b for a, b in pairwise(rates[turn:]))


def test_learning_rate_rules():
    assert scaled_lr(1e-4, "constant", 1024) == 1e-4
    assert scaled_lr(1e-4, "sqrt", 1024) == pytest.approx(3.2e-3)
    assert scaled_lr(0.3, "linear", 4096) == pytest.approx(4.8)


def test_decay_goes_by_module_type_not_by_name():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn_like_name = nn.Linear(3, 4)
            self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4))
            self.weight = nn.Parameter(torch.zeros(3))
            self.tied = self.bn_like_name
            self.frozen = nn.Linear(2, 2).requires_grad_(False)

    module = Odd()
    decayed, others = parameter_groups([module], 0.1)
    assert {id(p) for p in decayed["params"]} == {id(module.bn_like_name.weight), id(module.features[0].weight)}
    assert decayed["weight_decay"] == 0.1
    assert len(others["params"]) == 7  # two biases, two norms' scale and shift, the free parameter
    assert others["weight_decay"] == 0.0


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "test_convnext"])
def test_groups_hold_every_parameter_once(name):
    import timm  # here, since the launched ranks below import this file too

    model = timm.create_model(name, num_classes=0)
    groups = parameter_groups([model], 0.1)
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
    if name == "resnet18":
        assert len(groups[0]["params"]) == 20  # 17 convolutions and 3 shortcuts
        assert all(p.ndim == 4 for p in groups[0]["params"])


def test_what_is_also_decayed_is_decayed_without_a_rate_of_its_own():
    norm, layer = nn.BatchNorm1d(3), nn.Linear(3, 3)
    groups = parameter_groups([norm, layer], 0.1, 0.5, also_decayed=[norm.weight, layer.weight])
    assert [[id(p) for p in group["params"]] for group in groups] == [
        [id(layer.weight)],  # is decayed anyway
        [id(norm.bias), id(layer.bias)],
        [id(norm.weight)],
    ]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1]
    assert [group["adapt"] for group in groups] == [True, False, False]
    assert {group["lr_factor"] for group in groups} == {0.5}


def test_lr_factor_scales_a_groups_rate():
    head, body = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = parameter_groups([head], 0) + parameter_groups([body], 0, lr_factor=0.1)
    optimiser = build_optimiser("adamw", groups, lr=1.0)
    set_lr(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.5, 0.05, 0.05]


@pytest.mark.parametrize("lr", [3.2e-3, 0.5])
def test_adam_lars_is_adam_on_the_wrappers_gradients(lr):
    torch.manual_seed(0)
    tensors = {"weight": torch.randn(3, 2), "bias": torch.randn(3), "zero": torch.zeros(2)}
    decays = {"weight": 0.05, "bias": 0.0, "zero": 0.05}
    parameters = {name: nn.Parameter(value.double()) for name, value in tensors.items()}
    groups = [{"params": [p], "weight_decay": decays[name]} for name, p in parameters.items()]
    optimiser = AdamLars(groups, lr=lr)
    values = {name: p.detach().numpy().copy() for name, p in parameters.items()}
    moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in values.items()}
    clipped = []
    for step in range(1, 6):
        for p in parameters.values():
            p.grad = torch.sin(p.detach() + step) + 0.1
        optimiser.step()
        for name, w in values.items():
            gradient, decay = np.sin(w + step) + 0.1, decays[name]
            w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((gradient**2).sum())
            if w_norm != 0:
                ratio = min(0.02 * w_norm / (g_norm + decay * w_norm + 1e-8) / lr, 1)
                clipped.append(ratio == 1)
                gradient = ratio * (gradient + decay * w)
            first, second = moments[name]
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[name] = first, second
            root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            values[name] = w - lr * first / (1 - 0.9**step) / root
    for name, p in parameters.items():
        np.testing.assert_allclose(p.detach(), values[name], rtol=1e-10)
    # At the released rate the wrapper hardly ever changes more than the decay, at a large one always.
    assert sum(clipped) >= 0.7 * len(clipped) if lr < 0.1 else not any(clipped)
    assert [group["weight_decay"] for group in optimiser.param_groups] == list(decays.values())


def test_lars_matches_the_papers_recursion():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
    bias = nn.Parameter(torch.randn(3, dtype=torch.float64))
    zero = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    groups = [
        {"params": [weight, zero], "weight_decay": 0.05, "adapt": True},
        {"params": [bias], "weight_decay": 0.0, "adapt": False},
    ]
    optimiser = Lars(groups, lr=0.3, momentum=0.9, trust=0.01)
    expected = {p: p.detach().clone() for p in (weight, bias, zero)}
    velocity = {p: torch.zeros_like(p) for p in expected}
    for step in range(5):
        for p in expected:
            p.grad = torch.sin(p.detach() + step) + 0.1
        optimiser.step()
        for p, value in expected.items():
            gradient = torch.sin(value + step) + 0.1
            decay = 0.0 if p is bias else 0.05
            ratio = 1.0
            if p is not bias and value.norm() > 0:
                ratio = 0.01 * value.norm() / (gradient.norm() + decay * value.norm())
            velocity[p] = 0.9 * velocity[p] + 0.3 * ratio * (gradient + decay * value)
            expected[p] = value - velocity[p]
    for p, value in expected.items():
        torch.testing.assert_close(p.detach(), value, rtol=1e-12, atol=1e-12)


def test_precision_on_a_cpu_follows_the_measurement(monkeypatch):
    now, cost = [0.0], {"fp32": 1.0, "bf16": 0.5}
    monkeypatch.setattr("simhand_cli.training.step.precision.busy_cores", lambda: 0.0)
    monkeypatch.setattr("simhand_cli.training.step.precision.time.perf_counter", lambda: now[0])

    def trial(precision):
        now[0] += cost[precision.name]

    def chosen(**options):
        return choose_precision("auto", Ranks(), trial, **options)

    assert chosen().name == "bf16"
    cost.update(fp32=0.01, bf16=0.0095)
    assert chosen().name == "fp32"
    assert chosen().reason == "measured 10 ms in fp32 and 10 ms in bf16 on the CPU"
    monkeypatch.setattr("simhand_cli.training.step.precision.busy_cores", lambda: 1.5)
    assert " on the CPU while other programs kept 1.5 of " in chosen().reason
    assert chosen(earlier="bf16").name == "bf16"
    assert choose_precision("fp64", Ranks(), trial).dtype == torch.float64
    with pytest.raises(EnvironmentProblem, match="fp16 needs a GPU"):
        choose_precision("fp16", Ranks(), trial)


def test_autocast_and_scaler_follow_the_precision():
    matrix = torch.randn(4, 4)
    with Precision("bf16", "").autocast("cpu"):
        assert (matrix @ matrix).dtype == torch.bfloat16
    with Precision("fp32", "").autocast("cpu"):
        assert (matrix @ matrix).dtype == torch.float32
    assert not Precision("bf16", "").scaler("cpu").is_enabled()
    assert Precision("fp16", "").scaler("cpu").is_enabled()


def test_signals_wait_for_the_step_and_a_second_interrupt_does_not():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert not signals.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.requested
        os.kill(os.getpid(), signal.SIGINT)  # the terminal's first, after a launcher's SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_verdict_of_one_rank_is_its_own():
    assert Verdict(stop=True).agreed(Ranks()) == Verdict(stop=True, save=False, bad=False)
    assert Verdict(bad=True, save=True).agreed(Ranks()) == Verdict(save=True, bad=True)


def test_non_finite_problem_says_which():
    assert "the loss of step 3" in str(refuse_non_finite(3, math.nan, 1.0))
    assert "the gradient of step 3" in str(refuse_non_finite(3, 1.0, math.inf))


def small_network(norm: str = "plain") -> nn.Module:
    torch.manual_seed(5)
    # timm's layer activates what it normalised, in place where it can.
    norms = [nn.BatchNorm2d(3), nn.ReLU()] if norm == "plain" else [BatchNormAct2d(3, act_layer=nn.SiLU)]
    layers = [nn.Conv2d(2, 3, 3), *norms, nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)]
    return nn.Sequential(*layers).double()


def batch_of_eight() -> torch.Tensor:
    return torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def synchronised_step(ranks: Ranks, norm: str) -> dict:
    """Each rank's own mean of a nonlinear loss over its part; gradients averaged as DDP does."""
    model = synchronise_batch_norm(small_network(norm), ranks)
    part = batch_of_eight().chunk(ranks.world_size)[ranks.rank]
    model(part).pow(3).exp().mean().backward()
    verdict = Verdict(stop=ranks.rank == 1, bad=False).agreed(ranks)
    return {
        "gradients": [ranks.mean(p.grad).tolist() for p in model.parameters()],
        "buffers": [b.tolist() for b in model.buffers()],
        "stop": verdict.stop,
        "bad": verdict.bad,
    }


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["plain", "with activation"])
def test_synchronised_batch_norm_equals_one_rank_on_the_joined_batch(norm):
    model = small_network(norm)
    model(batch_of_eight()).pow(3).exp().mean().backward()
    result = launch(synchronised_step, norm, World(2))
    for ours, parameter in zip(result["gradients"], model.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), parameter.grad, rtol=1e-11, atol=1e-12)
    for ours, buffer in zip(result["buffers"], model.buffers(), strict=True):
        torch.testing.assert_close(torch.tensor(ours, dtype=buffer.dtype), buffer, rtol=1e-12, atol=1e-12)
    assert (result["stop"], result["bad"]) == (True, False)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_every_batch_norm_of_an_encoder_is_synchronised_under_its_old_names(name):
    plain = build_encoder(name)
    names, outputs = list(plain.state_dict()), plain.eval()(torch.ones(2, 3, 64, 64))
    changed = synchronise_batch_norm(plain, Ranks(rank=0, world_size=2, grouped=True)).eval()
    norms = [m for m in changed.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert {type(m) for m in norms} == {CpuSyncBatchNorm}
    assert list(changed.state_dict()) == names
    assert torch.equal(changed(torch.ones(2, 3, 64, 64)), outputs)


def test_a_batch_norm_of_an_unknown_kind_is_refused():
    class Renormed(nn.BatchNorm2d):
        pass

    with pytest.raises(UsageProblem, match="Renormed cannot be synchronised on CPUs; use another"):
        synchronise_batch_norm(nn.Sequential(Renormed(3)), Ranks(rank=0, world_size=2, grouped=True))
