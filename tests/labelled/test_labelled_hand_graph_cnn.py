from pathlib import Path

import cv2
import numpy as np
import pytest

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.open import open_labelled

REAL = Path(__file__).parents[3] / "shared" / "data" / "labelled3d" / "hand_graph_cnn_real"


def _palm_side(joints_mm):
    """> 0 where the fingers curl to the side that is the palm of a right hand (y down, z forward)."""
    normal = np.cross(joints_mm[5] - joints_mm[0], joints_mm[17] - joints_mm[0])
    curl = (joints_mm[[8, 12, 16, 20]] - joints_mm[[5, 9, 13, 17]]).mean(axis=0)
    return float(normal @ curl)


def test_crop_camera_of_a_made_up_frame(tmp_path):
    """A point marked in a full frame is found where K of its resized crop projects the joint."""
    camera = np.array([600.0, 610.0, 321.0, 243.0])
    joints_cm = np.random.default_rng(0).normal(0, 4, (1, 21, 3)) + np.array([3.0, 1.0, 45.0])
    u = camera[0] * joints_cm[0, 0, 0] / joints_cm[0, 0, 2] + camera[2]
    v = camera[1] * joints_cm[0, 0, 1] / joints_cm[0, 0, 2] + camera[3]
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    frame = (255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 50)).astype(np.uint8)
    box = np.array([[int(u) - 61, int(v) - 90, 160, 160]], np.int32)
    x, y, w, h = box[0]
    crop = cv2.resize(frame[y : y + h, x : x + w], (256, 256), interpolation=cv2.INTER_LINEAR)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "00004.jpg"), crop)
    np.savez(
        tmp_path / "labels.npz",
        frame=np.array([4]),
        joints_cam_cm=joints_cm.astype(np.float32),
        cam_fx_fy_u0_v0=camera[None],
        bbox_xywh=box,
    )
    sample = open_labelled(tmp_path, "test")[0]
    weight = sample.image_rgb[..., 0].astype(float)
    weight[weight < 20] = 0
    columns, rows = np.meshgrid(np.arange(256), np.arange(256))
    seen = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(sample.joints_px[0], seen, atol=0.2)
    np.testing.assert_allclose(sample.joints_mm, joints_cm[0] * 10, rtol=1e-6)
    assert sample.hand == "left"
    with pytest.raises(InputProblem, match="'test' only"):
        open_labelled(tmp_path, "train")
    (tmp_path / "images" / "00004.jpg").unlink()
    with pytest.raises(InputProblem, match="empty"):
        open_labelled(tmp_path, "test")


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared real images are not here")
def test_real_images_project_and_are_left_hands():
    labelled = open_labelled(REAL, "test")
    assert len(labelled) == 408
    assert check_labels(labelled, REAL).usable.all()
    inside = []
    for index in range(0, 408, 40):
        sample = labelled[index]
        assert _palm_side(sample.joints_mm) < 0
        right = sample.as_right()
        assert _palm_side(right.joints_mm) > 0
        projected = right.joints_mm @ right.intrinsics.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], right.joints_px, atol=1e-9)
        inside.append(((right.joints_px > 0) & (right.joints_px < 255)).all(axis=1))
        # skin: red above blue at the middle knuckle
        x, y = np.round(right.joints_px[9]).astype(int)
        red, _, blue = right.image_rgb[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(axis=0)
        assert red > blue + 10
    assert np.mean(inside) > 0.97


def test_damaged_labels_are_named(tmp_path):
    (tmp_path / "labels.npz").write_bytes(b"PK not a zip")
    with pytest.raises(InputProblem, match="cannot be read"):
        open_labelled(tmp_path, "test")
    np.savez(tmp_path / "labels.npz", frame=np.arange(3))
    with pytest.raises(InputProblem, match="joints_cam_cm"):
        open_labelled(tmp_path, "test")
