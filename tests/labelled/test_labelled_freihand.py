import json

import cv2
import numpy as np
import pytest
from mini_freihand import write_mini_freihand

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels, hand_spans_mm
from simhand_cli.labelled.files.json_numbers import read_json_numbers
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.readers.freihand import VARIANTS, FreiHand
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet


@pytest.fixture
def mini(tmp_path):
    root = tmp_path / "FreiHAND_pub_v2"
    return root, write_mini_freihand(root)


def test_index_mapping_units_and_variants(mini):
    root, made = mini
    labelled = open_labelled(root, "train")
    assert isinstance(labelled, LabelledSet)
    assert recognise(root) == "freihand"
    assert len(labelled) == 20
    for index in (0, 4, 5, 13, 19):
        sample = labelled[index]
        assert sample.sample_id == f"{index:08d}"
        assert sample.camera == VARIANTS[index // 5]
        assert sample.sequence == labelled.sequences[index] == f"{index % 5:08d}"
        assert sample.hand == "right"
        assert sample.subject == UNKNOWN_SUBJECT
        np.testing.assert_allclose(sample.joints_mm, made["xyz"][index % 5] * 1000, rtol=1e-6)
        joints, _ = cv2.projectPoints(made["xyz"][index % 5], np.zeros(3), np.zeros(3), made["K"][index % 5], None)
        np.testing.assert_allclose(sample.joints_px, joints[:, 0], atol=1e-3)
    # the background tells the variant: 20 + 40 * variant
    assert [int(labelled[i * 5].image_rgb[1, 1].mean().round()) for i in range(4)] == [20, 60, 100, 140]
    joints_mm, valid = labelled.joints()
    np.testing.assert_array_equal(joints_mm[13], joints_mm[3])
    assert valid.all()
    assert check_labels(labelled, root).usable.all()


def test_evaluation_split_and_its_labels_elsewhere(mini):
    root, made = mini
    test = open_labelled(root, "test")
    assert len(test) == 3
    np.testing.assert_allclose(test[2].joints_mm, made["test_xyz"][2] * 1000, rtol=1e-6)
    other = root.parent / "FreiHAND_pub_v2_eval"
    other.mkdir()
    (root / "evaluation_xyz.json").rename(other / "evaluation_xyz.json")
    np.testing.assert_array_equal(open_labelled(root, "test").joints()[0], test.joints()[0])
    (other / "evaluation_xyz.json").unlink()
    with pytest.raises(InputProblem, match=r"evaluation_xyz\.json is missing"):
        open_labelled(root, "test")


def test_extras(mini):
    root, _ = mini
    sample = FreiHand(root, "train", extras=True)[7]
    assert sample.vertices_mm.shape == (778, 3)
    assert sample.mano.shape == (61,)
    verts = json.loads((root / "training_verts.json").read_text())
    np.testing.assert_allclose(sample.vertices_mm, np.array(verts[2]) * 1000, rtol=1e-5)
    assert sample.mask.shape == (224, 224)
    wrist = np.round(sample.joints_px[9]).astype(int)
    assert sample.mask[wrist[1], wrist[0]]
    assert not sample.mask[1, 1]


def test_missing_image_is_counted_and_never_replaced(mini):
    root, _ = mini
    (root / "training" / "rgb" / "00000007.jpg").unlink()
    labelled = open_labelled(root, "train")
    assert len(labelled) == 19
    assert [s.sample_id for s in (labelled[6], labelled[7])] == ["00000006", "00000008"]
    (dropped,) = labelled.problems()
    assert dropped.count == 1
    assert "00000007.jpg" in dropped.what
    (root / "training" / "rgb" / "00000008.jpg").write_bytes(b"no image")
    with pytest.raises(InputProblem, match=r"00000008\.jpg: cannot be decoded"):
        labelled[7]


def test_metres_nan_and_foreign_scale_are_named(mini):
    root, made = mini
    xyz = made["xyz"].copy()
    xyz[1, 4, 2] = np.nan
    xyz[2] *= 3.0
    (root / "training_scale.json").unlink()
    (root / "training_xyz.json").write_text(json.dumps(xyz.tolist()))
    labelled = open_labelled(root, "train")
    check = check_labels(labelled, root)
    assert [i for i in range(20) if not check.usable[i]] == [1, 2, 6, 7, 11, 12, 16, 17]
    # FreiHAND labels every joint: a NaN is a damaged label, not one that is absent
    assert labelled[1].joint_valid.all()
    assert [(dropped.count, dropped.why) for dropped in check.dropped] == [
        (4, "a joint label is NaN or infinite"), (4, "hand span outside 50-300 mm"),
    ]  # fmt: skip
    (root / "training_xyz.json").write_text(json.dumps((made["xyz"] / 1000).tolist()))
    with pytest.raises(InputProblem, match="in metres"):
        check_labels(open_labelled(root, "train"), root)
    (root / "training_scale.json").write_text(json.dumps([0.03] * 5))
    with pytest.raises(InputProblem, match="v1 and v2"):
        open_labelled(root, "train")


def test_unknown_folder(tmp_path):
    with pytest.raises(InputProblem, match="no such folder"):
        open_labelled(tmp_path / "nothing")
    with pytest.raises(InputProblem, match="not a labelled set"):
        open_labelled(tmp_path)


def test_hand_span_is_the_largest_distance_of_valid_joints():
    joints = np.zeros((1, 21, 3))
    joints[0, 4] = [100, 0, 0]
    joints[0, 8] = [0, -70, 0]
    valid = np.ones((1, 21), bool)
    assert hand_spans_mm(joints, valid)[0] == pytest.approx(np.hypot(100, 70))
    valid[0, 4] = False
    assert hand_spans_mm(joints, valid)[0] == pytest.approx(70)


def test_json_numbers_equal_json_load_across_block_borders(tmp_path, monkeypatch):
    monkeypatch.setattr("simhand_cli.labelled.files.json_numbers._BLOCK_BYTES", 37)
    values = np.random.default_rng(3).normal(size=(50, 4, 3)) * 10.0 ** np.arange(-6, 6).reshape(4, 3)
    path = tmp_path / "x.json"
    for indent in (None, 1):
        path.write_text(json.dumps(values.tolist(), indent=indent))
        np.testing.assert_array_equal(read_json_numbers(path, (4, 3)), values.astype(np.float32))
    path.write_text(json.dumps(values.tolist())[:-30])
    with pytest.raises(InputProblem, match="truncated"):
        read_json_numbers(path, (4, 3))
    path.write_text('{"a": [1, 2]}')
    with pytest.raises(InputProblem, match="expected nested lists"):
        read_json_numbers(path, (1,))
    path.write_text("[1.5, 2-e, 3]")
    with pytest.raises(InputProblem):
        read_json_numbers(path, (1,))
    path.write_text("[]")
    assert read_json_numbers(path, (3, 3)).shape == (0, 3, 3)
