"""Decoding on the GPU: the same crops as by the loader, chosen only where it is right and faster.

torchvision's decoder on the CPU stands in for the GPU's, to which the same call goes.
"""

import json

import cv2
import h5py
import numpy as np
import pytest
import torch
from tiny_workspace import CROP_PX, TINY, make_workspace

from simhand_cli.commands.pretrain import pretrain
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.pretrain import task
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.pairs import decoding, pair_loader
from simhand_cli.pretrain.pairs.decoding import Decoding, choose_decoding, faster, measure_decoders
from simhand_cli.pretrain.pairs.epoch_order import Request, StepBatches
from simhand_cli.pretrain.pairs.pair_batch import EncodedBatch, Jpegs
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset, load_pair_table
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.workspace.paths import Workspace

GPU = Ranks(device="cuda:0")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(make_workspace(tmp_path_factory.mktemp("data") / "ws"))


def datasets(workspace, kind="mined"):
    table = load_pair_table(workspace, kind)
    return (PairDataset(table, workspace.crops_dir, 3, encoded=encoded) for encoded in (False, True))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("kind", "fetched"), [("mined", 7), ("same-image", 7), ("mined", 2), ("same-image", 2)])
def test_encoded_batches_become_the_batches_of_the_loader(workspace, kind, fetched, workers, monkeypatch):
    monkeypatch.setattr(pair_loader, "FETCHED_PAIRS", fetched)
    plain, encoded = datasets(workspace, kind)
    steps = StepBatches(len(plain), 7, 5, seed=3)
    fetched = [list(pair_batches(dataset, steps, Ranks(), workers)) for dataset in (plain, encoded)]
    for ours, theirs in zip(*fetched, strict=True):
        assert ours.epoch == theirs.epoch
        for name in ("rows1", "rows2", "keypoints1_px", "keypoints2_px"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=0, atol=0)
        for name in ("crops1", "crops2"):
            ours_px, theirs_px = getattr(ours, name), getattr(theirs, name)
            assert ours_px.shape == theirs_px.shape == (7, CROP_PX, CROP_PX, 3)
            assert ours_px.dtype == theirs_px.dtype == torch.uint8
            assert (ours_px.int() - theirs_px.int()).abs().float().mean() < 1
        assert (theirs.crops2 is theirs.crops1) == (kind == "same-image")


def test_files_are_those_of_the_shards(workspace):
    _, encoded = datasets(workspace)
    batch = encoded.__getitems__(Request(0, np.array([11, 0])))
    assert isinstance(batch, EncodedBatch)
    for file, (video, crop) in zip(batch.jpegs1.files(), [(1, 1), (0, 0)], strict=True):
        with h5py.File(workspace.crops_shard(f"{video:016x}")) as shard:
            start, end = shard["jpeg_offsets"][crop : crop + 2]
            np.testing.assert_array_equal(file.numpy(), shard["jpeg"][start:end])


def jpegs_of(*images):
    files = [cv2.imencode(".jpg", image)[1].reshape(-1) for image in images]
    return Jpegs.joined(files, np.arange(len(files)) + 40, 16)


def test_what_only_the_gpu_refuses_is_decoded_on_the_cpu(monkeypatch):
    jpegs = jpegs_of(np.full((16, 16, 3), 90, np.uint8))

    def refuse(self, device):
        raise RuntimeError("unsupported")

    monkeypatch.setattr(Jpegs, "by_gpu", refuse)
    torch.testing.assert_close(jpegs.decoded("cpu"), jpegs.by_cpu(), rtol=0, atol=0)

    def exhausted(self, device):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(Jpegs, "by_gpu", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        jpegs.decoded("cpu")


@pytest.mark.parametrize("damage", ["bytes", "size"])
def test_a_damaged_crop_is_named(damage):
    good = np.full((16, 16, 3), 90, np.uint8)
    jpegs = jpegs_of(good, good if damage == "bytes" else np.full((8, 8, 3), 90, np.uint8))
    if damage == "bytes":
        jpegs.content[int(jpegs.lengths[0]) :] = 7
    with pytest.raises(InputProblem, match=r"row 41 of mining/embeddings\.h5 is damaged"):
        jpegs.decoded("cpu")


def test_rates_decide():
    # one core 1,000 and the GPU 20,000 crops a second; steps use up 5,000
    assert faster(1000, 20_000, 5000, workers=8).startswith("workers|")  # the loader keeps up: 5,000 against 4,000
    assert faster(1000, 20_000, 5000, workers=2).startswith("gpu|")  # 2,000 against 4,000
    assert faster(1000, 20_000, 5000, workers=0).startswith("gpu|")  # 833 against 4,000
    assert faster(1000, 900, 5000, workers=0).startswith("workers|")
    assert "2000 crops a second with the loader decoding, 4000 with the GPU" in faster(1000, 20_000, 5000, workers=2)


def test_both_decoders_are_measured_and_compared(workspace, monkeypatch):
    _, encoded = datasets(workspace)
    jpegs = encoded.files_of(20)
    assert len(jpegs.lengths) == 20
    fault, cpu_per_s, gpu_per_s = measure_decoders(jpegs, "cpu")
    assert fault == ""
    assert cpu_per_s > 0
    assert gpu_per_s > 0
    monkeypatch.setattr(Jpegs, "by_gpu", lambda self, device: self.by_cpu().flip(3))  # red and blue swapped
    assert "levels off the CPU's" in measure_decoders(jpegs, "cpu")[0]


def chosen(requested, ranks=GPU, earlier=None, workers=1, step_per_s=5000.0):
    return choose_decoding(requested, ranks, workers, lambda: "files", lambda: step_per_s, earlier)


def test_choice_on_a_gpu(monkeypatch):
    monkeypatch.setattr(decoding, "measure_decoders", lambda jpegs, device: ("", 1000.0, 20_000.0))
    assert chosen("auto").name == "gpu"
    assert chosen("auto", workers=16).name == "workers"
    assert chosen("auto", workers=16, earlier="gpu") == Decoding("gpu", "kept from the start of this run")
    assert chosen("workers") == Decoding("workers", "asked for")
    assert chosen("gpu", workers=16) == Decoding("gpu", "asked for")
    monkeypatch.setattr(decoding, "measure_decoders", lambda jpegs, device: ("this machine cannot (no nvJPEG)", 0, 0))
    assert chosen("auto") == Decoding("workers", "this machine cannot (no nvJPEG)")
    with pytest.raises(EnvironmentProblem, match=r"--decode gpu: this machine cannot .*; use --decode workers"):
        chosen("gpu")


def test_without_a_gpu_there_is_no_choice(workspace):
    assert chosen("auto", ranks=Ranks()) == Decoding("workers", "there is no GPU")
    config = PretrainConfig(workspace=workspace.root, name="none", decode="gpu", **TINY)
    with pytest.raises(EnvironmentProblem, match="--decode gpu needs a GPU"):
        pretrain(config)
    assert not workspace.run_dir("pretrain", "none").exists()


def test_a_decoder_that_is_missing_is_a_fault(workspace, monkeypatch):
    def missing(self, device):
        raise RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support\nat line 3")

    monkeypatch.setattr(Jpegs, "by_gpu", missing)
    _, encoded = datasets(workspace)
    fault, *_ = measure_decoders(encoded.files_of(4), "cpu")
    assert fault == "this machine cannot (decode_jpegs_cuda: torchvision not compiled with nvJPEG support)"


@pytest.mark.slow
def test_a_run_decodes_where_it_was_decided(tmp_path, monkeypatch):
    root = make_workspace(tmp_path / "ws")
    config = PretrainConfig(workspace=root, name="device", **TINY)
    monkeypatch.setattr(task, "choose_decoding", lambda *_: Decoding("gpu", "for this test"))
    decoded = []
    monkeypatch.setattr(Jpegs, "by_gpu", lambda self, device: decoded.append(device) or self.by_cpu())
    pretrain(config)
    steps = (28 // 8) * 2
    assert decoded == ["cpu"] * (2 * steps)
    environment = json.loads((root / "runs" / "pretrain-device" / "environment.json").read_text())
    assert environment["decoding"] == {"name": "gpu", "reason": "for this test"}
    monkeypatch.undo()
    pretrain(config.model_copy(update={"name": "loader"}))
    written = [
        (root / "runs" / f"pretrain-{name}" / "backbone.safetensors").read_bytes() for name in ("device", "loader")
    ]
    assert written[0] == written[1]  # the same pixels, so the same weights


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nvjpeg_gives_nearly_the_pixels_of_the_cpu(workspace):
    _, encoded = datasets(workspace)
    jpegs = encoded.files_of(20)
    fault, _, gpu_per_s = measure_decoders(jpegs, "cuda:0")
    assert fault == ""
    assert gpu_per_s > 0
