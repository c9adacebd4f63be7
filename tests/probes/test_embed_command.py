"""``simhand embed``: features equal a forward pass, ids say whose they are, a killed run ends in the same files."""

import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from synthetic_workspace import make_workspace

from simhand_cli.commands.embed import EmbedConfig, embed
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.finetune.sample_crop import crop_sample
from simhand_cli.labelled.open import open_labelled
from simhand_cli.models.encoder import BACKBONE_FILE, IMAGENET_MEAN, IMAGENET_STD, build_encoder, save_backbone
from simhand_cli.models.projection import ProjectionHead
from simhand_cli.probes import embed_run
from simhand_cli.training.checkpoint import save_checkpoint
from simhand_cli.workspace.crop_set import read_crops


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished pre-training run, its encoder and its head."""
    torch.manual_seed(3)
    encoder, head = build_encoder("test_resnet"), ProjectionHead(build_encoder("test_resnet").num_features, 16, 8)
    run = tmp_path_factory.mktemp("work") / "runs" / "pretrain-tiny"
    save_backbone(encoder, run / BACKBONE_FILE, 64)
    tensors = {f"module.model.projection.{name}": tensor for name, tensor in head.state_dict().items()}
    save_checkpoint(run, 5, tensors, {})
    (run / "result.json").write_text(json.dumps({"steps": 5}))
    return run, encoder.eval(), head.eval()


def config(run, **options):
    values = {"workspace": run.parents[1], "encoder": "tiny", "input_px": 64, "batch_size": 3, "device": "cpu"}
    return EmbedConfig(**{**values, **options})


def forward(encoder, pictures):
    """Features by hand, one picture at a time."""
    found = []
    for picture in pictures:
        image = (picture.astype(np.float32) / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        with torch.inference_mode():
            found.append(encoder(torch.from_numpy(image).permute(2, 0, 1)[None]))
    return torch.cat(found)


def test_features_of_a_labelled_set_equal_a_forward_pass(trained, people_set):
    run, encoder, head = trained
    summary = embed(config(run, data=[people_set], split="test"))
    labelled = open_labelled(people_set, "test")
    expected = forward(encoder, [crop_sample(labelled[i], 64).image_rgb for i in range(len(labelled))])
    with h5py.File(summary.outputs["features.h5"]) as file:
        assert file["features"].dtype == np.float32
        np.testing.assert_allclose(file["features"][:], expected.numpy(), atol=1e-5)
        with torch.inference_mode():
            np.testing.assert_allclose(file["projections"][:], head(expected).numpy(), atol=1e-4)
        assert file["sample_index"][:].tolist() == list(range(16))
        assert file["subject"].asstr()[:].tolist() == list(labelled.subjects)
        assert file["hand"].asstr()[1] == "left"
        assert (file.attrs["schema"], file.attrs["schema_version"]) == ("simhand.features", 1)
    assert summary.facts["projection head"].startswith("found")
    assert not list(summary.outputs["features.h5"].parent.glob("*.part"))
    assert not (summary.outputs["features.h5"].parent / "parts").exists()


def test_crops_of_a_workspace_are_framed_by_their_keypoints(trained, tmp_path):
    run, encoder, _ = trained
    workspace = make_workspace(tmp_path / "ws", [4, 3])
    summary = embed(config(run, workspace=workspace.root, encoder=str(run), format="safetensors", name="crops"))
    tensors = load_file(summary.outputs["features.safetensors"])
    document = json.loads(summary.outputs["features.json"].read_text())
    ids = document["ids"]
    assert ids["video_id"] == [f"{1:016x}"] * 4 + [f"{2:016x}"] * 3
    assert ids["crop_index"] == ids["frame_index"] == [0, 1, 2, 3, 0, 1, 2]
    assert set(ids["hand"]) == {"left", "right"}
    with h5py.File(workspace.keypoints_shard(f"{2:016x}")) as file:
        points = file["keypoints_px"][1].astype(float)
    # The square of 1.6 times the joints' extent around the middle of their box, at 64 px: by plain sampling.
    low, high = points.min(axis=0), points.max(axis=0)
    side, stored = (high - low).max() * 1.6, read_crops(workspace, f"{2:016x}", [1])[0]
    places = ((np.arange(64) + 0.5) / 64 - 0.5) * side
    x, y = (np.clip(np.round((low + high)[a] / 2 + places).astype(int), 0, 223) for a in (0, 1))
    expected = forward(encoder, [stored[np.ix_(y, x)]])[0].numpy()
    found = tensors["features"][5]
    assert tensors["features"].shape == (7, encoder.num_features)
    assert np.corrcoef(found, expected)[0, 1] > 0.95
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.98


def test_killed_anywhere_and_run_again_the_files_are_the_same(trained, people_set, tmp_path, monkeypatch):
    run, _, _ = trained
    monkeypatch.setattr(embed_run, "PART_ROWS", 5)
    options = {"data": [people_set], "split": "train", "encoder": str(run)}
    whole = embed(config(run, workspace=tmp_path / "whole", **options)).outputs["features.h5"]
    written = []
    real = embed_run.write_part

    def dies(path, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        real(path, *rest)
        written.append(path.name)

    monkeypatch.setattr(embed_run, "write_part", dies)
    with pytest.raises(KeyboardInterrupt):
        embed(config(run, workspace=tmp_path / "killed", **options))
    monkeypatch.setattr(embed_run, "write_part", lambda path, *rest: (written.append(path.name), real(path, *rest)))
    again = embed(config(run, workspace=tmp_path / "killed", **options)).outputs["features.h5"]
    assert written == [f"part-{n:06d}.h5" for n in range(7)]  # none twice
    assert again.read_bytes() == whole.read_bytes()
    before = again.stat().st_mtime_ns
    assert embed(config(run, workspace=tmp_path / "killed", **options)).facts["pictures"] == "32 jsonl/train"
    assert again.stat().st_mtime_ns == before
    with pytest.raises(UsageProblem, match="--redo"):
        embed(config(run, workspace=tmp_path / "killed", **{**options, "limit": 4}))


def test_unreadable_pictures_are_named_and_left_out(trained, people_set, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(people_set, broken)
    (broken / "test-x-2.jpg").write_bytes(b"no picture")
    summary = embed(config(trained[0], data=[broken], split="test"))
    assert summary.problems == 1
    assert "test-x-2.jpg" in summary.dropped[0].what
    with h5py.File(summary.outputs["features.h5"]) as file:
        assert file["sample_index"][:].tolist() == [n for n in range(16) if n != 2]


def test_random_weights_need_no_run_and_follow_from_the_seed(people_set, tmp_path):
    def features(name, seed):
        options = {"encoder": "random", "backbone": "test_resnet", "data": [people_set], "limit": 3, "input_px": 64}
        state = torch.random.get_rng_state()
        summary = embed(EmbedConfig(workspace=tmp_path, name=name, seed=seed, device="cpu", **options))
        assert torch.equal(state, torch.random.get_rng_state())
        with h5py.File(summary.outputs["features.h5"]) as file:
            assert "projections" not in file
            return file["features"][:]

    first = features("a", 1)
    np.testing.assert_array_equal(first, features("b", 1))
    assert np.abs(first - features("c", 2)).max() > 1e-3


def test_a_head_of_another_step_is_not_taken(trained, people_set, tmp_path):
    run = tmp_path / "runs" / "pretrain-tiny"
    shutil.copytree(trained[0], run)
    (run / "result.json").write_text(json.dumps({"steps": 6}))
    assert embed(config(run, data=[people_set], limit=2)).facts["projection head"] == "none"


def test_dry_run_and_bad_input(trained, people_set, tmp_path):
    run, encoder, _ = trained
    summary = embed(config(run, data=[people_set], name="dry", dry_run=True))
    assert summary.facts["state"] == "new"
    assert summary.facts["numbers per picture"] == encoder.num_features
    assert not (run.parent / "embed-dry").exists()
    with pytest.raises(InputProblem, match="no finished pre-training run"):
        embed(config(run, workspace=tmp_path, encoder="latest", data=[people_set]))
    with pytest.raises(EnvironmentProblem, match="--encoder nowhere"):
        embed(config(run, encoder="nowhere", data=[people_set]))
    with pytest.raises(InputProblem, match="simhand ingest"):
        embed(config(run, workspace=tmp_path, encoder=str(run)))
    with pytest.raises(InputProblem, match="split 'val' is empty"):
        embed(config(run, data=[people_set], split="val"))
