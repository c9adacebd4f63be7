"""``simhand embed``: features equal a forward pass, ids say whose they are, a killed run ends in the same files."""

import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from synthetic_workspace import make_workspace

from simhand_cli.commands.embed import embed
from simhand_cli.crops.crop_set import read_crops
from simhand_cli.embed import file as embedding_file
from simhand_cli.embed import write as embed_run
from simhand_cli.embed.config import EmbedConfig
from simhand_cli.embed.file import join_parts, write_part
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample_crop import crop_sample
from simhand_cli.models.encoder import IMAGENET_MEAN, IMAGENET_STD, build_encoder, save_backbone
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.training.state.checkpoint import save_checkpoint
from simhand_cli.workspace.paths import BACKBONE_FILE


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
    for number in (2, 5):
        (broken / f"test-x-{number}.jpg").write_bytes(b"no picture")
    summary = embed(config(trained[0], data=[broken], split="test"))
    assert summary.problems == 2
    (dropped,) = summary.dropped
    assert (dropped.what, dropped.count) == ("pictures of jsonl/test", 2)
    assert dropped.why.startswith("cannot be read, first: ")
    assert "test-x-2.jpg" in dropped.why
    with h5py.File(summary.outputs["features.h5"]) as file:
        assert file["sample_index"][:].tolist() == [n for n in range(16) if n not in (2, 5)]


def test_pictures_that_could_not_be_read_are_tried_again(trained, people_set, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_run, "PART_ROWS", 5)
    options = {"data": [tmp_path / "set"], "split": "test", "encoder": str(trained[0])}
    shutil.copytree(people_set, tmp_path / "set")
    whole = embed(config(trained[0], workspace=tmp_path / "whole", **options)).outputs["features.h5"]
    again = config(trained[0], workspace=tmp_path / "again", **options)
    pictures = sorted((tmp_path / "set").glob("test-*.jpg"))
    contents = {picture: picture.read_bytes() for picture in pictures}
    for picture in pictures:
        picture.write_bytes(b"")
    with pytest.raises(InputProblem, match="no picture of jsonl/test could be read"):
        embed(again)
    for picture, content in contents.items():
        picture.write_bytes(content if picture.name != "test-x-6.jpg" else b"")
    real = embed_run.join_parts

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(embed_run, "join_parts", dies)
    with pytest.raises(KeyboardInterrupt):
        embed(again)
    assert embed(again.model_copy(update={"dry_run": True})).facts["state"] == "resume"
    (tmp_path / "set" / "test-x-6.jpg").write_bytes(contents[tmp_path / "set" / "test-x-6.jpg"])
    monkeypatch.setattr(embed_run, "join_parts", real)
    summary = embed(again)
    assert summary.dropped == []
    assert summary.outputs["features.h5"].read_bytes() == whole.read_bytes()
    # Killed between its last word and its clearing up, a run leaves parts that the next call removes.
    left = summary.outputs["features.h5"].parent / "parts"
    left.mkdir()
    (left / "part-000000.h5").write_bytes(b"left over")
    embed(again)
    assert not left.exists()


def test_a_head_that_comes_or_goes_is_another_run(trained, people_set, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "pretrain-tiny"
    shutil.copytree(trained[0], run)
    monkeypatch.setattr(embed_run, "PART_ROWS", 5)
    real, written = embed_run.write_part, []

    def dies(path, *rest):
        if written:
            raise KeyboardInterrupt
        real(path, *rest)
        written.append(path)

    monkeypatch.setattr(embed_run, "write_part", dies)
    with pytest.raises(KeyboardInterrupt):
        embed(config(run, data=[people_set]))
    monkeypatch.setattr(embed_run, "write_part", real)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UsageProblem, match=r"made with other data or another model.*--redo"):
        embed(config(run, data=[people_set]))
    assert embed(config(run, data=[people_set], redo=True)).facts["projection head"] == "none"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h5", "safetensors"])
def test_the_dry_run_says_about_how_much_disk_is_needed(trained, people_set, tmp_path, kind):
    options = {"data": [people_set] * 12, "split": "train", "format": kind, "name": f"size-{kind}"}
    dry = embed(config(trained[0], dry_run=True, **options))
    number, unit, rest = dry.facts["disk space"].split(maxsplit=2)
    assert rest.startswith("twice" if kind == "h5" else "three times")
    written = sum(path.stat().st_size for path in embed(config(trained[0], **options)).outputs.values())
    assert float(number) * {"kB,": 1e3, "MB,": 1e6}[unit] == pytest.approx(
        written, rel=0.1 if kind == "h5" else 0.4
    )  # JSON is shorter


def test_joining_needs_no_second_copy_of_the_features(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    tables = [{"features": rng.random((n, 300), np.float32)} for n in (40, 0, 25)]
    parts = [tmp_path / f"part-{n}.h5" for n in range(3)]
    for path, one in zip(parts, tables, strict=True):
        count = len(one["features"])
        write_part(path, one if count else {}, [{"hand": f"é{n}", "row": n} for n in range(count)], [])
    folder, seen = tmp_path / "run", []
    real = embedding_file.open_h5

    def watched(*arguments):
        seen.append(sum(file.stat().st_size for file in folder.glob("*")))
        return real(*arguments)

    monkeypatch.setattr(embedding_file, "open_h5", watched)
    assert join_parts(parts, folder, "h5", {"about": "x"}) == 65
    (final,) = folder.iterdir()
    assert max(seen) <= final.stat().st_size
    with h5py.File(final) as file:
        np.testing.assert_array_equal(file["features"][:], np.concatenate([one["features"] for one in tables]))
        assert file["hand"].asstr()[:].tolist() == [f"é{n}" for n in (*range(40), *range(25))]
        assert file["row"][:].tolist() == [*range(40), *range(25)]


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
    assert summary.facts["features per picture"] == encoder.num_features
    assert summary.facts["projections per picture"] == 8
    assert not (run.parent / "embed-dry").exists()
    with pytest.raises(InputProblem, match="no finished pre-training run"):
        embed(config(run, workspace=tmp_path, encoder="latest", data=[people_set]))
    with pytest.raises(EnvironmentProblem, match="--encoder nowhere"):
        embed(config(run, encoder="nowhere", data=[people_set]))
    with pytest.raises(InputProblem, match="simhand ingest"):
        embed(config(run, workspace=tmp_path, encoder=str(run)))
    with pytest.raises(InputProblem, match="split 'val' is empty"):
        embed(config(run, data=[people_set], split="val"))
