"""The linear probe against least squares on the augmented system, and its people left out."""

import tracemalloc

import numpy as np
import pytest

from simhand_cli.features.retrieval import Poses
from simhand_cli.labelled.open import open_labelled
from simhand_cli.probes.linear import ridge
from simhand_cli.probes.linear.probe import choose_linear_rows, constant_answers, fit_and_predict, pose_errors
from simhand_cli.probes.linear.ridge import Ridge, choose_penalty, pose_targets


@pytest.mark.parametrize(("samples", "size"), [(40, 6), (9, 15)])
@pytest.mark.parametrize("penalty", [1e-4, 0.3, 20.0])
def test_ridge_equals_least_squares_on_the_augmented_system(samples, size, penalty):
    rng = np.random.default_rng(1)
    features = rng.normal(3, 2, (samples, size)) * rng.uniform(0.1, 50, size)
    targets = rng.normal(2, 1, (samples, 4))
    design = (features - features.mean(axis=0)) / features.std(axis=0)
    # |Y - Z W - 1 b|^2 + penalty N |W|^2: extra rows ask every weight to be 0; b has no such row.
    top = np.hstack([design, np.ones((samples, 1))])
    extra = np.hstack([np.sqrt(penalty * samples) * np.eye(size), np.zeros((size, 1))])
    solution = np.linalg.lstsq(np.vstack([top, extra]), np.vstack([targets, np.zeros((size, 4))]), rcond=None)[0]
    new = rng.normal(3, 2, (7, size))
    expected = (new - features.mean(axis=0)) / features.std(axis=0) @ solution[:-1] + solution[-1]
    fitted = Ridge.of(features, targets)
    np.testing.assert_allclose(fitted.weights(penalty), solution[:-1], atol=1e-8)
    np.testing.assert_allclose(fitted.predict(new, penalty), expected, atol=1e-8)


def test_chunks_change_nothing_and_bound_the_memory(monkeypatch):
    rng = np.random.default_rng(5)
    features, targets = rng.normal(3, 2, (30_000, 40)).astype(np.float32), rng.normal(2, 1, (30_000, 2))
    monkeypatch.setattr(ridge, "_CHUNK", 1000)
    tracemalloc.start()
    fitted = Ridge.of(features, targets)
    predicted = fitted.predict(features, 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < features.nbytes / 2  # in double precision they would need twice as much as they do
    monkeypatch.setattr(ridge, "_CHUNK", 10**9)
    np.testing.assert_allclose(Ridge.of(features, targets).predict(features, 0.1), predicted, atol=1e-10)


def test_a_feature_that_never_varies_is_left_out():
    rng = np.random.default_rng(2)
    features = np.column_stack([rng.normal(size=30), np.full(30, 7.3)])
    targets = features[:, :1] * 2
    fitted = Ridge.of(features, targets)
    assert np.isfinite(fitted.predict(np.array([[1.0, 9.0]]), 1e-9)).all()
    assert fitted.predict(np.array([[1.0, 9.0]]), 1e-9)[0, 0] == pytest.approx(2.0, abs=1e-6)


def test_targets_are_bone_lengths_from_the_wrist():
    joints = np.random.default_rng(0).normal(0, 40, (3, 21, 3))
    targets = pose_targets(joints).reshape(3, 21, 3)
    assert np.abs(targets[:, 0]).max() == 0
    np.testing.assert_allclose(np.linalg.norm(targets[:, 9], axis=1), 1.0)
    np.testing.assert_allclose(
        targets[1, 5], (joints[1, 5] - joints[1, 0]) / np.linalg.norm(joints[1, 9] - joints[1, 0])
    )


def noisy_problem(rng, samples, noise):
    """Poses that are linear in ten hidden numbers, and features that are those numbers and noise."""
    hidden = rng.normal(size=(samples, 10))
    basis = np.random.default_rng(99).normal(size=(10, 63)) * 12
    rest = np.random.default_rng(98).normal(0, 50, (21, 3))
    joints = rest + (hidden @ basis).reshape(-1, 21, 3)
    return np.hstack([hidden, noise * rng.normal(size=(samples, 60))]).astype(np.float32), joints


def test_the_penalty_is_the_best_on_the_people_left_out_and_the_fit_is_made_again_with_them():
    rng = np.random.default_rng(3)
    features, joints = noisy_problem(rng, 90, 1.0)
    held_out = np.arange(90) >= 70
    penalty, errors = choose_penalty(features, joints, held_out)
    assert errors[penalty] == min(errors.values())
    assert set(errors) == set(ridge.PENALTIES)
    # With 70 samples of 70 features almost no penalty is far too little, and the largest leaves the mean pose.
    assert min(ridge.PENALTIES) < penalty < max(ridge.PENALTIES)
    test, truth_mm = noisy_problem(np.random.default_rng(4), 50, 1.0)
    probe = fit_and_predict(features, joints, held_out, test)
    truth = Poses(truth_mm, np.ones((50, 21), bool))
    everybody = Ridge.of(features, pose_targets(joints)).predict(test, penalty).reshape(-1, 21, 3)
    np.testing.assert_array_equal(probe.predicted, everybody)
    errors_mm, valid = pose_errors("root_bone_scale", probe.predicted, truth)
    floor, _ = pose_errors("root_bone_scale", constant_answers(joints, 50)["root_bone_scale"], truth)
    assert valid.all()
    assert errors_mm.mean() < 0.8 * floor.mean()


def test_joints_without_labels_do_not_count():
    rng = np.random.default_rng(6)
    joints = rng.normal(0, 40, (5, 21, 3))
    valid = np.ones((5, 21), bool)
    valid[:, 12] = False
    guess = pose_targets(joints).reshape(-1, 21, 3)
    guess[:, 12] = 1e6
    errors, use = pose_errors("root_bone_scale", guess, Poses(np.where(valid[..., None], joints, np.nan), valid))
    assert not use[:, 12].any()
    assert errors[use].max() < 1e-9


def test_whole_people_are_left_out(people_set):
    labelled = open_labelled(people_set, "train")
    indices = np.arange(len(labelled))[::3]
    count = len(indices)
    chosen = choose_linear_rows(labelled, indices, np.ones((count, 21), bool), np.zeros(count, bool), 0.3, 0)
    people = np.asarray(labelled.subjects)[indices]
    assert chosen.rows.tolist() == list(range(count))
    assert set(people[chosen.held_out]) & set(people[~chosen.held_out]) == set()
    assert 0 < chosen.held_out.sum() < count
    assert chosen.described.endswith("1 people")


def test_rows_of_the_tested_and_with_missing_joints_are_not_fitted_on(people_set):
    labelled = open_labelled(people_set, "train")
    indices = np.arange(32)
    valid, tested = np.ones((32, 21), bool), np.arange(32) < 8
    valid[[9, 20], [20, 3]] = False
    chosen = choose_linear_rows(labelled, indices, valid, tested, 0.3, 0)
    assert chosen.rows.tolist() == [n for n in range(8, 32) if n not in (9, 20)]
    assert len(chosen.held_out) == len(chosen.rows)
    valid[10:, 20] = False
    valid[12:, 16] = False
    why = choose_linear_rows(labelled, indices, valid, tested, 0.3, 0)
    assert why == (
        "1 of 32 gallery samples can be fitted on, and 5 are needed: 8 are of the people or recordings that are "
        "tested; 23 lack a joint's label (most often little_tip, ring_tip, thumb_ip)"
    )
