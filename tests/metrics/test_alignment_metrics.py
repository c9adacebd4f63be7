"""Alignments, errors, PCK and AUC against plain loops, closed forms and their invariances."""

import math

import numpy as np
import pytest
import slow_reference as slow
from hypothesis import given, settings
from hypothesis import strategies as st
from pck_area import auc
from scipy.integrate import trapezoid
from scipy.spatial.transform import Rotation

from simhand_cli.metrics.alignment import align, procrustes, root_bone_scale, root_relative
from simhand_cli.metrics.joint_errors import (
    AUC_0_50,
    AUC_20_50,
    joint_errors,
    joint_means,
    mean_over_joints,
    median_error,
    pck_curve,
    sample_means,
)


def hands(count=6, seed=0, noise=12.0):
    rng = np.random.default_rng(seed)
    gt = rng.normal(0, 40, (count, 21, 3)) + rng.normal([0, 0, 600], 60, (count, 1, 3))
    pred = gt + rng.normal(0, noise, gt.shape) + rng.normal(0, 50, (count, 1, 3))
    return pred, gt, np.ones((count, 21), dtype=bool)


def error_after(name, pred, gt, valid, **options):
    return joint_errors(align(name, pred, gt, valid, **options).joints_mm, gt)


def test_alignments_equal_slow_references():
    pred, gt, valid = hands(8)
    scaled = align("root_bone_scale", pred, gt, valid).joints_mm
    reflecting = align("procrustes_scale", pred, gt, valid, allow_reflection=True).joints_mm
    rigid = align("procrustes", pred, gt, valid).joints_mm
    for i in range(len(pred)):
        np.testing.assert_allclose(scaled[i], slow.bone_scaled(pred[i], gt[i]), atol=1e-9)
        np.testing.assert_allclose(reflecting[i], slow.freihand_align(pred[i], gt[i]), atol=1e-9)
        np.testing.assert_allclose(rigid[i], slow.rigid_by_kabsch(pred[i], gt[i]), atol=1e-9)
    # The published scorer works in metres and adds 1e-8 to its norms: nothing a table would show.
    metres = slow.freihand_align(pred[0] / 1000, gt[0] / 1000, eps=1e-8) * 1000
    np.testing.assert_allclose(reflecting[0], metres, atol=1e-4)


@pytest.mark.parametrize("name", ["absolute", "root", "root_bone_scale", "procrustes", "procrustes_scale"])
def test_figures_equal_slow_loops(name):
    pred, gt, valid = hands(9, seed=3)
    valid[2, 4:7] = valid[5, 20] = False
    aligned = align(name, pred, gt, valid).joints_mm
    errors = joint_errors(aligned, gt)
    assert mean_over_joints(joint_means(errors, valid)) == pytest.approx(slow.mpjpe(aligned, gt, valid), abs=1e-9)
    for thresholds in (AUC_20_50, AUC_0_50):
        expected = slow.auc(aligned, gt, valid, thresholds.values())
        assert auc(errors, valid, thresholds) == pytest.approx(expected, abs=1e-9)
        curve = pck_curve(errors, valid, thresholds.values())
        area = trapezoid(curve, thresholds.values()) / (thresholds.high - thresholds.low)
        assert auc(errors, valid, thresholds) == pytest.approx(area, abs=1e-9)


def test_by_hand_one_joint_off():
    gt = np.zeros((1, 21, 3))
    gt[0, :, 0] = np.arange(21) * 10.0
    pred = gt.copy()
    pred[0, 9] += [3.0, 4.0, 0.0]  # 5 mm off at the middle MCP
    valid = np.ones((1, 21), dtype=bool)
    errors = error_after("root", pred, gt, valid)
    assert errors[0, 9] == pytest.approx(5.0)
    assert mean_over_joints(joint_means(errors, valid)) == pytest.approx(5.0 / 21)
    assert median_error(errors, valid) == 0.0
    assert sample_means(errors, valid)[0] == pytest.approx(5.0 / 21)
    # The bone of 90 mm was predicted as |(93, 4)|: everything else shrinks by that ratio.
    scale = 90 / math.hypot(93, 4)
    assert error_after("root_bone_scale", pred, gt, valid)[0, 20] == pytest.approx(200 * (1 - scale))


@pytest.mark.parametrize(("error", "expected"), [(10.0, 1.0), (20.0, 1.0), (20.001, None), (50.0, None), (50.1, 0.0)])
def test_auc_of_a_constant_error_closed_form(error, expected):
    """PCK jumps from 0 to 1 at the first threshold >= error; the trapezoid before the jump counts half."""
    errors, valid = np.full((4, 21), error), np.ones((4, 21), dtype=bool)
    step = 30 / 14
    first = math.ceil((error - 20) / step - 1e-12)
    closed = 1.0 if first <= 0 else 0.0 if first > 14 else (14 - first + 0.5) * step / 30
    assert auc(errors, valid, AUC_20_50) == pytest.approx(closed, abs=1e-12)
    if expected is not None:
        assert closed == expected


def test_missing_predictions_are_misses_but_not_errors():
    pred, gt, valid = hands(4)
    pred[1] = np.nan
    for name in ("root", "root_bone_scale", "procrustes", "procrustes_scale"):
        errors = error_after(name, pred, gt, valid)
        assert np.isnan(errors[1]).all()
        others = np.delete(errors, 1, axis=0)
        assert np.isfinite(others).all()
        np.testing.assert_allclose(joint_means(errors, valid), others.mean(axis=0))
        expected = auc(others, valid[:3], AUC_0_50) * 3 / 4
        assert auc(errors, valid, AUC_0_50) == pytest.approx(expected)


def test_invalid_ground_truth_is_not_scored():
    pred, gt, valid = hands(5)
    valid[0, 0] = valid[1, 9] = False
    valid[2, 2:] = False
    gt[3, 9] = gt[3, 0]
    assert align("root", pred, gt, valid).scored.tolist() == [False, True, True, True, True]
    assert align("root_bone_scale", pred, gt, valid).scored.tolist() == [False, False, False, False, True]
    assert align("procrustes", pred, gt, valid).scored.tolist() == [True, True, False, True, True]


def test_invalid_joints_do_not_take_part_in_procrustes():
    pred, gt, valid = hands(2)
    valid[:, 5] = False
    before = procrustes(pred, gt, valid).joints_mm
    pred[:, 5] += 500.0
    gt[:, 5] = np.nan
    np.testing.assert_allclose(
        np.delete(procrustes(pred, gt, valid).joints_mm, 5, axis=1), np.delete(before, 5, axis=1)
    )


def test_degenerate_predictions_stay_finite_and_are_flagged():
    _, gt, valid = hands(3)
    point = np.zeros_like(gt)
    line = np.zeros_like(gt)
    line[..., 0] = np.arange(21)
    assert root_bone_scale(point, gt, valid).degenerate.all()
    np.testing.assert_allclose(root_bone_scale(point, gt, valid).joints_mm, np.repeat(gt[:, :1], 21, axis=1))
    for pred in (point, line):
        for with_scale in (False, True):
            for reflection in (False, True):
                result = procrustes(pred, gt, valid, with_scale=with_scale, allow_reflection=reflection)
                assert np.isfinite(result.joints_mm).all()
                assert result.degenerate.all()
    centroid = np.broadcast_to(gt.mean(axis=1, keepdims=True), gt.shape)
    np.testing.assert_allclose(procrustes(point, gt, valid).joints_mm, centroid)


def test_reflection_forgives_the_wrong_hand_only_when_allowed():
    _, gt, valid = hands(4, noise=0)
    mirrored = gt * [-1.0, 1.0, 1.0]
    forgiven = procrustes(mirrored, gt, valid, allow_reflection=True).joints_mm
    strict = procrustes(mirrored, gt, valid).joints_mm
    np.testing.assert_allclose(forgiven, gt, atol=1e-9)
    assert joint_errors(strict, gt).mean() > 10


rotations = st.integers(0, 10_000).map(lambda s: Rotation.random(random_state=s).as_matrix())
shifts = st.lists(st.floats(-800, 800), min_size=3, max_size=3).map(np.array)
scales = st.floats(0.2, 5.0)
seeds = st.integers(0, 10_000)


@settings(max_examples=25)
@given(seeds, rotations, shifts, scales)
def test_invariances(seed, rotation, shift, scale):
    pred, gt, valid = hands(2, seed=seed)
    translated = pred + shift
    resized = pred * scale + shift
    moved = pred @ rotation.T + shift
    everything = scale * pred @ rotation.T + shift
    for name, unchanged in (
        ("root", [translated]),
        ("root_bone_scale", [translated, resized]),
        ("procrustes", [translated, moved]),
        ("procrustes_scale", [translated, resized, moved, everything]),
    ):
        base = error_after(name, pred, gt, valid)
        for other in unchanged:
            np.testing.assert_allclose(error_after(name, other, gt, valid), base, atol=1e-8)


@settings(max_examples=25)
@given(seeds, rotations, scales.filter(lambda s: abs(s - 1) > 0.1))
def test_what_an_alignment_does_not_forgive(seed, rotation, scale):
    _, gt, valid = hands(2, seed=seed)
    angle = math.acos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    if angle > 0.2:
        assert error_after("root_bone_scale", gt @ rotation.T, gt, valid).mean() > 1
    for name in ("root", "procrustes"):
        assert error_after(name, gt * scale, gt, valid).mean() > 1
    assert error_after("absolute", gt + 1.0, gt, valid).mean() == pytest.approx(math.sqrt(3))


def test_less_forgiving_alignments_do_not_beat_procrustes():
    pred, gt, valid = hands(50)
    squared = {
        n: (error_after(n, pred, gt, valid) ** 2).sum(axis=1) for n in ("root", "procrustes", "procrustes_scale")
    }
    assert (squared["procrustes"] <= squared["root"] + 1e-9).all()
    assert (squared["procrustes_scale"] <= squared["procrustes"] + 1e-9).all()


def test_root_choice_moves_the_zero():
    pred, gt, valid = hands(3)
    assert np.allclose(error_after("root", pred, gt, valid, root=9)[:, 9], 0)
    assert not np.allclose(error_after("root", pred, gt, valid, root=9)[:, 0], 0)
    assert root_relative(pred, gt, valid, root=9).scored.all()
