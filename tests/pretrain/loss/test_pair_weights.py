import loop_reference
import numpy as np
import pytest
import torch

from simhand_cli.pretrain.loss.pair_weights import BatchPoints, linear_weights, nonlinear_weights, point_distance


def batch(joints: torch.Tensor) -> BatchPoints:
    return BatchPoints(joints, joints, offset=0, reduce=False)


def random_joints(pairs: int, seed: int = 0) -> torch.Tensor:
    return 64 + 25 * torch.randn(2 * pairs, 21, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix(weights, joints: torch.Tensor) -> np.ndarray:
    return weights.of_distance(point_distance(joints, joints)).numpy()


@pytest.mark.parametrize("weight_range", ["single", "separate"])
@pytest.mark.parametrize("dimensions", [1, 3, 14])
def test_embeddings_are_one_point_of_many_dimensions(weight_range, dimensions):
    embedding = torch.randn(10, dimensions, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points, norms = embedding[:, None], torch.linalg.vector_norm(embedding[:, None] - embedding[None], dim=2)
    torch.testing.assert_close(point_distance(points, points), norms)
    weights = linear_weights(batch(points), weight_range, block_rows=3)
    positive, everything = loop_reference.linear(points.numpy(), weight_range)
    np.testing.assert_allclose(weights.positive, positive, atol=1e-12)
    np.testing.assert_allclose(matrix(weights, points), everything, atol=1e-12)


@pytest.mark.parametrize("weight_range", ["single", "separate"])
@pytest.mark.parametrize("block_rows", [1, 4, 100])
@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_linear_against_loops(weight_range, block_rows, pairs):
    joints = random_joints(pairs)
    weights = linear_weights(batch(joints), weight_range, block_rows)
    positive, everything = loop_reference.linear(joints.numpy(), weight_range)
    np.testing.assert_allclose(weights.positive, positive, atol=1e-12)
    np.testing.assert_allclose(matrix(weights, joints), everything, atol=1e-12)


@pytest.mark.parametrize("weight_range", ["single", "separate"])
@pytest.mark.parametrize("block_rows", [3, 100])
@pytest.mark.parametrize("steepness", [(1.0, 0.05), (5.0, 0.005)])
def test_nonlinear_against_loops(weight_range, block_rows, steepness):
    joints = random_joints(4)
    weights = nonlinear_weights(batch(joints), weight_range, *steepness, block_rows)
    positive, everything = loop_reference.nonlinear(joints.numpy(), weight_range, *steepness)
    np.testing.assert_allclose(weights.positive, positive, atol=1e-12)
    np.testing.assert_allclose(matrix(weights, joints), everything, atol=1e-12)


def test_two_pairs_by_hand():
    # All joints of a sample coincide, so distances are those of points on a line: 0, 10 (view 1) and 1, 14 (view 2).
    joints = torch.tensor([0.0, 10, 1, 14], dtype=torch.float64)[:, None, None].repeat(1, 21, 2)
    joints[..., 1] = 0
    single = linear_weights(batch(joints), "single")
    # Of different samples: smallest 1, largest 14; positives at 1 and 4.
    np.testing.assert_allclose(single.positive, [1, 10 / 13])
    np.testing.assert_allclose(matrix(single, joints)[0, 1:], [4 / 13, 1, 0])
    separate = linear_weights(batch(joints), "separate")
    np.testing.assert_allclose(separate.positive, [1, 0])
    np.testing.assert_allclose(matrix(separate, joints)[0], [1, 4 / 14, 13 / 14, 0])


@pytest.mark.parametrize("weight_range", ["single", "separate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_distances_and_one_pair_weigh_one(weight_range, dtype):
    same = torch.full((6, 21, 2), 37.3, dtype=dtype)
    weights = linear_weights(batch(same), weight_range)
    assert torch.equal(weights.positive, torch.ones(3, dtype=dtype))
    assert (matrix(weights, same) == 1).all()
    lone = linear_weights(batch(random_joints(1).to(dtype)), weight_range)
    assert torch.equal(lone.positive, torch.ones(1, dtype=dtype))
    curved = nonlinear_weights(batch(same), weight_range, 5.0, 0.05)
    np.testing.assert_allclose(curved.positive, 0.5)
    assert np.isfinite(matrix(curved, same)).all()


def test_single_range_gives_a_pair_one_weight_in_both_places():
    joints = random_joints(6, seed=3)
    weights = linear_weights(batch(joints), "single")
    np.testing.assert_allclose(np.diagonal(matrix(weights, joints), 6), weights.positive, atol=1e-12)
    off_diagonal = matrix(weights, joints)[~np.eye(12, dtype=bool)]
    assert off_diagonal.min() == 0
    assert off_diagonal.max() == 1


def test_small_distances_survive_float32_far_from_the_origin():
    joints = random_joints(3).to(torch.float32) + 5000
    joints[3] = joints[0] + 0.01
    exact = loop_reference.distance_matrix(joints.double().numpy())
    np.testing.assert_allclose(point_distance(joints, joints), exact, rtol=1e-4, atol=1e-6)
