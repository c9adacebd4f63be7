"""DexYCB's reader on a miniature set written in the published layout."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from simhand_cli.errors import InputProblem
from simhand_cli.labelled import dexycb
from simhand_cli.labelled.dexycb import SERIALS, SUBJECTS, DexYcb, official_part
from simhand_cli.labelled.open import open_labelled, recognise


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not there yet."""
    folder = tmp_path_factory.mktemp("cache") / "simhand"
    monkeypatch.setenv("SIMHAND_CACHE", str(folder))
    return folder


def write_mini(folder: Path) -> None:
    """Three people, six sequences of two frames, all cameras; the last frame of each first camera shows no hand."""
    rng = np.random.default_rng(0)
    for person in (0, 1, 7):
        for index in range(6):
            sequence = folder / SUBJECTS[person] / f"20200709_1400{index:02d}"
            side = "left" if index == 1 else "right"
            for camera, serial in enumerate(SERIALS):
                place = sequence / serial
                place.mkdir(parents=True)
                for frame in range(2):
                    joints = rng.normal(0, 0.03, (1, 21, 3)) + np.array([0, 0, 0.7])
                    joints[0, 0] = [0.01 * person, 0.01 * index, 0.7 + 0.01 * camera]
                    if camera == 0 and frame == 1:
                        joints[:] = -1
                    np.savez_compressed(
                        place / f"labels_{frame:06d}.npz", joint_3d=joints.astype(np.float32), seg=np.zeros((4, 4))
                    )
                    cv2.imwrite(str(place / f"color_{frame:06d}.jpg"), np.full((48, 64, 3), 30 * camera, np.uint8))
            meta = {"num_frames": 2, "mano_sides": [side], "ycb_ids": [1], "mano_calib": ["x"]}
            (sequence / "meta.yml").write_text(yaml.safe_dump(meta))
    intrinsics = folder / "calibration" / "intrinsics"
    intrinsics.mkdir(parents=True)
    for camera, serial in enumerate(SERIALS):
        content = {"color": {"fx": 600.0 + camera, "fy": 601.0, "ppx": 31.0, "ppy": 23.5}}
        (intrinsics / f"{serial}_640x480.yml").write_text(yaml.safe_dump(content))


def test_samples_carry_the_labels_of_their_own_picture(tmp_path: Path) -> None:
    write_mini(tmp_path)
    assert recognise(tmp_path) == "dexycb"
    train, test = open_labelled(tmp_path, "train"), open_labelled(tmp_path, "test")
    # s0: every fifth sequence is held out, of people 2-9 for test; 15 of 16 pictures of a sequence show a hand.
    assert (len(train), len(test)) == (3 * 5 * 15, 1 * 15)
    assert set(test.subjects) == {SUBJECTS[7]}
    for index in range(0, len(train), 7):
        sample = train[index]
        subject, sequence, serial, _ = sample.sample_id.split("/")
        camera = SERIALS.index(serial)
        expected = np.array([10.0 * SUBJECTS.index(subject), 10.0 * int(sequence[-2:]), 700.0 + 10 * camera])
        np.testing.assert_allclose(sample.joints_mm[0], expected, rtol=1e-5)
        wrist = expected[:2] / expected[2] * [600 + camera, 601] + [31, 23.5]
        np.testing.assert_allclose(sample.joints_px[0], wrist, rtol=1e-5)
        assert abs(int(sample.image_rgb[0, 0, 0]) - 30 * camera) <= 2
        assert sample.hand == ("left" if sequence.endswith("01") else "right")
        np.testing.assert_allclose(train.joints()[0][index], sample.joints_mm, rtol=1e-6)


def test_official_splits_are_disjoint_and_complete() -> None:
    """Counted against the published sizes of the whole set: 10 people x 100 sequences x 8 cameras."""

    def members(setup: str, split: str) -> set[tuple[int, int, int]]:
        part = official_part(setup, split)
        return {(p, s, c) for p in part.subjects for s in part.sequences for c in part.serials}

    sizes = {"s0": (6400, 320, 1280), "s1": (5600, 800, 1600), "s2": (6000, 1000, 1000), "s3": (6000, 800, 1200)}
    for setup, expected in sizes.items():
        train, val, test = (members(setup, split) for split in ("train", "val", "test"))
        assert (len(train), len(val), len(test)) == expected
        assert not train & test
        assert not train & val
        assert not val & test
        assert len(train | val | test) == 8000


def test_other_setups_and_unknown_splits(tmp_path: Path) -> None:
    write_mini(tmp_path)
    assert set(DexYcb(tmp_path, "s1-test").subjects) == {SUBJECTS[7]}
    assert {DexYcb(tmp_path, "s2-test")[k].camera for k in range(4)} == {SERIALS[7]}
    for wrong in ("s4-train", "s1-validation", "all"):
        with pytest.raises(InputProblem, match="DexYCB has the splits"):
            DexYcb(tmp_path, wrong)


def test_damage_is_named(tmp_path: Path) -> None:
    write_mini(tmp_path)
    first = tmp_path / SUBJECTS[0] / "20200709_140000"
    (first / SERIALS[2] / "color_000001.jpg").unlink()
    (dropped,) = DexYcb(tmp_path).problems()
    assert (dropped.count, "color_000001.jpg" in dropped.what) == (1, True)
    (first / SERIALS[3] / "labels_000000.npz").write_bytes(b"PK")
    with pytest.raises(InputProblem, match=r"labels_000000\.npz: no readable joint_3d"):
        DexYcb(tmp_path)
    (first / "meta.yml").write_text("num_frames: 2")
    with pytest.raises(InputProblem, match=r"meta\.yml: num_frames or mano_sides"):
        DexYcb(tmp_path)


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The label files read from here on."""
    read = []
    really = dexycb._read_joints
    monkeypatch.setattr(dexycb, "_read_joints", lambda path: read.append(path) or really(path))
    return read


def test_labels_are_read_once_and_again_when_they_change(tmp_path: Path, cache: Path, read_files: list[Path]) -> None:
    write_mini(tmp_path)
    first = DexYcb(tmp_path, "test")
    assert len(read_files) == 16
    read_files.clear()
    second = DexYcb(tmp_path, "test")
    assert read_files == []
    np.testing.assert_array_equal(second.joints()[0], first.joints()[0])
    assert [second[k].sample_id for k in range(15)] == [first[k].sample_id for k in range(15)]
    assert len(DexYcb(tmp_path, "s1-test")) == 6 * 15, "another split has a file of its own"
    assert len(list(cache.rglob("*"))) == 1 + 2

    changed = tmp_path / SUBJECTS[7] / "20200709_140004" / SERIALS[1] / "labels_000000.npz"
    about = changed.stat()
    np.savez_compressed(changed, joint_3d=np.full((1, 21, 3), 0.25, np.float32), seg=np.zeros((4, 4)))
    os.utime(changed, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert (DexYcb(tmp_path, "test").joints()[0] == 250.0).all(axis=(1, 2)).sum() == 1
    changed.with_name("color_000000.jpg").unlink()
    assert len(DexYcb(tmp_path, "test")) == 14
    assert len(list(cache.rglob("*.npz"))) == 2, "a stale file is replaced"


@pytest.mark.parametrize("damage", [b"", b"PK", b"junk", None])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, cache: Path, read_files: list[Path], damage: bytes | None) -> None:
    write_mini(tmp_path)
    expected = DexYcb(tmp_path, "test").joints()[0]
    (kept,) = cache.rglob("*.npz")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content if damage is None else damage)
    for reads in (16, 0):
        read_files.clear()
        np.testing.assert_array_equal(DexYcb(tmp_path, "test").joints()[0], expected)
        assert len(read_files) == reads


def test_without_a_place_for_a_cache_the_set_is_read_all_the_same(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mini(tmp_path)
    cache.write_text("a file where the folder should be")
    assert len(DexYcb(tmp_path, "test")) == 15
    monkeypatch.delenv("SIMHAND_CACHE")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert len(DexYcb(tmp_path, "test")) == 15
