"""The adapter's conventions on real pictures, and the detect and keypoints stages."""

from pathlib import Path

import numpy as np
import pytest

from simhand_cli.commands.detect import detect
from simhand_cli.commands.ingest import ingest
from simhand_cli.commands.keypoints import keypoints
from simhand_cli.crops.crop_set import load_crop_set, read_crops
from simhand_cli.crops.geometry import (
    apply_affine,
)
from simhand_cli.errors import EnvironmentProblem, InputProblem, UsageProblem
from simhand_cli.hands.config import DetectConfig, KeypointsConfig
from simhand_cli.hands.keypoints import closest_hand, usable
from simhand_cli.hands.landmarker_file import find_landmarker
from simhand_cli.hands.mediapipe_landmarker import DetectedHand, HandLandmarkerAdapter
from simhand_cli.health.shards import check_shards
from simhand_cli.video.config import IngestConfig
from simhand_cli.video.decode import iterate_frames
from simhand_cli.workspace.catalog import Catalog, StageRecord
from simhand_cli.workspace.paths import Workspace
from simhand_cli.workspace.shards import open_h5
from tests.conftest import write_video


def test_model_file_is_checked(tmp_path: Path, monkeypatch) -> None:
    assert find_landmarker().name == "hand_landmarker.task"
    with pytest.raises(EnvironmentProblem, match="no such file"):
        find_landmarker(tmp_path / "x.task")
    wrong = tmp_path / "hand_landmarker.task"
    wrong.write_bytes(b"x")
    with pytest.raises(EnvironmentProblem, match="has sha256"):
        find_landmarker(wrong)
    monkeypatch.setenv("SIMHAND_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("simhand_cli.hands.landmarker_file.MODEL_PACKAGE", "no-such-package")
    with pytest.raises(EnvironmentProblem, match="sha256 fbc2a300"):
        find_landmarker()


def test_handedness_and_landmarks_on_a_real_right_hand(real_data: Path) -> None:
    """A recorded frame: an unmirrored right hand, palm to the camera, fingers up; thumb to the right of the picture."""
    frame = next(iterate_frames(real_data / "videos" / "dex_human_hand_video.mp4", np.array([100])))
    with HandLandmarkerAdapter() as adapter:
        (hand,) = adapter.detect(frame.image_rgb)
        (mirrored,) = adapter.detect(np.ascontiguousarray(frame.image_rgb[:, ::-1]))
        (cut,) = adapter.detect(np.ascontiguousarray(frame.image_rgb[:, 400:]))
    assert hand.handedness == "right"
    assert mirrored.handedness == "left"
    width = frame.image_rgb.shape[1]
    flipped = mirrored.landmarks_px * [-1, 1] + [width - 1, 0]
    assert np.linalg.norm(flipped - hand.landmarks_px, axis=1).mean() < 10
    assert np.linalg.norm(cut.landmarks_px + np.array([400, 0]) - hand.landmarks_px, axis=1).mean() < 10
    # Recorded landmarks (pixels) of this frame: a change of the estimator shows here.
    recorded = {0: (780, 402), 4: (898, 223), 8: (773, 149), 12: (706, 169), 20: (615, 254)}
    for joint, xy in recorded.items():
        assert np.linalg.norm(hand.landmarks_px[joint] - xy) < 15, (joint, hand.landmarks_px[joint])
    span_mm = np.linalg.norm(hand.world_mm[12] - hand.world_mm[0])
    assert 120 < span_mm < 220


def _hand(offset: float, side: str = "right") -> DetectedHand:
    joints = np.stack([np.linspace(50, 150, 21), np.linspace(60, 140, 21)], axis=1) + offset
    return DetectedHand(joints, np.zeros((21, 3)), side, 0.9)


def test_the_crop_s_own_hand_is_chosen() -> None:
    expected = _hand(0).landmarks_px.astype(np.float32)
    near, far = _hand(3), _hand(80)
    assert closest_hand([far, near], expected) is near
    assert closest_hand([far], expected) is None
    assert closest_hand([_hand(1, "left")], expected) is None
    assert closest_hand([], expected) is None


def test_unusable_keypoints() -> None:
    good = _hand(0).landmarks_px.astype(np.float32)
    nan = good.copy()
    nan[3, 0] = np.nan
    assert usable(np.stack([good, nan, good * 0 + 50, good + 500]), 224).tolist() == [True, False, False, False]


@pytest.fixture(scope="module")
def real_workspace(real_data: Path, tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("real") / "ws"
    names = ["subhi/session_46.mp4", "subhi/session_25.mp4", "intel_asl/S1_help.mkv", "sam2_04_coffee.mp4"]
    ingest(IngestConfig(paths=[real_data / "videos" / n for n in names], fps=3, workspace=root))
    detect(DetectConfig(workspace=root))
    keypoints(KeypointsConfig(workspace=root))
    return Workspace(root)


@pytest.mark.slow
def test_crops_and_keypoints_of_real_clips(real_workspace: Workspace) -> None:
    crops = load_crop_set(real_workspace)
    assert (crops.handedness == 0).sum() == (crops.handedness == 1).sum() > 10
    assert len(crops.video_ids) >= 3
    assert crops.keypoints_px[crops.valid].min() > -112
    for video_id in crops.video_ids:
        with open_h5(real_workspace.crops_shard(video_id), "simhand.crops", 1) as file:
            boxes, affines = file["box_xyxy_px"][:], file["frame_from_crop"][:]
            mirrored, inside = file["mirrored"][:], file["inside_xyxy_px"][:]
            in_crop = file["landmarks_px"][:]
        with open_h5(real_workspace.keypoints_shard(video_id), "simhand.keypoints", 1) as file:
            joints = file["keypoints_px"][:]
        back = np.stack([apply_affine(a, k) for a, k in zip(affines, in_crop, strict=True)])
        np.testing.assert_allclose(np.concatenate([back.min(1), back.max(1)], axis=1), boxes, atol=0.05)
        size = np.ptp(in_crop, axis=1).max(axis=1)
        np.testing.assert_allclose(size, 112, atol=0.5)  # the margin: the hand's box fills half of the 224 px
        distance = np.linalg.norm(joints - in_crop, axis=2).mean(axis=1)
        assert (distance < 0.31 * size).all()
        assert (np.sign(affines[:, 0, 0]) == np.where(mirrored, -1, 1)).all()
        assert (inside[:, 2] > inside[:, 0]).all()
        pictures = read_crops(real_workspace, video_id, range(len(boxes)))
        for picture, box in zip(pictures, inside, strict=True):
            outside = np.ones((224, 224), bool)
            x0, y0, x1, y1 = np.round(box).astype(int)
            outside[max(0, y0 - 8) : y1 + 9, max(0, x0 - 8) : x1 + 9] = False
            assert not outside.any() or picture[outside].max() < 40  # JPEG ringing aside


@pytest.mark.slow
def test_damage_and_unfinished_work_are_noticed(real_workspace: Workspace, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(real_workspace.root, root)
    assert check_shards(root).ok
    assert load_crop_set(Workspace(root)).waiting == {"detect": [], "keypoints": []}
    first = sorted((root / "crops").glob("*.h5"))[0]
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    found = check_shards(root)
    assert not found.ok
    assert first.name in found.finding
    with Catalog(root / "catalog.sqlite") as catalog:
        catalog.record_stage("keypoints", StageRecord(first.stem, "failed", reason="damaged"))
    waiting = load_crop_set(Workspace(root)).waiting
    assert (len(waiting["detect"]), len(waiting["keypoints"])) == (0, 1)


@pytest.mark.slow
def test_stages_do_not_repeat_and_refuse_changes(real_workspace: Workspace, monkeypatch) -> None:
    monkeypatch.setattr("simhand_cli.stages.video_stage.run_pool", lambda *a, **k: pytest.fail("done again"))
    detect(DetectConfig(workspace=real_workspace.root))
    keypoints(KeypointsConfig(workspace=real_workspace.root))
    with pytest.raises(UsageProblem, match="margin"):
        detect(DetectConfig(workspace=real_workspace.root, margin=1.5))


@pytest.mark.slow
def test_videos_without_hands(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4")
    ingest(IngestConfig(paths=[tmp_path / "v.mp4"], workspace=tmp_path / "ws", workers=1))
    with pytest.raises(InputProblem, match="no hand was found in any of 1 videos"):
        detect(DetectConfig(workspace=tmp_path / "ws", workers=1))
