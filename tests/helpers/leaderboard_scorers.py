"""The benchmarks' scorers, written again from their description, one number at a time; nothing of simhand is called.

FreiHAND (``eval.py``): metres; unaligned, and after Procrustes alignment with scale and reflections; a keypoint's
error is averaged over images, then over keypoints; PCK with ``<=`` at 100 thresholds from 0 to 0.05 m, trapezoids.
Means are reported in cm. DexYCB (``hpe_eval.py``): millimetres; the same absolute, minus the wrist, and aligned; images
without a hand are left out, every other image must be there. AssemblyHands' toolkit: each hand minus its wrist, errors
of valid joints averaged by joint of the right and of the left hand, then over the joints that have any. Its challenge's
file: both hands of every frame in the world; a hand that the data file has no box of is blank and does not count. How
the challenge's server aligns is not published: here as the toolkit does, or not at all.
"""

import json
import math
from pathlib import Path

import numpy as np
import slow_reference as slow


def _summary(pairs: list[tuple[np.ndarray, np.ndarray]], high: float) -> tuple[float, float]:
    """(mean, AUC) of (prediction, truth) pairs of (21, 3)."""
    predictions, truths = (np.stack(column) for column in zip(*pairs, strict=True))
    everything = np.ones(truths.shape[:2], dtype=bool)
    thresholds = [high * k / 99 for k in range(100)]
    return slow.mpjpe(predictions, truths, everything), slow.auc(predictions, truths, everything, thresholds)


def score_freihand(prediction: Path, truth: Path) -> dict[str, float]:
    """Scores of a ``pred.json`` against ``evaluation_xyz.json``, under the names of ``scores.txt``; means in cm."""
    xyz, verts = json.loads(prediction.read_text())
    truths = [np.array(hand) for hand in json.loads(truth.read_text())]
    assert len(xyz) == len(verts) == len(truths), "Expected format mismatch"
    assert all(np.shape(mesh) == (778, 3) for mesh in verts)
    plain = [(np.array(hand), gt) for hand, gt in zip(xyz, truths, strict=True)]
    aligned = [(slow.freihand_align(hand, gt, eps=1e-8), gt) for hand, gt in plain]
    (mean, auc), (mean_al, auc_al) = _summary(plain, 0.05), _summary(aligned, 0.05)
    return {"xyz_mean3d": 100 * mean, "xyz_auc3d": auc, "xyz_al_mean3d": 100 * mean_al, "xyz_al_auc3d": auc_al}


def read_dexycb(prediction: Path) -> dict[int, np.ndarray]:
    """image id -> (21, 3) mm of a result file."""
    found = {}
    for line in prediction.read_text().splitlines():
        fields = line.split(",")
        assert len(fields) == 64, line
        found[int(fields[0])] = np.array([float(field) for field in fields[1:]]).reshape(21, 3)
    return found


def score_dexycb(prediction: Path, labels_m: dict[int, np.ndarray]) -> dict[str, tuple[float, float]]:
    """(MPJPE mm, AUC) of a result file against image id -> joints (21, 3) in metres, -1 where there is no hand."""
    found = read_dexycb(prediction)
    pairs = []
    for image_id, joints_m in labels_m.items():
        if (joints_m == -1).all():
            continue
        assert image_id in found, f"missing image id {image_id}"
        pairs.append((found[image_id], (joints_m * np.float32(1000)).astype(np.float64)))
    return {
        "absolute": _summary(pairs, 50.0),
        "root-relative": _summary([(p - p[0], gt - gt[0]) for p, gt in pairs], 50.0),
        "procrustes": _summary([(slow.freihand_align(p, gt, eps=1e-8), gt) for p, gt in pairs], 50.0),
    }


def score_assemblyhands(hands: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """MPJPE in mm of (side, prediction (21, 3), truth (21, 3), valid (21,)), wrist first, camera frame."""
    errors: dict[tuple[str, int], list[float]] = {}
    for side, prediction, truth, valid in hands:
        for joint in range(21):
            if valid[joint]:
                gap = math.dist(prediction[joint] - prediction[0], truth[joint] - truth[0])
                errors.setdefault((side, joint), []).append(gap)
    return sum(sum(one) / len(one) for one in errors.values()) / len(errors)


def score_world_coord(prediction: Path, truth: Path, data: Path, *, relative: bool = True) -> float:
    """MPJPE in mm of a file in the layout of ``joint_3d`` against the annotation; ``data`` names the hands in view."""
    found, labels = (json.loads(path.read_text())["annotations"] for path in (prediction, truth))
    pictures = json.loads(data.read_text())
    frame_of = {one["id"]: (one["seq_name"], f"{one['frame_idx']:06d}") for one in pictures["images"]}
    boxed = {
        (*frame_of[one["image_id"]], side)
        for one in pictures["annotations"]
        for side, box in one["bbox"].items()
        if box is not None
    }
    errors: dict[int, list[float]] = {}
    for sequence, frames in labels.items():
        assert list(frames) == list(found[sequence]), "frame indices must match"
        for frame, label in frames.items():
            predicted, true = found[sequence][frame]["world_coord"], label["world_coord"]
            assert np.shape(predicted) == (42, 3), "two hands a frame"
            for joint in range(42):
                wrist = 20 if joint < 21 else 41
                if (sequence, frame, "right" if joint < 21 else "left") in boxed and label["joint_valid"][joint]:
                    origins = (predicted[wrist], true[wrist]) if relative else ([0.0] * 3, [0.0] * 3)
                    gap = [
                        (predicted[joint][axis] - origins[0][axis]) - (true[joint][axis] - origins[1][axis])
                        for axis in range(3)
                    ]
                    errors.setdefault(joint, []).append(math.hypot(*gap))
    return sum(sum(one) / len(one) for one in errors.values()) / len(errors)
