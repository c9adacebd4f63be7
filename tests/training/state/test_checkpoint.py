"""Checkpoints: only complete ones count, damaged ones are named, everything comes back exactly."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from simhand_cli.errors import InputProblem
from simhand_cli.models.weight_file import write_weights
from simhand_cli.stages.checkpoint_folders import checkpoint_folders, latest_complete
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.state.checkpoint import load_checkpoint, save_checkpoint
from simhand_cli.training.state.training_state import TrainingState
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups


def steps_of(run_dir):
    return [int(p.name.removeprefix("step-")) for p in checkpoint_folders(run_dir)]


def test_tensors_of_every_kind_come_back_bit_equal(tmp_path):
    shared = torch.randn(4, 4)
    tensors = {
        "plain": torch.tensor([1e-40, float("inf"), -0.0, float("nan")]),
        "double": torch.randn(3, dtype=torch.float64),
        "scalar": torch.tensor(7),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "half": torch.randn(2).bfloat16(),
        "transposed": torch.randn(3, 5).t(),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "shared": shared,
        "view": shared[1:],
    }
    values = {"epoch": 0.1 + 0.2, "names": ["a", None], "big": 2**60}
    folder = save_checkpoint(tmp_path, 12, tensors, values)
    loaded, state = load_checkpoint(folder)
    assert state == {**values, "step": 12}
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_keeps_the_newest_and_sorts_by_number(tmp_path):
    for step in (5, 40, 300):
        save_checkpoint(tmp_path, step, {"x": torch.zeros(1)}, {}, keep=2)
    assert steps_of(tmp_path) == [40, 300]
    assert latest_complete(tmp_path).name == "step-00000300"


def test_half_written_checkpoints_never_count(tmp_path):
    good = save_checkpoint(tmp_path, 10, {"x": torch.ones(100)}, {})
    folder = good.parent
    (folder / "step-00000020.part").mkdir()
    (folder / "step-00000020.part" / "state.json").write_text((good / "state.json").read_text())
    (folder / "step-00000030").mkdir()
    (folder / "step-00000040").mkdir()
    (folder / "step-00000040" / "state.json").write_text((good / "state.json").read_text())
    (folder / "step-00000040" / "tensors.safetensors").write_bytes(b"cut off")
    (folder / "step-00000050").write_text("a file")
    assert latest_complete(tmp_path) == good
    save_checkpoint(tmp_path, 40, {"x": torch.ones(100)}, {})
    assert steps_of(tmp_path) == [10, 40]
    assert not list(folder.glob("*.part"))


def test_no_run_has_no_checkpoint(tmp_path):
    assert latest_complete(tmp_path / "absent") is None


def test_killed_within_a_write_leaves_the_previous_one(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 10, {"x": torch.zeros(1)}, {})

    def cut_off(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.rename", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 20, {"x": torch.ones(1)}, {})
    monkeypatch.undo()
    assert steps_of(tmp_path) == [10]
    save_checkpoint(tmp_path, 20, {"x": torch.ones(1)}, {})
    assert load_checkpoint(latest_complete(tmp_path))[0]["x"].item() == 1


def test_damage_is_named_in_one_line(tmp_path):
    folder = save_checkpoint(tmp_path, 10, {"x": torch.zeros(1000)}, {})
    content = bytearray((folder / "tensors.safetensors").read_bytes())
    content[:8] = b"\xff" * 8
    (folder / "tensors.safetensors").write_bytes(bytes(content))
    with pytest.raises(InputProblem, match="step-00000010 is damaged"):
        load_checkpoint(folder)
    document = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**document, "schema_version": 99}))
    save_checkpoint(tmp_path, 11, {"x": torch.zeros(1)}, {})
    newer = save_checkpoint(tmp_path, 12, {"x": torch.zeros(1)}, {})
    document = json.loads((newer / "state.json").read_text())
    (newer / "state.json").write_text(json.dumps({**document, "schema_version": 99}))
    with pytest.raises(InputProblem, match="another version"):
        load_checkpoint(newer)


@pytest.mark.parametrize("name", ["adam", "adamw", "lars", "adam-lars"])
def test_training_state_goes_on_exactly(tmp_path, name):
    """Weights, optimiser moments and all three random generators go on as if never stopped."""

    def build():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        optimiser = build_optimiser(name, parameter_groups([model], 1e-2), lr=0.01)
        return model, TrainingState({"model": model}, optimiser, torch.amp.GradScaler("cpu", enabled=False))

    def step(model, state):
        drawn = random.gauss(0, 1) + np.random.normal()  # noqa: NPY002
        loss = model(torch.randn(16, 6) + drawn).square().mean()
        state.optimiser.zero_grad()
        loss.backward()
        state.optimiser.step()
        return loss.item()

    model, state = build()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    for _ in range(3):
        step(model, state)
    state.save(tmp_path, 3, Ranks(), {"epoch": 0.5})
    expected = [step(model, state) for _ in range(4)]

    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    other, restored = build()
    for _ in range(7):
        step(other, restored)
    assert restored.load(latest_complete(tmp_path), Ranks()) == {"epoch": 0.5, "step": 3}
    assert [step(other, restored) for _ in range(4)] == expected
    for mine, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    def state_of(model):
        optimiser = build_optimiser("adam", parameter_groups([model], 0), lr=0.1)
        return TrainingState({"model": model}, optimiser, torch.amp.GradScaler("cpu", enabled=False))

    state_of(nn.Linear(2, 3)).save(tmp_path, 1, Ranks(), {})
    with pytest.raises(InputProblem, match="does not fit this model"):
        state_of(nn.Linear(2, 4)).load(latest_complete(tmp_path), Ranks())


def test_weight_files_are_the_same_bytes_each_time(tmp_path):
    tensors = {"b": torch.randn(3, 2).t(), "a": torch.arange(4)}
    metadata = {f"key{n}": "wörth" if n else "first" for n in (3, 0, 2, 1, 4, 5)}
    files = [tmp_path / f"{n}.safetensors" for n in range(4)]
    for file in files:
        write_weights(file, tensors, metadata)
    assert len({file.read_bytes() for file in files}) == 1
    with safe_open(files[0], framework="pt") as opened:
        assert opened.metadata() == metadata
        assert all(torch.equal(opened.get_tensor(name), tensor) for name, tensor in tensors.items())
