"""Side, camera, K and 2D joints read without pictures are those of the samples, in every layout."""

import weakref
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import test_labelled_dexycb
import test_labelled_hanco
import test_labelled_jsonl
from mini_freihand import random_hand_mm, write_mini_freihand

from simhand_cli.commands.data import data
from simhand_cli.commands.synth import synth
from simhand_cli.labelled.config import DataConfig
from simhand_cli.labelled.label_details import DetailedSet, label_details, labels_sha256
from simhand_cli.labelled.open import open_labelled, open_splits
from simhand_cli.labelled.sample import NoSuchSplit
from simhand_cli.synth.config import SynthConfig


def write_hand_graph_cnn(folder: Path) -> None:
    rng = np.random.default_rng(1)
    (folder / "images").mkdir()
    for k in range(4):
        cv2.imwrite(str(folder / "images" / f"{k:05d}.jpg"), np.zeros((64 * (k + 1), 64 * (k + 1), 3), np.uint8))
    hands = np.stack([random_hand_mm(rng) for _ in range(4)]) * [-0.1, 0.1, 0.1]
    lens, boxes = rng.uniform(100, 600, (4, 4)), np.tile([100.0, 100.0, 200.0, 200.0], (4, 1))
    np.savez(folder / "labels.npz", frame=np.arange(4), joints_cam_cm=hands, cam_fx_fy_u0_v0=lens, bbox_xywh=boxes)


def write_jsonl(folder: Path) -> None:
    line = test_labelled_jsonl.line
    test_labelled_jsonl.write(
        folder, line(camera="top"), line(hand="right", intrinsics=[[1, 0, 2], [0, 3, 4], [0, 0, 1]])
    )


def write_synth(folder: Path) -> None:
    synth(SynthConfig(out=folder, count=6, subjects=3, image_px=32, seed=4, workers=1))


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "freihand": write_mini_freihand,
    "hanco": test_labelled_hanco.write_mini,
    "dexycb": test_labelled_dexycb.write_mini,
    "hand_graph_cnn": write_hand_graph_cnn,
    "jsonl": write_jsonl,
    "synth": write_synth,
}


@pytest.fixture(autouse=True)
def small_and_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six sequences are a whole person of the miniature DexYCB; label caches are the test's own."""
    monkeypatch.setattr("simhand_cli.labelled.readers.dexycb_frames._SEQUENCES", 6)
    monkeypatch.setenv("SIMHAND_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_details_are_those_of_the_samples(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    for _, labelled in open_splits(tmp_path):
        assert isinstance(labelled, DetailedSet)
        details = label_details(labelled)
        assert details.samples.tolist() == list(range(len(labelled)))
        for k in range(0, len(labelled), max(1, len(labelled) // 20)):
            sample = labelled[k]
            assert (sample.hand == "right") == details.right[k]
            assert sample.camera == details.cameras[k]
            np.testing.assert_allclose(details.intrinsics[k], sample.intrinsics)
            if layout == "synth":
                np.testing.assert_allclose(details.stated_px[k], sample.joints_px)
                assert details.size_px[k].tolist() == [32, 32]


def test_a_damaged_crop_leaves_the_others_details(tmp_path: Path) -> None:
    write_hand_graph_cnn(tmp_path)
    (tmp_path / "images" / "00001.jpg").write_bytes(b"no picture")
    labelled = open_labelled(tmp_path, "test")
    np.testing.assert_allclose(label_details(labelled).intrinsics[3], labelled[3].intrinsics)


def test_dexycbs_own_2d_joints_are_read(tmp_path: Path) -> None:
    test_labelled_dexycb.write_mini(tmp_path)
    labelled = open_labelled(tmp_path, "test")
    assert np.isnan(label_details(labelled).stated_px).all()
    subject, sequence, serial, frame = labelled[3].sample_id.split("/")
    file = tmp_path / subject / sequence / serial / f"labels_{frame}.npz"
    pixels = np.random.default_rng(0).uniform(0, 64, (1, 21, 2))
    pixels[0, 5] = -1
    np.savez(file, joint_2d=pixels, joint_3d=np.load(file)["joint_3d"])
    stated = label_details(open_labelled(tmp_path, "test")).stated_px
    assert np.isnan(stated[3, 5]).all()
    np.testing.assert_allclose(np.delete(stated[3], 5, axis=0), np.delete(pixels[0], 5, axis=0), rtol=1e-6)
    assert np.isnan(stated[2]).all()


@pytest.mark.parametrize(("layout", "splits"), [
    ("freihand", ["train", "test"]), ("hanco", ["train", "test"]), ("dexycb", ["train", "val", "test"]),
    ("hand_graph_cnn", ["test"]), ("jsonl", ["train"]), ("synth", ["train", "test"]),
])  # fmt: skip
def test_the_splits_that_are_there_are_found(layout: str, splits: list[str], tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    assert [split for split, _ in open_splits(tmp_path)] == splits
    with pytest.raises(NoSuchSplit):
        open_labelled(tmp_path, "nosuch")


def test_splits_are_opened_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A split that was let go of is gone before the next one is read."""
    write_mini_freihand(tmp_path)
    opened: list[weakref.ref[object]] = []

    def watched(path: Path, split: str) -> object:
        assert [one() for one in opened] == [None] * len(opened)
        labelled = open_labelled(path, split)
        opened.append(weakref.ref(labelled))
        return labelled

    monkeypatch.setattr("simhand_cli.labelled.open.open_labelled", watched)
    for _, one in open_splits(tmp_path):
        assert len(one) > 0
        del one
    assert len(opened) == 2
    opened.clear()
    data(DataConfig(action="check", path=tmp_path, workspace=tmp_path / "ws"))
    assert len(opened) == 2


def test_freihands_pictures_are_of_the_size_of_the_first_readable_one(tmp_path: Path) -> None:
    write_mini_freihand(tmp_path)
    (tmp_path / "training" / "rgb" / "00000000.jpg").write_bytes(b"no picture")
    assert (label_details(open_labelled(tmp_path, "train")).size_px == 224).all()


def test_the_digest_tells_every_label_from_another(tmp_path: Path) -> None:
    moved = [[1, 0, 2], [0, 3, 5], [0, 0, 1]]
    joints = test_labelled_jsonl.JOINTS.tolist()
    changes = [
        {}, {"hand": "right"}, {"subject": "ann"}, {"sequence": "ann"}, {"intrinsics": moved},
        {"joints_mm": [*joints[:20], None]}, {"joints_mm": [[0.0, 1.0, 2.0], *joints[1:]]},
    ]  # fmt: skip
    found = []
    for k, change in enumerate(changes):
        folder = tmp_path / str(k)
        folder.mkdir()
        line = test_labelled_jsonl.line
        test_labelled_jsonl.write(folder, line(), line(**change))
        found.append(labels_sha256(open_labelled(folder)))
        assert labels_sha256(open_labelled(folder)) == found[-1]
    assert len(set(found)) == len(changes)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    test_labelled_jsonl.write(folder, line(camera="top"), line())
    assert labels_sha256(open_labelled(folder)) == found[0], "the place and the camera's name do not count"
