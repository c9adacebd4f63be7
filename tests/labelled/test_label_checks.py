"""Every mistake that label files are known for, made on real-looking hands: found, counted, named; and nothing else."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_set import SIZE_PX, K, MemorySet, hands_set, posed_hands

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.chirality import CLEAR, right_handedness
from simhand_cli.labelled.checks.decode_pictures import (
    Pictures,
    _usual_sizes,
    known_sizes,
    look_at_pictures,
    picture_faults,
)
from simhand_cli.labelled.checks.fault import Fault
from simhand_cli.labelled.checks.joint_order import KNOWN_ORDERS, fitting_order, lengths_mm, mismatch, reordering
from simhand_cli.labelled.checks.labels_3d import check_labels, find_faults
from simhand_cli.labelled.checks.reprojection import project
from simhand_cli.labelled.checks.sheet import check_sheet, choose_shown
from simhand_cli.labelled.label_details import LabelDetails, label_details, spread
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import HandSample
from simhand_cli.skeleton import JOINT_NAMES

HERE = Path("set")
ALL_VALID = np.ones((60, 21), bool)


def faults_of(labelled: MemorySet) -> dict[str, Fault]:
    details = label_details(labelled)
    pictures = look_at_pictures(labelled, np.arange(len(labelled)), Ticker())
    found = [*picture_faults(pictures, details), *find_faults(labelled, details, known_sizes(pictures, details))]
    assert len({fault.kind for fault in found}) == len(found)
    return {fault.kind: fault for fault in found}


@pytest.fixture
def clean() -> MemorySet:
    return hands_set()


@pytest.mark.parametrize("detailed", [True, False])
def test_a_clean_set_has_no_fault(detailed: bool) -> None:
    labelled = hands_set(40, seed=1, detailed=detailed)
    assert faults_of(labelled) == {}
    check = check_labels(labelled, HERE)
    assert check.usable.all()
    assert check.dropped == []


def test_real_labels_have_no_fault(real_data: Path) -> None:
    labelled = open_labelled(real_data / "labelled3d" / "hand_graph_cnn_real", "test")
    details = label_details(labelled)
    pictures = look_at_pictures(labelled, np.arange(0, len(labelled), 8), Ticker())
    assert find_faults(labelled, details, known_sizes(pictures, details)) == []
    assert picture_faults(pictures, details) == []
    # And these checks are awake on it: as right hands they would be refused.
    joints_mm, valid = labelled.joints()
    score = right_handedness(joints_mm, valid)
    assert (score < -CLEAR).all()
    for name, order in KNOWN_ORDERS.items():
        assert fitting_order(joints_mm[:, list(order)], valid) == name


# -- the whole set is wrong --------------------------------------------------------------------------------------------
def metres(labelled: MemorySet) -> None:
    labelled.joints_mm /= 1000


def centimetres(labelled: MemorySet) -> None:
    labelled.joints_mm /= 10


def mano_order(labelled: MemorySet) -> None:
    """As published with MANO: 16 model joints, then the finger tips (smplx's vertex joint selector)."""
    fingers = [f"{f}_{j}" for f in ("index", "middle", "little", "ring") for j in ("mcp", "pip", "dip")]
    names = ["wrist", *fingers, "thumb_cmc", "thumb_mcp", "thumb_ip"]
    names += [f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "little")]
    labelled.joints_mm = labelled.joints_mm[:, [JOINT_NAMES.index(name) for name in names]]


def tip_first(labelled: MemorySet) -> None:
    order = [0, *(4 * f + k for f in range(5) for k in (4, 3, 2, 1))]
    labelled.joints_mm = labelled.joints_mm[:, order]


def wrist_last(labelled: MemorySet) -> None:
    labelled.joints_mm = np.roll(labelled.joints_mm, -1, axis=1)


def shuffled(labelled: MemorySet) -> None:
    labelled.joints_mm = labelled.joints_mm[:, np.random.default_rng(4).permutation(21)]


def mirrored(labelled: MemorySet) -> None:
    labelled.joints_mm = labelled.joints_mm * [-1, 1, 1]


def sides_swapped(labelled: MemorySet) -> None:
    labelled.right = ~labelled.right


def opengl(labelled: MemorySet) -> None:
    labelled.joints_mm = labelled.joints_mm * [1, -1, -1]


def root_relative(labelled: MemorySet) -> None:
    labelled.joints_mm = labelled.joints_mm - labelled.joints_mm[:, :1]


def other_camera(labelled: MemorySet) -> None:
    labelled.intrinsics[:, :2] *= 6  # of the picture at six times the size


def no_intrinsics(labelled: MemorySet) -> None:
    labelled.intrinsics[:] = np.eye(3)
    labelled.intrinsics[:, :2, 2] = -1


def swapped_2d(labelled: MemorySet) -> None:
    pixels = labelled.joints_mm @ labelled.intrinsics[0].T
    labelled.stated_px = (pixels[..., :2] / pixels[..., 2:])[..., ::-1]


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (metres, "span", "in metres"),
        (centimetres, "span", "in centimetres"),
        (mano_order, "joint-order", "MANO's order"),
        (tip_first, "joint-order", "tip first .wrist, then each finger"),
        (wrist_last, "joint-order", "the wrist last"),
        (shuffled, "joint-order", "no hand's in any order"),
        (mirrored, "side", "labels are mirrored"),
        (sides_swapped, "side", "left and right are mixed up"),
        (opengl, "behind", "OpenGL"),
        (root_relative, "behind", "relative to a root"),
        (other_camera, "outside", "K does not project"),
        (no_intrinsics, "outside", "K does not project"),
        (swapped_2d, "own-2d", "x and y are swapped"),
    ],
)
def test_a_wrong_set_is_named_and_refused(
    clean: MemorySet, spoil: Callable[[MemorySet], None], kind: str, said: str
) -> None:
    spoil(clean)
    found = faults_of(clean)
    assert found[kind].refusal
    assert len(found[kind].samples) >= 0.95 * len(clean)
    with pytest.raises(InputProblem, match=said) as refused:
        check_labels(clean, HERE)
    assert str(refused.value).startswith("--data set: ")
    assert "\n" not in str(refused.value)


def test_a_wrong_order_comes_with_the_way_back(clean: MemorySet) -> None:
    right_way = clean.joints_mm.copy()
    mano_order(clean)
    meaning = faults_of(clean)["joint-order"].meaning
    taken = [int(number) for number in meaning.partition("[:, [")[2].strip("]").split(",")]
    np.testing.assert_array_equal(clean.joints_mm[:, taken], right_way)


@pytest.mark.parametrize("name", KNOWN_ORDERS)
def test_every_known_order_is_told_from_the_others(name: str, clean: MemorySet) -> None:
    order = KNOWN_ORDERS[name]
    assert sorted(order) == list(range(21))
    stored = clean.joints_mm[:, list(order)]
    assert fitting_order(stored, ALL_VALID) == name
    assert fitting_order(stored / 1000, ALL_VALID) == name
    np.testing.assert_array_equal(stored[:, reordering(order)], clean.joints_mm)
    assert fitting_order(clean.joints_mm, ALL_VALID) is None


# -- single samples are wrong ------------------------------------------------------------------------------------------
def nan_wrist(labelled: MemorySet, rows: list[int]) -> None:
    labelled.joints_mm[rows, 0] = np.nan


def inflated(labelled: MemorySet, rows: list[int]) -> None:
    labelled.joints_mm[rows] *= 3


def wild_tip(labelled: MemorySet, rows: list[int]) -> None:
    """20 mm off the last joint, then 125 mm along: the span stays human."""
    palm = labelled.joints_mm[rows, 0] - labelled.joints_mm[rows, 9]
    palm /= np.linalg.norm(palm, axis=1, keepdims=True)
    labelled.joints_mm[rows, 8] = labelled.joints_mm[rows, 7] + 125 * palm


def some_shuffled(labelled: MemorySet, rows: list[int]) -> None:
    labelled.joints_mm[rows] = labelled.joints_mm[rows][:, [*range(1, 21), 0]]


def some_mirrored(labelled: MemorySet, rows: list[int]) -> None:
    labelled.right[rows] ^= True


def through_the_camera(labelled: MemorySet, rows: list[int]) -> None:
    labelled.joints_mm[rows, :, 2] -= labelled.joints_mm[rows, :, 2].mean(axis=1, keepdims=True)


def out_of_view(labelled: MemorySet, rows: list[int]) -> None:
    labelled.joints_mm[rows, :, 0] += 2000


def nan_intrinsics(labelled: MemorySet, rows: list[int]) -> None:
    labelled.intrinsics[rows] = np.nan


@pytest.mark.parametrize(
    ("spoil", "kinds", "said"),
    [
        (nan_wrist, {"too-few"}, "fewer than 10 joints labelled, or wrist"),
        (inflated, {"span"}, "50-300 mm"),
        (wild_tip, {"bones"}, "longer than 120 mm"),
        (some_shuffled, {"bones", "proportions"}, "bone"),
        (some_mirrored, {"side"}, "other hand's"),
        (through_the_camera, {"behind"}, "behind the camera"),
        (out_of_view, {"outside"}, "outside the picture"),
        (nan_intrinsics, {"outside"}, "outside the picture"),
    ],
)
def test_single_wrong_samples_are_left_out_and_counted(
    clean: MemorySet, spoil: Callable[[MemorySet, list[int]], None], kinds: set[str], said: str
) -> None:
    rows = [3, 17, 40]
    spoil(clean, rows)
    found = faults_of(clean)
    assert set(found) <= kinds
    assert sorted(int(k) for fault in found.values() for k in fault.samples) == rows
    assert not any(fault.refusal for fault in found.values())
    check = check_labels(clean, HERE)
    assert np.flatnonzero(~check.usable).tolist() == rows
    assert sum(dropped.count for dropped in check.dropped) == len(rows)
    assert all(said in dropped.why for dropped in check.dropped)
    assert "first: number 3" in check.dropped[0].what


def test_a_sample_with_several_faults_is_counted_once(clean: MemorySet) -> None:
    some_mirrored(clean, [5])
    out_of_view(clean, [5])
    assert set(faults_of(clean)) == {"side", "outside"}
    assert [dropped.count for dropped in check_labels(clean, HERE).dropped] == [1]


def test_an_unlabelled_finger_is_no_fault(clean: MemorySet) -> None:
    clean.joints_mm[::2, 17:21] = np.nan
    assert faults_of(clean) == {}
    assert check_labels(clean, HERE).usable.all()


def test_a_majority_of_the_wrong_side_is_said_but_not_refused(clean: MemorySet) -> None:
    clean.right[:40] ^= True
    fault = faults_of(clean)["side"]
    assert fault.samples.tolist() == list(range(40))
    assert fault.meaning.startswith("40 of 60 clear hands")
    assert not fault.refusal
    assert check_labels(clean, HERE).usable.sum() == 20


def test_readers_without_details_are_judged_by_samples_that_can_be_read() -> None:
    labelled = hands_set(100, detailed=False)
    labelled.broken = set(range(0, 100, 2))
    assert len(label_details(labelled).samples) < 64
    sides_swapped(labelled)
    with pytest.raises(InputProblem, match="left and right"):
        check_labels(labelled, HERE)
    labelled.broken = set(range(100))
    with pytest.raises(InputProblem, match=r"0\.jpg: cannot be decoded"):
        check_labels(labelled, HERE)


# -- pictures ----------------------------------------------------------------------------------------------------------
def test_broken_pictures_are_counted(clean: MemorySet) -> None:
    clean.broken = {2, 9}
    fault = faults_of(clean)["picture"]
    assert fault.samples.tolist() == [2, 9]
    assert "2.jpg: cannot be decoded" in fault.why


def test_pictures_of_another_size_than_the_labels_say(clean: MemorySet) -> None:
    clean.size_px = (640, 480)
    fault = faults_of(clean)["picture-size"]
    assert len(fault.samples) == 60
    assert "640x480" in fault.why
    assert f"{SIZE_PX[0]}x{SIZE_PX[1]}" in fault.why


def test_one_camera_has_pictures_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = hands_set(20, detailed=False)
    whole = MemorySet.__getitem__

    def resized(self: MemorySet, index: int):
        from dataclasses import replace

        sample = whole(self, index)
        return replace(sample, image_rgb=sample.image_rgb[:120]) if index == 7 else sample

    monkeypatch.setattr(MemorySet, "__getitem__", resized)
    assert faults_of(labelled)["picture-size"].samples.tolist() == [7]


class TwoShapes(MemorySet):
    """Landscape pictures, and every tenth a portrait one before a camera of its own; nothing states sizes."""

    def __getitem__(self, index: int) -> HandSample:
        sample = super().__getitem__(index)
        width, height = (240, 320) if self.portrait[index] else SIZE_PX
        return replace(sample, image_rgb=np.zeros((height, width, 3), np.uint8))

    def details(self) -> LabelDetails:
        return LabelDetails(np.arange(len(self)), self.right, self.intrinsics, ["0"] * len(self))


def two_shapes(portrait: np.ndarray, count: int = 200) -> TwoShapes:
    joints, right = posed_hands(count)
    intrinsics = np.tile(K, (count, 1, 1))
    intrinsics[portrait, :2, 2] = 119.5, 159.5
    # All hands near the lower edge of the picture: of a portrait one below the edge of a landscape one.
    joints[:, :, 1] += 0.3 * joints[:, :1, 2] * portrait[:, None]
    labelled = TwoShapes(joints, right, intrinsics)
    labelled.portrait = portrait
    return labelled


def test_pictures_of_two_shapes_are_both_used() -> None:
    portrait = np.arange(200) % 10 == 6
    labelled = two_shapes(portrait)
    looked = spread(200, 8)
    assert not portrait[looked].any(), "a glance at a few meets one shape only"
    sizes = known_sizes(look_at_pictures(labelled, looked, Ticker()), label_details(labelled))
    assert (sizes[~portrait] == SIZE_PX).all()
    assert (sizes[portrait] == 0).all(), "another K tells nothing of the size"
    assert check_labels(labelled, HERE).usable.all()


def test_a_hand_out_of_view_is_found_with_the_size_of_another_picture_of_its_camera() -> None:
    portrait = np.arange(200) % 10 == 6
    labelled = two_shapes(portrait)
    labelled.joints_mm[[16, 17], :, 0] += 2000
    assert not np.isin([16, 17], spread(200, 8)).any()
    assert np.flatnonzero(~check_labels(labelled, HERE).usable).tolist() == [16, 17]


def test_a_camera_whose_pictures_differ_in_size_tells_nothing() -> None:
    portrait = np.arange(200) % 2 == 0
    labelled = two_shapes(portrait)
    labelled.intrinsics[:] = K
    pictures = look_at_pictures(labelled, np.arange(4), Ticker())
    sizes = known_sizes(pictures, label_details(labelled))
    assert sizes[:4].tolist() == [[240, 320], [320, 240]] * 2
    assert (sizes[4:] == 0).all()


def test_usual_sizes_are_those_of_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    camera, size_px = rng.integers(0, 40, 500), rng.choice([100, 200, 300], (500, 2))
    usual, alike = _usual_sizes(camera, size_px)
    for number in range(40):
        own = [tuple(size) for size in size_px[camera == number].tolist()]
        counts = Counter(own)
        assert counts[tuple(usual[camera == number][0].tolist())] == max(counts.values())
        assert alike[camera == number].tolist() == [len(counts) == 1] * len(own)


def test_many_cameras_take_no_longer_than_few() -> None:
    """60,000 pictures, each with a K of its own: 0.1 s; compared one by one they took 6 s."""
    from time import process_time

    count = 60_000
    intrinsics = np.tile(K, (count, 1, 1))
    intrinsics[:, 0, 0] += np.arange(count)
    details = LabelDetails(np.arange(count), np.ones(count, bool), intrinsics, ["0"] * count)
    pictures = Pictures(np.arange(count), np.tile(np.array(SIZE_PX), (count, 1)), {})
    start = process_time()
    assert picture_faults(pictures, details) == []
    assert (known_sizes(pictures, details) == SIZE_PX).all()
    assert process_time() - start < 2


@pytest.mark.parametrize("readers", [1, 4])
def test_pictures_are_the_same_whatever_the_readers(clean: MemorySet, readers: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("simhand_cli.labelled.checks.decode_pictures._AT_ONCE", 7)
    clean.broken = {3, 20}
    samples = np.arange(0, 60, 2)
    pictures = look_at_pictures(clean, np.append(samples, 3), Ticker(), readers)
    assert pictures.problems == {k: f"{k}.jpg: cannot be decoded as an image" for k in (3, 20)}
    assert pictures.readable().tolist() == [k for k in samples if k != 20]


# -- memory ------------------------------------------------------------------------------------------------------------
def test_chunks_change_nothing(clean: MemorySet, monkeypatch: Any) -> None:
    clean.stated_px = np.random.default_rng(0).uniform(0, 200, (60, 21, 2))
    wild_tip(clean, [1, 40])
    some_mirrored(clean, [6, 58])
    out_of_view(clean, [9])
    whole = faults_of(clean)
    assert set(whole) == {"bones", "side", "outside", "own-2d"}
    monkeypatch.setattr("simhand_cli.labelled.checks.fault.CHUNK", 7)
    parts = faults_of(clean)
    assert {k: f.samples.tolist() for k, f in parts.items()} == {k: f.samples.tolist() for k, f in whole.items()}
    assert [fault.why for fault in parts.values()] == [fault.why for fault in whole.values()]


@pytest.mark.slow
def test_checks_of_many_hands_need_little_memory_beside_them() -> None:
    """Per hand, with own 2D joints, well under the 2.2 kB that float64 copies of all joints would take."""
    hands = hands_set(100)
    count = 40_000
    row = np.arange(count) % 100
    joints_mm, valid = hands.joints_mm.astype(np.float32)[row], np.ones((count, 21), bool)
    size_px = np.tile(np.array(SIZE_PX), (count, 1))
    stated = project(hands.joints_mm, hands.intrinsics).astype(np.float32)[row]
    details = LabelDetails(np.arange(count), hands.right[row], hands.intrinsics[row], ["0"] * count, stated, size_px)

    class Many:
        def joints(self) -> tuple[np.ndarray, np.ndarray]:
            return joints_mm, valid

    tracemalloc.start()
    try:
        assert find_faults(Many(), details, size_px) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / count < 1100


# -- left and right ----------------------------------------------------------------------------------------------------
def test_handedness_changes_sign_with_the_hand_and_with_nothing_else() -> None:
    joints, right = posed_hands(300, seed=5)
    valid = np.ones((300, 21), bool)
    score = right_handedness(joints, valid)
    assert ((score > 0) == right).all()
    assert (np.abs(score) > CLEAR).mean() > 0.98
    np.testing.assert_allclose(right_handedness(joints * [1, -1, 1], valid), -score, atol=1e-9)
    np.testing.assert_allclose(right_handedness(joints * 0.001 + 7, valid), score, atol=1e-6)


def test_flat_and_incomplete_hands_are_not_judged() -> None:
    joints, _ = posed_hands(10)
    flat = joints * [1, 1, 0] + [0, 0, 500]
    assert (np.abs(right_handedness(flat, np.ones((10, 21), bool))) < 1e-9).all()
    valid = np.ones((10, 21), bool)
    valid[:, 4] = False
    assert np.isnan(right_handedness(joints, valid)).all()
    assert np.isnan(right_handedness(np.zeros((2, 21, 3)), np.ones((2, 21), bool))).all()


def test_the_mismatch_of_bones_is_what_its_description_says() -> None:
    """Re-computed sample by sample from the description, in plain Python."""
    import statistics
    from math import dist, log

    from simhand_cli.labelled.checks.joint_order import _TYPICAL_MM

    joints, _ = posed_hands(8, seed=2)
    pairs = [(0 if k % 4 == 1 else k - 1, k) for k in range(1, 21)] + [(5, 9), (9, 13), (13, 17)]
    for hand, got in zip(joints, mismatch(lengths_mm(joints, np.ones((8, 21), bool))), strict=True):
        ratios = [log(dist(hand[a], hand[b]) / typical) for (a, b), typical in zip(pairs, _TYPICAL_MM, strict=True)]
        middle = statistics.median(ratios)
        assert got == pytest.approx(statistics.mean(abs(ratio - middle) for ratio in ratios))


# -- the sheet ---------------------------------------------------------------------------------------------------------
def test_the_sheet_shows_examples_of_faults_and_others(clean: MemorySet) -> None:
    out_of_view(clean, [3, 4])
    some_mirrored(clean, [8])
    clean.broken = {11}
    found = faults_of(clean)
    readable = np.array([k for k in range(60) if k != 11])
    shown = choose_shown(readable, list(found.values()), 12, np.random.default_rng(0))
    kinds = dict(shown)
    assert len(kinds) == len(shown) == 12
    assert {3: "outside", 4: "outside", 8: "side"}.items() <= kinds.items()
    assert [kind for index, kind in shown if index not in (3, 4, 8)] == [""] * 9
    assert 11 not in kinds
    sheet = check_sheet(clean, shown)
    assert sheet.ndim == 3
    assert sheet.shape[1] > 6 * 192
    assert len(choose_shown(readable, list(found.values()), 1, np.random.default_rng(0))) == 1
