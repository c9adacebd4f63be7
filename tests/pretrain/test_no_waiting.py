"""The host never waits for the device within a step: shown on torch's "meta" device, whose tensors have no numbers."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from simhand_cli.console import Console
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.pretrain.model import build_model
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.plan import make_plan
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.task import PretrainTask
from simhand_cli.training import engine as engine_module
from simhand_cli.training.engine import Engine
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.training_state import TrainingState
from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups
from simhand_cli.training.step.precision import Precision
from simhand_cli.training.step.stop import StopSignals
from simhand_cli.training.task import Network, RunPlace
from simhand_cli.workspace.paths import Workspace


class Copies(TorchDispatchMode):
    """Notes copies between host and device that the host would wait for."""

    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            before = args[1] if name == "copy_" else args[0]
            asynchronous = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            if before.device != out.device and not asynchronous:
                self._found.append(f"{name} {before.device} -> {out.device}")
        return out


class Literals(TorchFunctionMode):
    """Notes tensors that are made of Python's numbers and then copied to the device."""

    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor) and out.device.type == "meta":
            self._found.append(func.__name__)
        return out


@contextmanager
def waits():
    """What would make the host wait, but for asking for a number (``item``, ``bool``) or for a shape that depends on
    numbers: those raise by themselves on this device.
    """
    found = []
    with Copies(found), Literals(found):
        yield found


#: Stands for a table that is never asked.
NO_PAIRS = SimpleNamespace(video_ids=[], crop_size_px=48)


def make_engine(config: PretrainConfig, monkeypatch) -> Engine:
    settings = settle(config)
    plan = make_plan(settings, 64, 1)
    with torch.device("meta"):
        model = build_model(settings.backbone, 0)
    optimiser = build_optimiser(settings.optimiser, parameter_groups([model], 1e-6), plan.peak_lr)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know this device
    # torch's fused update and the copy to the host need a real device.
    monkeypatch.setattr(optimiser, "_step_supports_amp_scaling", True, raising=False)
    monkeypatch.setattr(optimiser, "step", lambda: None)
    monkeypatch.setattr(engine_module, "Readback", lambda values: torch.cat([v.reshape(-1) for v in values.values()]))
    ranks, scaler = Ranks(device="meta"), torch.amp.GradScaler("cpu", enabled=False)
    network = Network(model, model, Precision(config.precision, ""), scaler, MovingAverage(model, 0.9), step=1)
    task = PretrainTask(ranks, RunPlace(Path(), {}, redo=False), settings, plan, NO_PAIRS, Workspace(Path()))
    task.begin(network, Console(quiet=True))
    network.step = 0
    return Engine(ranks, task, network, optimiser, TrainingState({"model": model}, optimiser, scaler))


def stand_in_batch(same_image: bool) -> PairBatch:
    crops = [torch.empty(8, 48, 48, 3, dtype=torch.uint8, device="meta") for _ in range(2)]
    joints = [torch.empty(8, 21, 2, device="meta") for _ in range(2)]
    rows = [torch.empty(8, dtype=torch.int64, device="meta") for _ in range(2)]
    embeddings = [torch.empty(8, 14, device="meta") for _ in range(2)]
    return PairBatch(crops[0], crops[0] if same_image else crops[1], *joints, *rows, 0, *embeddings, repeats=rows[0])


EVERYTHING = {"blur_probability": 0.5, "noise_probability": 0.5, "cutout_probability": 0.5, "grey_probability": 0.5}
CASES = [
    *({"method": method} for method in METHODS),
    *({"loss": {"weights": "nonlinear", "recipe": recipe}} for recipe in ("paper", "official")),
    {"loss": {"false_negative_px": 5.0, "positive_denominator": "one"}},
    {"micro_batch": 4},
    {"optimiser": "adamw", "grad_clip": 1.0, "precision": "bf16"},
    {"views": {**EVERYTHING, "sobel_probability": 0.5}},
]


@pytest.mark.slow
@pytest.mark.parametrize("given", CASES, ids=str)
def test_a_step_makes_the_host_wait_for_nothing(given, monkeypatch):
    views = {"output_px": 32, **given.get("views", {})}
    sizes = {"precision": "fp32", "backbone": "test_resnet", "batch_size": 8}
    config = PretrainConfig(**{**sizes, **given, "views": views})
    engine = make_engine(config, monkeypatch)
    batch = stand_in_batch(METHODS[config.method].positive == "same-image")
    with waits() as found:
        for step in (1, 2):
            assert engine._learn(batch, StopSignals(), save=False).step == step
    assert engine.ahead == 1
    assert found == []


def test_what_waits_is_noticed():
    with waits() as found:
        on_device = torch.empty(3, device="meta")
        torch.tensor([1.0, 2.0]).to("meta")
        on_device.new_tensor(1.0)
        torch.tensor(1.0, device="meta")
        torch.tensor([1.0, 2.0]).to("meta", non_blocking=True)
        assert found == ["_to_copy cpu -> meta", "new_tensor", "tensor"]
        with pytest.raises(RuntimeError, match="meta"):
            bool(on_device.sum() > 0)
        with pytest.raises(Exception, match="nonzero"):
            on_device[on_device > 0]
