"""COCO-WholeBody's reader, and what is checked of labels in 2D, on a miniature set in the published layout."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from memory_set import K, posed_hands
from mini_coco_wholebody import NAMES, annotation_file, write_mini

from simhand_cli.commands.data import data
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.joint_order import KNOWN_ORDERS
from simhand_cli.labelled.checks.labels_2d import faults_2d
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.config import DataConfig
from simhand_cli.labelled.label_details import LabelDetails, label_details, labels_sha256
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.readers.coco_wholebody import CocoWholeBody
from simhand_cli.labelled.sample import LabelledSet2D, NoSuchSplit, require_3d

#: A right hand of the authors' example (evaluation/example_gt.json, picture 785): finger after finger, palm to tip.
EXAMPLE = [
    304.10366, 181.75134, 1, 300.70183, 182.77567, 1, 297.3, 183.8, 1, 294.7, 186.5, 1, 290.1, 187.8, 1,
    290.9, 176.6, 1, 287.5, 176.0, 1, 285.5, 178.4, 1, 286.4, 182.4, 1, 288.8, 179.4, 1, 285.0, 181.0, 1,
    287.3, 186.1, 1, 291.8, 189.5, 1, 287.7, 182.7, 1, 283.8, 184.1, 1, 286.5, 189.1, 1, 290.0, 192.0, 1,
    286.7, 185.3, 1, 282.8, 187.4, 1, 284.8, 191.6, 1, 288.4, 194.5, 1,
]  # fmt: skip
EXAMPLE_BOX = [280.43, 173.12, 27.860000000000014, 24.849999999999994]

NOT_IN_2D = "(side not checked, joint order roughly at most: 2D only)"

Document = dict[str, Any]


def spoil(folder: Path, split: str, change: Callable[[Document], None]) -> None:
    path = annotation_file(folder, split)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_every_valid_hand_carries_its_own_joints(tmp_path: Path) -> None:
    truth = write_mini(tmp_path, "train")
    assert recognise(tmp_path) == "coco_wholebody"
    train = open_labelled(tmp_path, "train")
    assert isinstance(train, LabelledSet2D)
    # Of six pictures with two people each, one with both hands and one with a left one; the crowd is nobody.
    assert len(train) == len(truth) == 6 * 3
    assert not train.problems()
    joints_px, (joints_mm, valid) = train.joints_px(), train.joints()
    assert np.isnan(joints_mm).all()
    seen = set()
    for index in range(len(train)):
        sample = train[index]
        name, annotation, side = sample.sample_id.split(",")
        seen.add(key := (name, int(annotation), side))
        assert (sample.hand, sample.subject, sample.sequence) == (side, "unknown", name)
        assert np.isnan(sample.joints_mm).all()
        assert np.isnan(sample.intrinsics).all()
        for j, joint in enumerate(NAMES):
            labelled = joint in truth[key].labelled
            assert sample.joint_valid[j] == valid[index, j] == labelled
            expected = truth[key].px[joint] if labelled else (np.nan, np.nan)
            np.testing.assert_allclose(sample.joints_px[j], expected, atol=1e-4)
        np.testing.assert_array_equal(sample.joints_px.astype(np.float32), joints_px[index])
        x, y = np.round(sample.joints_px[NAMES.index("middle1")]).astype(int)
        assert sample.image_rgb[y, x].min() > 200, "the dot drawn at the middle knuckle"
        mirrored = sample.as_right()
        x, y = np.round(mirrored.joints_px[NAMES.index("middle1")]).astype(int)
        assert mirrored.image_rgb[y, x].min() > 200
    assert seen == set(truth)
    assert list(train.sequences) == [train[k].sequence for k in range(len(train))]
    details = label_details(train)
    assert details.size_px is not None
    assert {tuple(size) for size in details.size_px.tolist()} == {(320, 240)}
    assert check_labels(train, tmp_path).usable.all()
    assert pickle.loads(pickle.dumps(train))[3].sample_id == train[3].sample_id


def test_the_published_example_reads_as_a_hand(tmp_path: Path) -> None:
    """Of the example hand, every finger's joints follow each other away from the wrist, as docs/conventions.md says."""
    write_mini(tmp_path, "val", people=2)

    def change(document: Document) -> None:
        document["annotations"][0] |= {"righthand_kpts": EXAMPLE, "righthand_box": EXAMPLE_BOX}
        document["images"][0] |= {"width": 640, "height": 425}

    spoil(tmp_path, "val", change)
    val = CocoWholeBody(tmp_path, "val")
    (index,) = [k for k in range(len(val)) if val[k].hand == "right"]
    px = val[index].joints_px
    np.testing.assert_allclose(px[0], (304.10366, 181.75134), rtol=1e-6)
    np.testing.assert_allclose(px[20], (288.4, 194.5), rtol=1e-6)
    for finger in range(5):
        chain = px[[0, *range(1 + 4 * finger, 5 + 4 * finger)]]
        bones = np.linalg.norm(np.diff(chain, axis=0), axis=1)
        others = [np.linalg.norm(px[4 * finger + 4] - px[k]) for k in range(1, 21, 4) if k != 4 * finger + 1]
        assert bones[1:].max() < np.mean(others) + bones[1:].mean(), "bones of a finger are short beside the palm"
    assert check_labels(val, tmp_path).usable[index]


def test_splits(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    with pytest.raises(NoSuchSplit, match=r"annotations/coco_wholebody_train_v1\.0\.json is missing"):
        open_labelled(tmp_path, "train")
    with pytest.raises(NoSuchSplit, match="'test' are not public: use --split val"):
        open_labelled(tmp_path, "test")
    with pytest.raises(NoSuchSplit, match="splits 'train' and 'val', not 'demo'"):
        open_labelled(tmp_path, "demo")
    assert len(open_labelled(tmp_path, "val")) == 18


def test_missing_pictures_and_unknown_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    write_mini(tmp_path, "train")
    gone = tmp_path / "train2017" / "000000397007.jpg"
    gone.unlink()
    spoil(tmp_path, "train", lambda document: document["annotations"][-2].update(image_id=5))
    train = CocoWholeBody(tmp_path, "train")
    assert len(train) == 18 - 3 - 1
    unknown, missing = train.left_out()
    assert (unknown.count, list(unknown.names)) == (1, ["picture 5"])
    assert (missing.count, missing.why, set(missing.names)) == (3, "picture is missing", {gone.name})
    for picture in (tmp_path / "train2017").iterdir():
        picture.unlink()
    with pytest.raises(InputProblem, match=r"none of the pictures that .*train_v1\.0\.json names is there, first: "):
        open_labelled(tmp_path, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].pop("righthand_valid"), r"annotations\[0\] has no righthand_valid"),
        (lambda d: d["annotations"][0]["lefthand_kpts"].pop(), r"\[0\] is damaged: lefthand_kpts is not 63 numbers"),
        (lambda d: d["annotations"][1].update(lefthand_box=[1, 2]), "lefthand_box is not 4 numbers"),
        (lambda d: d["images"][0].pop("file_name"), r"images\[0\] has no file_name"),
        (lambda d: [a.update(image_id=1) for a in d["annotations"]], r"that it does not list \(picture 1\)"),
        (lambda d: [a.update(lefthand_valid=0, righthand_valid=0) for a in d["annotations"]], "'val' is empty"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, change: Callable[[Document], None], message: str) -> None:
    write_mini(tmp_path, "val", people=4)
    spoil(tmp_path, "val", change)
    with pytest.raises(InputProblem, match=message) as raised:
        open_labelled(tmp_path, "val")
    assert "\n" not in str(raised.value)


def test_valid_hands_without_a_usable_label_are_left_out_by_name(tmp_path: Path) -> None:
    """None labelled, a visibility of NaN, a box of NaN: three hands, each for its own reason."""
    write_mini(tmp_path, "train")

    def change(document: Document) -> None:
        people = document["annotations"]
        people[2]["lefthand_kpts"] = [0.0] * 63
        people[3]["lefthand_kpts"][5] = float("nan")
        people[4]["righthand_box"][2] = float("nan")

    spoil(tmp_path, "train", change)
    train = CocoWholeBody(tmp_path, "train")
    assert len(train) == 18 - 3
    assert {(entry.why, *entry.names) for entry in train.left_out()} == {
        ("called valid, but no joint is labelled", "annotation 902,left"),
        ("damaged: a joint's visibility is not a finite number", "annotation 903,left"),
        ("damaged: the box is not four finite numbers", "annotation 904,right"),
    }
    summary = data(DataConfig(action="check", path=tmp_path, workspace=tmp_path / "ws", samples_shown=0))
    assert summary.problems == 3
    assert not summary.data["train"]["faults"]
    assert "'simhand finetune' leaves out 3 of 18 samples" in summary.hint


def test_a_split_other_than_train_and_test_is_for_either_command(tmp_path: Path) -> None:
    write_mini(tmp_path, "val")
    call = DataConfig(action="check", path=tmp_path, workspace=tmp_path / "ws", samples_shown=0)
    assert data(call).hint == (
        f"simhand evaluate --data {tmp_path} --split val; or its labels are 2D only: simhand finetune "
        f"--data A_SET_WITH_3D_LABELS --data {tmp_path} --split val {NOT_IN_2D}"
    )
    spoil(tmp_path, "val", outside)
    assert data(call).hint == (
        "look at the sheet; 'simhand finetune --split val' leaves out 1 of 18 samples; "
        f"'simhand evaluate --split val' leaves out 0 of 18 samples {NOT_IN_2D}"
    )


def kpts(document: Document, person: int, hand: str = "lefthand") -> np.ndarray:
    return np.array(document["annotations"][person][f"{hand}_kpts"]).reshape(21, 3)


def put(document: Document, person: int, values: np.ndarray) -> None:
    document["annotations"][person]["lefthand_kpts"] = values.ravel().tolist()


def nan(document: Document) -> None:
    put(document, 2, kpts(document, 2) * np.where(np.arange(21) == 5, np.nan, 1)[:, None] ** [1, 1, 0])


def few(document: Document) -> None:
    put(document, 2, kpts(document, 2) * (np.arange(21) < 9)[:, None])


def point(document: Document) -> None:
    put(document, 2, np.tile(kpts(document, 2)[:1], (21, 1)))


def outside(document: Document) -> None:
    document["annotations"][2]["lefthand_box"][0] += 300
    put(document, 2, kpts(document, 2) + np.array([300, 0, 0]))


def box(document: Document) -> None:
    document["annotations"][2]["lefthand_box"] = [0.0, 0.0, 3.0, 3.0]


def repeated(document: Document) -> None:
    """The left hand of a person again as the one of the next person in the picture."""
    person, other = document["annotations"][2], document["annotations"][3]
    other |= {name: person[name] for name in ("lefthand_kpts", "lefthand_box")}


@pytest.mark.parametrize(
    ("change", "kind", "row"),
    [(nan, "not-finite", 4), (few, "too-few", 4), (point, "point", 4), (outside, "outside", 4), (box, "box", 4),
     (repeated, "repeated", 5)],
)  # fmt: skip
def test_a_label_that_cannot_be_right_is_found_in_2d(
    tmp_path: Path, change: Callable[[Document], None], kind: str, row: int
) -> None:
    """Row 4 is the left hand of the third person, row 5 that of the fourth."""
    write_mini(tmp_path, "train")
    digest = labels_sha256(open_labelled(tmp_path, "train"))
    spoil(tmp_path, "train", change)
    summary = data(DataConfig(action="check", path=tmp_path, workspace=tmp_path / "ws"))
    assert [(fault["kind"], fault["samples"]) for fault in summary.data["train"]["faults"]] == [(kind, [row])]
    train = open_labelled(tmp_path, "train")
    keeps = check_labels(train, tmp_path, keep_out_of_view=True).usable.all()
    assert keeps == (kind == "outside")
    assert np.flatnonzero(~check_labels(train, tmp_path).usable).tolist() == [row]
    assert (labels_sha256(train) == digest) == (kind == "box")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values / [320, 240, 1], "are the joints in pixels?"),
        (lambda values: values + np.array([320, 0, 0]), "the joints do not fall into the pictures: pictures resized"),
        (lambda values: values * (np.arange(21) < 5)[:, None], "no sample has finite labels of 10 joints"),
    ],
)
def test_a_set_wrong_as_a_whole_is_refused(tmp_path: Path, change: Callable[..., Any], message: str) -> None:
    write_mini(tmp_path, "train")

    def all_of_them(document: Document) -> None:
        for person in document["annotations"]:
            for hand in ("lefthand", "righthand"):
                values = np.array(person[f"{hand}_kpts"]).reshape(21, 3)
                person[f"{hand}_kpts"] = change(values).ravel().tolist()

    spoil(tmp_path, "train", all_of_them)
    with pytest.raises(InputProblem, match=f"--data {tmp_path}: .*{message[:30]}"):
        check_labels(open_labelled(tmp_path, "train"), tmp_path)


def test_data_check_says_what_does_not_apply(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_mini(tmp_path, split)
    (tmp_path / "val2017" / "000000397000.jpg").unlink()
    (tmp_path / "val2017" / "000000397014.jpg").write_bytes(b"no picture")
    summary = data(DataConfig(action="check", path=tmp_path, workspace=tmp_path / "ws"))
    facts = summary.facts
    assert (facts["layout"], facts["splits"]) == ("coco_wholebody", "train, val")
    assert facts["train: right / left hands"] == "6 / 12"
    assert facts["train: joints labelled"] == f"{(12 * 21 + 6 * 17) / (18 * 21):.1%}, all 21 in 66.7% of the samples"
    px = CocoWholeBody(tmp_path, "train").joints_px()
    sides = [max(np.nanmax(hand[:, axis]) - np.nanmin(hand[:, axis]) for axis in (0, 1)) for hand in px]
    assert facts["train: larger side of the joints' box (px)"].startswith(f"{np.median(sides):.4g} ")
    flat = {name.removeprefix("train: ") for name, value in facts.items() if value == "not applicable: 2D only"}
    assert flat >= {"hand span (mm)", "distance of the wrist (mm)"}
    assert facts["train: checks of unit, side, depth and K"] == "not checked: 2D only"
    assert facts["train: check of joint order"] == "not checked: 2D only, fewer than 50 hands"
    assert summary.hint.endswith(NOT_IN_2D)
    assert [(found.count, found.why[:26]) for found in summary.dropped] == [
        (3, "picture is missing"), (3, "picture missing or damaged"),
    ]  # fmt: skip
    assert "2D only" in data(DataConfig(action="check", path=tmp_path, split="train", samples_shown=0)).hint
    sheet = cv2.imread(str(summary.outputs["samples"]))
    assert (np.ptp(sheet[60:250, 20:180].reshape(-1, 3).astype(int), axis=0) > 100).all(), "a coloured skeleton"


def test_pictures_of_unstated_size_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Without K there is no camera whose pictures are of one size."""
    write_mini(tmp_path, "train")

    def no_sizes(document: Document) -> None:
        for image in document["images"]:
            del image["width"], image["height"]

    spoil(tmp_path, "train", no_sizes)
    for number in (0, 7):
        path = tmp_path / "train2017" / f"{397000 + number:012d}.jpg"
        cv2.imwrite(str(path), np.zeros((300, 400 + number, 3), np.uint8))
    summary = data(DataConfig(action="check", path=tmp_path, samples_shown=0, workspace=tmp_path / "ws"))
    assert summary.problems == 0
    assert "407x300" in summary.facts["train: picture sizes (px)"]


def order_found(joints_px: np.ndarray, valid: np.ndarray) -> list[str]:
    """What is said of the order of joints in 2D."""
    count = len(joints_px)
    details = LabelDetails(
        samples=np.arange(count), right=np.ones(count, bool), intrinsics=np.full((count, 3, 3), np.nan),
        cameras=["unknown"] * count,
    )  # fmt: skip
    names = [str(k) for k in range(count)]
    faults = faults_2d(joints_px, valid, names, details, np.zeros((count, 2), np.int64))
    return [fault.refusal for fault in faults if fault.kind == "joint-order"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_joint_order_is_named_from_2d_lengths(seed: int) -> None:
    joints, _ = posed_hands(300, seed)
    projected = joints @ K.T
    px = projected[..., :2] / projected[..., 2:] * np.random.default_rng(seed).uniform(0.3, 3, (300, 1, 1))
    valid = np.random.default_rng(seed).random((300, 21)) > 0.1
    assert order_found(px, valid) == []
    for name, order in KNOWN_ORDERS.items():
        stored = list(order)
        (told,) = order_found(px[:, stored], valid[:, stored])
        assert told.startswith(f"the joints look like {name}, not like wrist")
        taken = json.loads(told.partition("joints[:, ")[2].removesuffix("]"))
        np.testing.assert_array_equal(px[:, stored][:, taken], px)
        assert order_found(px[:49, stored], valid[:49, stored]) == [], "too few hands"


@pytest.mark.slow
def test_a_right_joint_order_is_not_refused_for_its_views() -> None:
    """Fingers along the line of sight, palms seen flat or edge on, fists: no other order is named; nor for noise."""
    joints, _ = posed_hands(1500, 9)
    projected = joints @ K.T
    px = projected[..., :2] / projected[..., 2:]
    middle, thumb_side = joints[:, 9] - joints[:, 0], joints[:, 5] - joints[:, 17]
    along = np.abs(middle[:, 2]) / np.linalg.norm(middle, axis=1)
    normal = np.cross(middle, thumb_side)
    facing = normal[:, 2] / np.linalg.norm(normal, axis=1)
    curl = np.linalg.norm(joints[:, [8, 12, 16, 20]] - joints[:, :1], axis=2).mean(axis=1)
    chosen = (along > 0.8, along < 0.2, np.abs(facing) > 0.85, np.abs(facing) < 0.2, facing > 0.6, facing < -0.6,
              curl < np.quantile(curl, 0.1), curl > np.quantile(curl, 0.9))  # fmt: skip
    for rows in chosen:
        assert rows.sum() >= 50
        assert order_found(px[rows], np.ones((rows.sum(), 21), bool)) == []
    noise = np.random.default_rng(0).normal(0, 60, px.shape)
    for spoilt in (px + noise / 6, noise):
        assert order_found(spoilt, np.ones(px.shape[:2], bool)) == []


def test_what_needs_3d_refuses_it_in_one_line(tmp_path: Path) -> None:
    from simhand_cli.evaluation.predict.mean_hands import find_training_hands
    from simhand_cli.features.sides import open_side

    write_mini(tmp_path, "train")
    train = open_labelled(tmp_path, "train")
    with pytest.raises(InputProblem, match=f"--data {tmp_path}: its labels are 2D only, and that needs more"):
        require_3d(train, tmp_path, "that needs more")
    for refuse in (lambda: find_training_hands(tmp_path), lambda: open_side(tmp_path, "train", 10, 0)):
        with pytest.raises(InputProblem, match="its labels are 2D only, and a "):
            refuse()
