"""The command: sets on disk, resuming, workers, bad input, and the reader."""

import json
import math
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simhand_cli.commands.synth import synth
from simhand_cli.console import format_duration
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.readers.synth import SynthSet
from simhand_cli.synth.config import SynthConfig
from simhand_cli.synth.sets import freihand as freihand_set
from simhand_cli.synth.sets import labelled as labelled_set
from simhand_cli.synth.sets.recipe import settle_recipe
from simhand_cli.workspace.atomic import sha256_file

SMALL = {"count": 14, "subjects": 4, "test_fraction": 0.25, "image_px": 32, "workers": 1, "depth": True}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "set"
    synth(SynthConfig(out=folder, **SMALL))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.startswith(".")
    }


def test_the_set_can_be_read(small_set: Path) -> None:
    train, test = SynthSet(small_set, "train", extras=True), open_labelled(small_set, "test")
    assert open_labelled(small_set, "train")[0].mask is None
    assert isinstance(train, SynthSet)
    assert len(train) + len(test) == 14
    assert not set(train.subjects) & set(test.subjects)
    sample = train[len(train) - 1]
    assert sample.image_rgb.shape == (32, 32, 3)
    projected = sample.joints_mm @ sample.intrinsics.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], sample.joints_px, atol=1e-9)
    assert sample.mask is not None
    assert 0.03 < sample.mask.mean() < 0.8
    np.testing.assert_allclose(train.joints()[0][-1], sample.joints_mm, rtol=1e-6)
    depth = train.depth_mm(len(train) - 1)
    assert depth is not None
    hand = depth[sample.mask]
    assert np.abs(hand[hand > 0] - sample.joints_mm[:, 2].mean()).min() < 40
    assert {train[i].hand for i in range(len(train))} == {"left", "right"}


def test_the_reader_works_after_pickling_and_after_fork(small_set: Path) -> None:
    import multiprocessing

    train = SynthSet(small_set, "train", extras=True)
    first = train[0].image_rgb
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[0].image_rgb, first)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(train.__getitem__, (0,)).image_rgb, first)


def test_the_reader_keeps_few_files_open(small_set: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(labelled_set, "SHARD_SAMPLES", (2, 2))
    monkeypatch.setattr("simhand_cli.labelled.readers.synth.MAX_OPEN", 2)
    synth(SynthConfig(out=tmp_path / "many", **SMALL))
    many = SynthSet(tmp_path / "many", "train", extras=True)
    one = SynthSet(small_set, "train", extras=True)
    for index in range(len(many)):
        np.testing.assert_array_equal(many[index].image_rgb, one[index].image_rgb)
    assert len(many._open) == 2


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), size=st.integers(1, 20))
def test_shards_cut_no_person_in_two_without_need(lengths: list[int], size: int) -> None:
    people = [person for person, length in enumerate(lengths) for _ in range(length)]
    starts = labelled_set.shard_starts(people, size)
    ends = [*starts[1:], len(people)]
    assert starts[0] == 0
    assert all(0 < end - start <= math.ceil(1.5 * size) for start, end in zip(starts, ends, strict=True))
    cut = {people[start] for start in starts[1:] if people[start] == people[start - 1]}
    assert all(lengths[person] >= 1.5 * size for person in cut)


def test_the_card_counts_what_is_there(small_set: Path) -> None:
    card = json.loads((small_set / "dataset.json").read_text())
    assert card["schema"] == "simhand.synth-set"
    assert all(sum(table.values()) == 14 for table in card["counts"].values())
    text = (small_set / "CARD.md").read_text()
    assert "| people | 4 |" in text
    assert "contact_sheet.png" in text
    assert (small_set / "contact_sheet.png").is_file()


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_set, "SHARD_SAMPLES", (5, 5))
    monkeypatch.setattr(freihand_set, "_PART_HANDS", 1)
    back = _backgrounds(tmp_path / "back", 2, 1)
    ring = {"count": 24, "frames": 3, "cameras": 2, "subjects": 3, "image_px": 32, "backgrounds": back}
    varied = {"things": 0.5, "second_hand": 0.5, "test_fraction": 0.3}
    for name, workers in (("one", 1), ("two", 2)):
        synth(SynthConfig(out=tmp_path / name / "set", **SMALL | {"workers": workers}))
        synth(SynthConfig(out=tmp_path / name / "ring", workers=workers, **ring, **varied))
        for kind in ("videos", "freihand", "hanco"):
            synth(SynthConfig(out=tmp_path / name / kind, **FORMATS[kind] | {"workers": workers}))
    one, two = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert one == two
    assert len(one) > 60


@pytest.mark.slow
def test_a_deleted_and_a_damaged_shard_are_made_again(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    synth(SynthConfig(out=folder, **SMALL))
    assert hashes(folder) == hashes(small_set)
    (folder / "test" / "shard-00000.h5").unlink()
    shard = folder / "train" / "shard-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-3000])
    (folder / "dataset.json").unlink()
    with pytest.raises(InputProblem, match="interrupted"):
        SynthSet(folder, "train")
    assert synth(SynthConfig(out=folder, **SMALL)).facts["shards found finished"] == 0
    assert hashes(folder) == hashes(small_set)
    assert synth(SynthConfig(out=folder, **SMALL)).facts["shards found finished"] == 2


def test_changed_options_are_named_and_refused_unless_redone(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="image_px=32, now 48"):
        synth(SynthConfig(out=small_set, **SMALL | {"image_px": 48}))
    folder = tmp_path / "set"
    synth(SynthConfig(out=folder, count=3, subjects=2, image_px=16, workers=1))
    synth(SynthConfig(out=folder, count=2, subjects=2, image_px=24, workers=1, redo=True))
    assert SynthSet(folder, "train")[0].image_rgb.shape == (24, 24, 3)


FORMATS = {
    "labelled": SMALL,
    "videos": {"format": "videos", "count": 2, "frames": 3, "frame_width": 64, "frame_height": 48, "workers": 1},
    "freihand": {"format": "freihand", "count": 3, "subjects": 3, "test_fraction": 0.3, "image_px": 24, "workers": 1},
    "hanco": {
        "format": "hanco", "count": 2, "subjects": 2, "frames": 2, "cameras": 3, "test_fraction": 0.5, "image_px": 24,
        "workers": 1,
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_redo_killed_at_any_deletion_or_after_the_recipe_keeps_nothing_of_the_old_set(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, options = tmp_path / "set", FORMATS[kind]
    for seed in (0, 1):
        synth(SynthConfig(out=tmp_path / f"clean{seed}", seed=seed, **options))

    class Killed(BaseException):
        pass

    real, allowed = Path.unlink, 0

    def killed(*_args: object, **_options: object) -> None:
        raise Killed

    def mortal_unlink(path: Path, missing_ok: bool = False) -> None:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise Killed
        real(path, missing_ok)

    for deletions in (0, 1, 2, 1000):
        synth(SynthConfig(out=folder, seed=0, **options))
        with monkeypatch.context() as patch:
            allowed = deletions
            patch.setattr(Path, "unlink", mortal_unlink)
            patch.setattr("simhand_cli.synth.sets.recipe.write_json", killed)
            with pytest.raises(Killed):
                synth(SynthConfig(out=folder, seed=1, redo=True, **options))
        synth(SynthConfig(out=folder, seed=0, **options))
        assert hashes(folder) == hashes(tmp_path / "clean0")
    with monkeypatch.context() as patch:
        patch.setattr(f"simhand_cli.synth.sets.{kind}.do_all", killed)
        with pytest.raises(Killed):
            synth(SynthConfig(out=folder, seed=1, redo=True, **options))
    synth(SynthConfig(out=folder, seed=1, **options))
    assert hashes(folder) == hashes(tmp_path / "clean1")


@pytest.mark.slow
def test_a_damaged_recipe_can_be_redone_and_leftovers_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    synth(SynthConfig(out=folder, **SMALL))
    whole = hashes(folder)
    leftovers = [folder / "train" / "shard-00000.h5.1.part", folder / "dataset.json.1.part"]
    for leftover in leftovers:
        leftover.write_text("half")
    synth(SynthConfig(out=folder, **SMALL))
    assert hashes(folder) == whole
    (folder / "recipe.json").write_text("[")
    with pytest.raises(InputProblem, match="damaged; --redo"):
        synth(SynthConfig(out=folder, **SMALL))
    synth(SynthConfig(out=folder, redo=True, **SMALL))
    assert hashes(folder) == whole


def test_a_real_data_set_is_never_replaced(tmp_path: Path) -> None:
    picture = tmp_path / "FreiHAND" / "training" / "rgb" / "00000000.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_text("precious")
    (tmp_path / "FreiHAND" / "download.part").write_text("half of it")
    for redo in (False, True):
        with pytest.raises(UsageProblem, match=r"holds training but no recipe\.json"):
            synth(SynthConfig(out=tmp_path / "FreiHAND", redo=redo, **FORMATS["freihand"]))
    assert picture.read_text() == "precious"
    assert (tmp_path / "FreiHAND" / "download.part").exists()


def test_fewer_videos_than_are_there_are_refused(tmp_path: Path) -> None:
    options = FORMATS["videos"]
    synth(SynthConfig(out=tmp_path, **options))
    with pytest.raises(UsageProblem, match=r"--count 1: .* holds 2 videos; --redo .*--out"):
        synth(SynthConfig(out=tmp_path, **options | {"count": 1}))
    assert len(list(tmp_path.glob("*.mp4"))) == 2
    synth(SynthConfig(out=tmp_path, **options | {"count": 1, "redo": True}))
    assert len(list(tmp_path.glob("*.mp4"))) == 1


def test_more_videos_can_be_added_later(tmp_path: Path) -> None:
    options = {"format": "videos", "frames": 5, "fps": 12.5, "frame_width": 64, "frame_height": 48, "workers": 1}
    synth(SynthConfig(out=tmp_path / "v", count=1, **options))
    (tmp_path / "v" / "person-00000.mp4").touch()
    before = sha256_file(tmp_path / "v" / "person-00000.mp4")
    summary = synth(SynthConfig(out=tmp_path / "v", count=2, **options))
    assert summary.facts["videos found finished"] == 1
    assert sha256_file(tmp_path / "v" / "person-00000.mp4") == before
    with av.open(str(tmp_path / "v" / "person-00001.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate)) == (64, 48, 12.5)
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_a_cut_video_is_made_again(tmp_path: Path) -> None:
    options = {"format": "videos", "count": 1, "frames": 5, "frame_width": 64, "frame_height": 48, "workers": 1}
    synth(SynthConfig(out=tmp_path / "v", **options))
    video = tmp_path / "v" / "person-00000.mp4"
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    assert synth(SynthConfig(out=tmp_path / "v", **options)).facts["videos found finished"] == 0
    assert video.read_bytes() == whole


def test_freihand_layout_is_read_by_its_reader(tmp_path: Path) -> None:
    folder = tmp_path / "fh"
    config = SynthConfig(out=folder, format="freihand", count=4, subjects=4, test_fraction=0.25, image_px=32, workers=1)
    summary = synth(config)
    assert summary.facts["pictures"] == 3 * 4 + 1
    assert sorted(p.name for p in folder.glob("*.json")) == [
        "evaluation_K.json", "evaluation_scale.json", "evaluation_xyz.json", "recipe.json",
        "training_K.json", "training_scale.json", "training_xyz.json",
    ]  # fmt: skip
    train, test = open_labelled(folder, "train"), open_labelled(folder, "test")
    assert (len(train), len(test)) == (12, 1)
    assert not train.problems()
    before = hashes(folder)
    synth(config)
    assert hashes(folder) == before
    scale = json.loads((folder / "training_scale.json").read_text())
    first = np.array(json.loads((folder / "training_xyz.json").read_text())[0])
    assert abs(scale[0] - np.linalg.norm(first[9] - first[10])) < 1e-9


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    for kind in FORMATS:
        summary = synth(SynthConfig(out=tmp_path / "no", format=kind, dry_run=True))
        assert "time, roughly" in summary.facts
    assert not (tmp_path / "no").exists()


def test_a_set_without_test_people_says_so(tmp_path: Path) -> None:
    alone = {"out": tmp_path / "no", "count": 8, "subjects": 1}
    assert "--subjects of at least 2" in synth(SynthConfig(**alone, dry_run=True)).facts["test people"]
    assert "test people" not in synth(SynthConfig(**alone, test_fraction=0, dry_run=True)).facts
    made = synth(SynthConfig(**alone, image_px=16, workers=1, workspace=tmp_path / "ws"))
    assert "--subjects of at least 2" in made.facts["test people"]
    assert made.hint == f"simhand finetune --data {tmp_path / 'no'} --encoder none"


def test_the_planned_time_includes_the_start(tmp_path: Path) -> None:
    """6 s to load, 8 people of 0.1 s each and 8 pictures of 0.0126 s."""
    config = SynthConfig(out=tmp_path, count=8, image_px=16, workers=1, dry_run=True)
    assert synth(config).facts["time, roughly"] == format_duration(6 + 0.8 + 8 * (0.0125 + 0.45e-6 * 256))


def test_a_set_of_another_format_is_refused_by_its_format(tmp_path: Path) -> None:
    options = {"seed": 1, "cameras": 2}
    settle_recipe(tmp_path / "set", {"format": "hanco", **options}, redo=False)
    with pytest.raises(UsageProblem, match="made with format='hanco', now 'labelled'"):
        settle_recipe(tmp_path / "set", {"format": "labelled", "backdrop": None, **options, "cameras": 1}, redo=False)
    with pytest.raises(UsageProblem, match="made with cameras=2, now 1"):
        settle_recipe(tmp_path / "set", {"format": "hanco", **options, "cameras": 1}, redo=False)


def test_an_unwritable_folder_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageProblem, match="is a file"):
        synth(SynthConfig(out=tmp_path / "file", **SMALL))
    with pytest.raises(EnvironmentProblem, match="--out"):
        synth(SynthConfig(out=tmp_path / "file" / "below", **SMALL))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--view", "sideways"], "view"),
        (["--count", "0"], "count"),
        (["--format", "hanko"], "format"),
        (["--grasp", "fsit"], "did you mean fist?"),
        (["--count", "10", "--cameras", "4"], "12 would be"),
        (["--format", "videos", "--cameras", "2"], "--cameras does nothing"),
        (["--format", "freihand", "--depth"], "--depth does nothing with --format freihand"),
        (["--format", "hanco", "--backdrop", "plain"], "--backdrop does nothing"),
        (["--frame-width", "64"], "--frame-width does nothing with --format labelled (only with videos)"),
        (["--backgrounds", ".", "--backdrop", "plain"], "--backgrounds is not used with --backdrop plain"),
        (["--frames", "5000"], "above 4096"),
        (["--things", "1.5"], "things"),
    ],
)
def test_bad_options_get_one_clear_line(run_cli, tmp_path: Path, words: list[str], said: str) -> None:
    done = run_cli("synth", *words, "--out", tmp_path / "x")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def _backgrounds(folder: Path, good: int, bad: int) -> Path:
    import cv2

    folder.mkdir()
    for k in range(good):
        cv2.imwrite(str(folder / f"good {k}.PNG"), np.full((64, 80, 3), (20, 40 + k, 200), np.uint8))
    for k in range(bad):
        (folder / f"bad{k}.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_own_backgrounds_are_used_and_broken_ones_named(tmp_path: Path) -> None:
    folder = _backgrounds(tmp_path / "back", 2, 1)
    options = {"count": 2, "subjects": 2, "test_fraction": 0.0, "image_px": 64, "workers": 1, "backdrop": "photo"}
    summary = synth(SynthConfig(out=tmp_path / "set", backgrounds=folder, **options))
    assert summary.problems == 1
    assert [(d.what, d.count) for d in summary.dropped] == [("bad0.jpg", 1)]
    sample = SynthSet(tmp_path / "set", "train", extras=True)[0]
    # Orange behind the hand, whatever the exposure: red far above blue in the corner furthest from it.
    around = sample.image_rgb[:8][~sample.mask[:8]].reshape(-1, 3).mean(axis=0)
    assert around[0] > around[2] + 40
    # Without the broken file it is still the same set.
    (folder / "bad0.jpg").unlink()
    again = synth(SynthConfig(out=tmp_path / "set", backgrounds=folder, **options))
    assert again.facts["shards found finished"] == 1
    synth(SynthConfig(out=tmp_path / "anew", backgrounds=folder, **options))
    assert hashes(tmp_path / "anew") == hashes(tmp_path / "set")
    (folder / "good 0.PNG").unlink()
    with pytest.raises(UsageProblem, match="backgrounds="):
        synth(SynthConfig(out=tmp_path / "set", backgrounds=folder, **options))


def test_changed_backgrounds_are_seen_in_the_same_process(tmp_path: Path) -> None:
    import cv2

    folder = _backgrounds(tmp_path / "back", 1, 0)
    options = {"count": 2, "subjects": 2, "test_fraction": 0.0, "image_px": 64, "workers": 1, "backdrop": "photo"}
    synth(SynthConfig(out=tmp_path / "orange", backgrounds=folder, **options))
    cv2.imwrite(str(folder / "good 0.PNG"), np.full((64, 80, 3), (200, 40, 20), np.uint8))
    synth(SynthConfig(out=tmp_path / "blue", backgrounds=folder, **options))
    sample = SynthSet(tmp_path / "blue", "train", extras=True)[0]
    around = sample.image_rgb[:8][~sample.mask[:8]].reshape(-1, 3).mean(axis=0)
    assert around[2] > around[0] + 40


def test_extreme_pictures_are_left_out(tmp_path: Path) -> None:
    """A claim of 60000 x 60000 pixels, and a picture that would shrink to a line."""
    import struct
    import zlib

    import cv2

    folder = _backgrounds(tmp_path / "back", 1, 0)
    cv2.imwrite(str(folder / "long.png"), np.zeros((16, 20000, 3), np.uint8))
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "huge.png").write_bytes(huge)
    summary = synth(SynthConfig(out=tmp_path / "set", backgrounds=folder, **SMALL | {"count": 2, "image_px": 16}))
    assert sorted(d.what for d in summary.dropped) == ["huge.png", "long.png"]


@pytest.mark.parametrize(("good", "bad", "said"), [(0, 2, "none of its 2 pictures"), (0, 0, "holds no pictures")])
def test_backgrounds_without_a_picture_write_nothing(tmp_path: Path, good: int, bad: int, said: str) -> None:
    folder = _backgrounds(tmp_path / "back", good, bad)
    with pytest.raises(InputProblem, match=said):
        synth(SynthConfig(out=tmp_path / "set", backgrounds=folder, **SMALL))
    with pytest.raises(InputProblem, match="No such file"):
        synth(SynthConfig(out=tmp_path / "set", backgrounds=tmp_path / "nowhere", **SMALL))
    assert not (tmp_path / "set").exists()


def test_only_the_chosen_grasps_are_made(tmp_path: Path) -> None:
    synth(SynthConfig(out=tmp_path / "set", grasp=["OK", "fist"], **SMALL | {"count": 8, "image_px": 16}))
    counts = json.loads((tmp_path / "set" / "dataset.json").read_text())["counts"]
    assert set(counts["grasp"]) <= {"ok", "fist"}


def test_rings_and_sequences_are_labelled_consistently(tmp_path: Path) -> None:
    """Every camera and frame of a sequence tells the same story: same world joints, same bones, fixed cameras."""
    config = SynthConfig(
        out=tmp_path / "set", count=24, frames=3, cameras=4, subjects=2, test_fraction=0.0, image_px=48, workers=1,
        second_hand=1.0, depth=True,
    )  # fmt: skip
    facts = synth(config).facts
    assert facts["sequences"] == "2 of 3 frames x 4 cameras"
    made = SynthSet(tmp_path / "set", "train", extras=True)
    assert len(set(made.sequences)) == 2
    sequence, frame, camera = (made.column(n) for n in ("sequence", "frame", "camera"))
    extrinsics, intrinsics = made.column("camera_from_world"), made.column("intrinsics")
    assert np.isfinite(made.column("second_joints_mm")).any()
    world = np.stack([_world(made[i].joints_mm, extrinsics[i]) for i in range(24)])
    for s in (0, 1):
        for c in range(4):
            rows = np.flatnonzero((sequence == s) & (camera == c))
            assert sorted(frame[rows]) == [0, 1, 2]
            np.testing.assert_array_equal(extrinsics[rows], extrinsics[rows[:1]].repeat(3, axis=0))
            np.testing.assert_array_equal(intrinsics[rows], intrinsics[rows[:1]].repeat(3, axis=0))
        for f in range(3):
            rows = np.flatnonzero((sequence == s) & (frame == f))
            assert sorted(camera[rows]) == [0, 1, 2, 3]
            np.testing.assert_allclose(world[rows], world[rows[:1]].repeat(4, axis=0), atol=1e-9)
        second = made.column("second_joints_mm")[sequence == s]
        assert np.isfinite(second).all() or np.isnan(second).all()
        seconds = np.stack([_world(j, e) for j, e in zip(second, extrinsics[sequence == s], strict=True)])
        np.testing.assert_allclose(seconds.reshape(3, 4, 21, 3), seconds.reshape(3, 4, 21, 3)[:, :1].repeat(4, axis=1))
        bones = np.linalg.norm(np.diff(world[sequence == s][:, 5:9], axis=1), axis=2)
        np.testing.assert_allclose(bones, bones[:1].repeat(12, axis=0), rtol=1e-9)


def _world(joints_mm: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
    return (joints_mm - camera_from_world[:3, 3]) @ camera_from_world[:3, :3]


@pytest.mark.slow
def test_hanco_layout_is_as_published(tmp_path: Path) -> None:
    """Read as the data set's own viewer does: project the world's joints with M and K into every camera's picture."""
    import cv2

    folder = tmp_path / "hanco"
    config = SynthConfig(
        out=folder,
        format="hanco",
        count=3,
        subjects=3,
        test_fraction=0.34,
        image_px=64,
        frames=2,
        workers=1,
        things=1.0,
    )
    before = synth(config).facts
    meta = json.loads((folder / "meta.json").read_text())
    assert sorted(meta) == ["has_fit", "is_train", "is_valid", "object_id", "subject_id"]
    assert meta["is_train"] == [[True] * 2, [True] * 2, [False] * 2]
    assert before["pictures"] == 2 * 8 * (2 * 5 + 1)
    for sid, fid in ((0, 0), (1, 1), (2, 0)):
        xyz = np.array(json.loads((folder / "xyz" / f"{sid:04d}" / f"{fid:08d}.json").read_text()))
        calib = json.loads((folder / "calib" / f"{sid:04d}" / f"{fid:08d}.json").read_text())
        m, k = np.array(calib["M"]), np.array(calib["K"])
        assert (xyz.shape, m.shape, k.shape) == ((21, 3), (8, 4, 4), (8, 3, 3))
        assert 0.05 < np.linalg.norm(xyz[9] - xyz[0]) < 0.13
        centres = np.stack([-m[c, :3, :3].T @ m[c, :3, 3] for c in range(8)])
        assert np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(8, 1)].min() > 0.05
        for cam in range(8):
            place = f"{sid:04d}/cam{cam}/{fid:08d}.jpg"
            image = cv2.imread(str(folder / "rgb" / place))
            assert image.shape == (64, 64, 3)
            at = (xyz @ m[cam, :3, :3].T + m[cam, :3, 3]) @ k[cam].T
            at = at[:, :2] / at[:, 2:]
            assert at.min() > -2
            assert at.max() < 66
            if sid == 2:
                assert not (folder / "mask_hand" / place).exists()
                continue
            mask = cv2.imread(str(folder / "mask_hand" / place), cv2.IMREAD_GRAYSCALE) > 127
            inside = np.clip(np.round(at).astype(int), 0, 63)
            assert mask[inside[:, 1], inside[:, 0]].mean() > 0.4
            green = image[~mask].astype(int)
            assert np.median(green[:, 1] - green[:, 2]) > 40
            for name in ("rgb_merged", "rgb_homo", "rgb_color_auto", "rgb_color_sample"):
                assert (folder / name / place).is_file()
    whole = hashes(folder)
    (folder / "meta.json").unlink()
    synth(config)
    assert hashes(folder) == whole
