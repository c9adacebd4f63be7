"""DexYCB's reader on a miniature set written in the published layout."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.readers import dexycb
from simhand_cli.labelled.readers.dexycb import DexYcb
from simhand_cli.labelled.readers.dexycb_frames import SERIALS, SUBJECTS, official_part


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not there yet."""
    folder = tmp_path_factory.mktemp("cache") / "simhand"
    monkeypatch.setenv("SIMHAND_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def six_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature's people are there as a whole."""
    monkeypatch.setattr("simhand_cli.labelled.readers.dexycb_frames._SEQUENCES", 6)


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


def test_missing_and_damaged_files_cost_their_own_samples(tmp_path: Path) -> None:
    write_mini(tmp_path)
    first = tmp_path / SUBJECTS[0] / "20200709_140000"
    (first / SERIALS[2] / "color_000001.jpg").unlink()
    damaged = first / SERIALS[3] / "labels_000000.npz"
    whole = damaged.read_bytes()
    for content in (b"PK", b"", whole[: len(whole) // 2]):
        damaged.write_bytes(content)
        opened = DexYcb(tmp_path, "train")
        assert len(opened) == 3 * 5 * 15 - 2
        assert f"{SUBJECTS[0]}/20200709_140000/{SERIALS[3]}/000000" not in {opened[k].sample_id for k in range(15)}
        missing, unread, _ = opened.problems()
        assert (missing.count, "color_000001.jpg" in missing.what) == (1, True)
        assert (unread.count, unread.why, str(damaged) in unread.what) == (1, "cannot be read", True)
        # Left out or not, every frame counts for the official number.
        assert opened.image_numbers.max() == opened.images_in_split - 1 == 3 * 5 * 16 - 1
    damaged.write_bytes(whole)
    assert len(DexYcb(tmp_path, "train")) == 3 * 5 * 15 - 1
    (first / "meta.yml").write_text("num_frames: 2")
    with pytest.raises(InputProblem, match=r"meta\.yml: num_frames or mano_sides"):
        DexYcb(tmp_path)


def test_a_passing_trouble_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mini(tmp_path)
    really, trouble = dexycb._read_labels, SERIALS[5]

    def troubled(path: Path) -> np.ndarray:
        if path.parent.name == trouble and path.stem == "labels_000001":
            raise InputProblem(f"{path}: the disk is away")
        return really(path)

    monkeypatch.setattr(dexycb, "_read_labels", troubled)
    assert len(DexYcb(tmp_path, "test")) == 14
    trouble = ""
    assert len(DexYcb(tmp_path, "test")) == 15


def test_a_set_with_nearly_only_damaged_labels_is_refused(tmp_path: Path) -> None:
    write_mini(tmp_path)
    for file in tmp_path.rglob("labels_*.npz"):
        file.write_bytes(b"PK")
    with pytest.raises(
        InputProblem, match=r"labels_000000\.npz: no readable joint_3d .*; of 16 such files 16"
    ) as raised:
        DexYcb(tmp_path, "test")
    assert "\n" not in str(raised.value)


def test_a_single_joint_of_minus_one_has_no_label(tmp_path: Path) -> None:
    write_mini(tmp_path)
    file = tmp_path / SUBJECTS[7] / "20200709_140004" / SERIALS[1] / "labels_000000.npz"
    joints = np.array(np.load(file)["joint_3d"])
    joints[0, 4] = -1
    joints[0, 8, 0] = -1  # one coordinate may be
    np.savez(file, joint_3d=joints)
    test = DexYcb(tmp_path, "test")
    (row,) = [k for k in range(len(test)) if test[k].sample_id.endswith(f"{SERIALS[1]}/000000")]
    assert np.isnan(test.joints()[0][row, 4]).all()
    assert [test.joints()[1][row, k] for k in (4, 8)] == [False, True]
    assert test[row].joints_mm[8, 0] == -1000


@pytest.mark.parametrize("sequences", [5, 7])
def test_a_person_of_whom_only_a_part_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sequences: int) -> None:
    """Sequences are chosen by their number among those that are there: with a part of them they would be others."""
    write_mini(tmp_path)
    monkeypatch.setattr("simhand_cli.labelled.readers.dexycb_frames._SEQUENCES", sequences)
    for split in ("train", "test", "s0-test", "s3-test"):
        with pytest.raises(
            InputProblem, match=rf"has 6 of {sequences} sequences.*take .*--split s1-t.*or s2-t"
        ) as raised:
            DexYcb(tmp_path, split)
        assert "\n" not in str(raised.value)
    for split, people in (("s1-test", 1), ("s2-test", 3)):
        opened = DexYcb(tmp_path, split)
        assert len(set(opened.subjects)) == people
        (partial,) = opened.problems()
        assert f"of {sequences} sequences" in partial.what
        assert f"not the whole official {split}" in partial.why


def test_people_who_are_absent_are_said_but_those_who_are_there_can_be_used(tmp_path: Path) -> None:
    write_mini(tmp_path)
    (partial,) = DexYcb(tmp_path, "test").left_out()
    assert partial.names == [f"{SUBJECTS[k]} has 0 of 6 sequences" for k in (2, 3, 4, 5, 6, 8, 9)]
    assert partial.count == 7
    assert DexYcb(tmp_path, "val").problems() == []


def test_a_worker_gets_a_compact_copy(tmp_path: Path) -> None:
    """Labels and numbers only: beside the 21 x 5 float32 of a sample a few bytes."""
    write_mini(tmp_path)
    size = [len(pickle.dumps(DexYcb(tmp_path, split))) for split in ("s1-test", "s2-train")]
    count = [len(DexYcb(tmp_path, split)) for split in ("s1-test", "s2-train")]
    assert count[1] > count[0] + 100
    assert (size[1] - size[0]) / (count[1] - count[0]) < 21 * 5 * 4 + 25


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The label files read from here on."""
    read = []
    really = dexycb._read_labels
    monkeypatch.setattr(dexycb, "_read_labels", lambda path: read.append(path) or really(path))
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
