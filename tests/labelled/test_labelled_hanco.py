"""HanCo's reader on a miniature set written in the published layout, by hand and by ``simhand synth``."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from simhand_cli.commands.synth import synth
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.readers import hanco
from simhand_cli.labelled.readers.hanco import HanCo
from simhand_cli.synth.config import SynthConfig

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMHAND_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_mini(folder: Path) -> dict[tuple[int, int], np.ndarray]:
    """Three sequences of 2 frames and 2 cameras; 0 and 1 before the green screen; frame 1 of sequence 1 is invalid."""
    world = {}
    for sid in range(3):
        for fid in range(2):
            xyz = RNG.normal(0, 0.04, (21, 3))
            world[sid, fid] = xyz
            cameras = []
            for cam in range(2):
                angle = 0.5 + cam
                turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
                m = np.eye(4)
                m[:3, :3], m[:3, 3] = turn, [0.01 * cam, 0.02, 0.6]
                cameras.append(m.tolist())
                for variant in ("rgb", "rgb_merged") if sid < 2 else ("rgb",):
                    place = folder / variant / f"{sid:04d}" / f"cam{cam}"
                    place.mkdir(parents=True, exist_ok=True)
                    tint = 10 * sid + 100 * cam + (50 if variant == "rgb_merged" else 0)
                    cv2.imwrite(str(place / f"{fid:08d}.jpg"), np.full((64, 64, 3), tint, np.uint8))
            k = [[[100.0, 0, 31.5], [0, 100.0, 31.5], [0, 0, 1]]] * 2
            for kind, content in (("xyz", xyz.tolist()), ("calib", {"M": cameras, "K": k})):
                place = folder / kind / f"{sid:04d}"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{fid:08d}.json").write_text(json.dumps(content))
    meta = {
        "is_train": [[True] * 2, [True] * 2, [False] * 2],
        "subject_id": [[4] * 2, [7] * 2, [7] * 2],
        "is_valid": [[True] * 2, [True, False], [True] * 2],
        "object_id": [[None] * 2] * 3,
        "has_fit": [[True] * 2] * 3,
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return world


def test_every_picture_carries_its_own_cameras_joints(tmp_path: Path) -> None:
    world = write_mini(tmp_path)
    train, test = open_labelled(tmp_path, "train"), open_labelled(tmp_path, "test")
    assert recognise(tmp_path) == "hanco"
    assert (len(train), len(test)) == (3 * 2 * 2, 2 * 2)
    assert set(train.subjects) == {"subject4", "subject7"}
    joints, valid = train.joints()
    assert valid.all()
    for index in range(len(train)):
        sample = train[index]
        variant, sid, cam, fid = sample.sample_id.split("/")
        calib = json.loads((tmp_path / "calib" / sid / f"{fid}.json").read_text())
        m = np.array(calib["M"][int(cam[3:])])
        expected = [m @ [*point, 1.0] for point in world[int(sid), int(fid)]]
        np.testing.assert_allclose(sample.joints_mm, 1000 * np.array(expected)[:, :3], atol=1e-3)
        np.testing.assert_allclose(joints[index], sample.joints_mm, rtol=1e-5)
        assert abs(int(sample.image_rgb[0, 0, 0]) - (10 * int(sid) + 100 * int(cam[3:]) + 50 * (variant != "rgb"))) <= 2
        np.testing.assert_allclose(
            sample.joints_px[3], 100 * sample.joints_mm[3, :2] / sample.joints_mm[3, 2] + 31.5, atol=1e-9
        )
        assert (sample.sequence, sample.camera) == (sid, cam)
    assert len({train[i].sample_id for i in range(len(train))}) == len(train)


def test_missing_pictures_and_labels_are_named(tmp_path: Path) -> None:
    write_mini(tmp_path)
    (tmp_path / "rgb" / "0000" / "cam1" / "00000001.jpg").unlink()
    (tmp_path / "xyz" / "0001" / "00000000.json").unlink()
    train = HanCo(tmp_path, "train")
    assert len(train) == 12 - 1 - 4
    (dropped,) = train.problems()
    assert dropped.count == 5
    assert "rgb/0000/cam1/00000001.jpg" in dropped.what
    assert train.left_out()[0].names == ["rgb/0000/cam1/00000001.jpg", "xyz/0001/00000000.json"]


def test_whole_missing_folders_are_counted(tmp_path: Path) -> None:
    """One entry each, with the pictures that the calibration's cameras took of the valid frames."""
    write_mini(tmp_path)
    shutil.rmtree(tmp_path / "rgb" / "0000" / "cam1")  # 2 frames
    shutil.rmtree(tmp_path / "rgb_merged" / "0000")  # 2 frames, 2 cameras
    train = HanCo(tmp_path, "train")
    (left,) = train.left_out()
    assert (left.names, left.count) == (["rgb/0000/cam1", "rgb_merged/0000"], 2 + 4)
    assert len(train) + left.count == 12
    shutil.rmtree(tmp_path / "rgb_merged")
    assert HanCo(tmp_path, "train").left_out()[0].names == ["rgb/0000/cam1"], "a variant that was not fetched"


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("calib", '{"M": 3}', "expected M and K"),
        ("calib", '{"M": [], "K": []}', "no camera"),
        ("calib", json.dumps({"M": [np.eye(4).tolist()] * 3, "K": [np.eye(3).tolist()]}), "3 M and 1 K, not"),
        ("xyz", "[[1", "cannot be read"),
        ("xyz", "[[1]]", "expected numbers of shape"),
    ],
)
def test_a_damaged_label_file_costs_its_own_samples(tmp_path: Path, kind: str, content: str, said: str) -> None:
    write_mini(tmp_path)
    (tmp_path / kind / "0000" / "00000001.json").write_text(content)
    train = HanCo(tmp_path, "train")
    assert len(train) == 12 - 4
    assert not any(train[k].sample_id.endswith("0000/cam0/00000001") for k in range(len(train)))
    (left,) = train.left_out()
    assert left.count == 4
    assert f"{kind}/0000/00000001.json" in left.names[0]
    assert said in left.names[0]
    for file in (tmp_path / kind).rglob("*.json"):
        file.write_text(content)
    with pytest.raises(InputProblem, match=r"00000000\.json") as raised:
        HanCo(tmp_path, "train")
    assert "\n" not in str(raised.value)


def test_a_nan_is_a_damaged_label(tmp_path: Path) -> None:
    world = write_mini(tmp_path)
    world[0, 1][5, 1] = np.nan
    (tmp_path / "xyz" / "0000" / "00000001.json").write_text(json.dumps(world[0, 1].tolist()))
    joints_mm, valid = HanCo(tmp_path, "train").joints()
    assert valid.all()
    assert (~np.isfinite(joints_mm).all(axis=(1, 2))).sum() == 4


def test_label_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mini(tmp_path)
    read: list[Path] = []
    really = hanco._json_file
    monkeypatch.setattr(hanco, "_json_file", lambda path: read.append(path) or really(path))
    first = HanCo(tmp_path, "train")
    assert len(read) == 2 * 3 + 1, "joints and cameras of three frames, and a look at the number of cameras"
    expected = first.joints()[0]
    first.details(), first[3]
    assert len(read) == 2 * 3 + 1
    read.clear()
    np.testing.assert_array_equal(HanCo(tmp_path, "train").joints()[0], expected)
    assert len(read) == 1
    m = json.loads((tmp_path / "calib" / "0000" / "00000000.json").read_text())
    m["M"][1][2][3] += 0.5
    (tmp_path / "calib" / "0000" / "00000000.json").write_text(json.dumps(m))
    moved = HanCo(tmp_path, "train").joints()[0][:, :, 2] - expected[:, :, 2]
    assert sorted(np.round(moved[:, 0]).tolist()) == [0.0] * 10 + [500.0] * 2


@pytest.mark.parametrize(
    "damage", ["[", '{"is_train": []}', '{"is_train":[[1]],"subject_id":[[1,2]],"is_valid":[[1]]}']
)
def test_a_damaged_meta_file_is_named(tmp_path: Path, damage: str) -> None:
    write_mini(tmp_path)
    (tmp_path / "meta.json").write_text(damage)
    with pytest.raises(InputProblem, match=r"meta\.json"):
        HanCo(tmp_path, "train")


def test_other_splits_are_refused(tmp_path: Path) -> None:
    write_mini(tmp_path)
    with pytest.raises(InputProblem, match="'train' and 'test'"):
        HanCo(tmp_path, "val")


def test_synthetic_sets_in_this_layout_are_read(tmp_path: Path) -> None:
    config = SynthConfig(
        out=tmp_path / "set", format="hanco", count=3, subjects=3, test_fraction=0.34, image_px=64, frames=2,
        cameras=3, workers=1,
    )  # fmt: skip
    synth(config)
    train = open_labelled(tmp_path / "set", "train")
    assert len(train) == 2 * 2 * 3 * 5
    assert not train.problems()
    assert check_labels(train, tmp_path).usable.all()
    sample = train[0]
    assert sample.mask is not None
    inside = np.clip(np.round(sample.joints_px).astype(int), 0, 63)
    assert sample.mask[inside[:, 1], inside[:, 0]].mean() > 0.4
