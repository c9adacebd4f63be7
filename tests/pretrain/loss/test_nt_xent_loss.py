import math

import loop_reference
import numpy as np
import pytest
import torch
from torch.nn import functional

from simhand_cli.pretrain.loss.nt_xent import FalseNegatives, weighted_nt_xent
from simhand_cli.pretrain.loss.pair_weights import BatchPoints, linear_weights, nonlinear_weights


def unit_vectors(pairs: int, seed: int = 0, size: int = 6) -> torch.Tensor:
    z = torch.randn(2 * pairs, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(z, dim=1)


def joints_of(pairs: int) -> BatchPoints:
    generator = torch.Generator().manual_seed(9)
    joints = 64 + 25 * torch.randn(2 * pairs, 21, 2, generator=generator, dtype=torch.float64)
    return BatchPoints(joints, joints, offset=0, reduce=False)


def loss_of(z: torch.Tensor, **options):
    first, second = z.chunk(2)
    return weighted_nt_xent(first, second, all_z1=first, all_z2=second, **options)


def numeric_gradient(z: np.ndarray, function) -> np.ndarray:
    gradient = np.zeros_like(z)
    for index in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[index] = 1e-6
        gradient[index] = (function(z + step) - function(z - step)) / 2e-6
    return gradient


@pytest.mark.parametrize("pairs", [1, 2, 5])
@pytest.mark.parametrize("block_rows", [1, 3, 64])
@pytest.mark.parametrize("temperature", [0.5, 0.07])
def test_plain_loss_against_loops_and_pytorch(pairs, block_rows, temperature):
    z = unit_vectors(pairs)
    result = loss_of(z, temperature=temperature, block_rows=block_rows)
    np.testing.assert_allclose(result.loss, loop_reference.nt_xent(z.numpy(), temperature), rtol=1e-12, atol=1e-14)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(2 * pairs).roll(pairs)
    np.testing.assert_allclose(result.loss, functional.cross_entropy(logits, partners), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(result.top1, (logits.argmax(dim=1) == partners).double().mean())


@pytest.mark.parametrize("positive_denominator", ["w_neg", "w_pos", "one"])
@pytest.mark.parametrize("weight_range", ["single", "separate"])
@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
@pytest.mark.parametrize("block_rows", [3, 64])
@pytest.mark.parametrize("centred", [False, True])
def test_weighted_loss_and_gradient_against_loops(kind, weight_range, positive_denominator, block_rows, centred):
    pairs = 4
    z, joints = unit_vectors(pairs).requires_grad_(), joints_of(pairs)
    if kind == "linear":
        weights = linear_weights(joints, weight_range)
        w_pos, w_neg = loop_reference.linear(joints.local.numpy(), weight_range)
    else:
        weights = nonlinear_weights(joints, weight_range, 1.0, 0.05)
        w_pos, w_neg = loop_reference.nonlinear(joints.local.numpy(), weight_range, 1.0, 0.05)
    options = {
        "positive_denominator": positive_denominator, "block_rows": block_rows, "temperature": 0.3, "centred": centred,
    }  # fmt: skip
    loss = loss_of(z, joints=joints, weights=weights, **options).loss
    loss.backward()

    def reference(vectors: np.ndarray) -> float:
        return loop_reference.nt_xent(vectors, 0.3, w_pos, w_neg, positive_denominator, centred=centred)

    values = z.detach().numpy()
    np.testing.assert_allclose(float(loss.detach()), reference(values), rtol=1e-12)
    np.testing.assert_allclose(z.grad, numeric_gradient(values, reference), atol=1e-8)


def gain_of_collapse(centred: bool, seed: int) -> float:
    """By how much the weighted loss falls where an untrained encoder's vectors, near each other, become the same."""
    generator = torch.Generator().manual_seed(seed)
    pairs = 64
    # Pairs have nearly the same pose, others do not, so that positives weigh more than the average pair.
    poses = 20 * torch.randn(pairs, 21, 2, generator=generator, dtype=torch.float64)
    joints_px = torch.cat([poses, poses + torch.randn(pairs, 21, 2, generator=generator, dtype=torch.float64)])
    joints = BatchPoints(joints_px, joints_px, offset=0, reduce=False)
    weights = linear_weights(joints, "single")
    spread = 0.1 * torch.randn(2 * pairs, 32, generator=generator, dtype=torch.float64)
    near = functional.normalize(torch.cat([torch.ones(2 * pairs, 1, dtype=torch.float64), spread], dim=1), dim=1)
    same = functional.normalize(near.mean(dim=0, keepdim=True).expand_as(near), dim=1)
    before, after = (float(loss_of(z, joints=joints, weights=weights, centred=centred).loss) for z in (near, same))
    return before - after


@pytest.mark.parametrize("seed", range(3))
def test_printed_weights_reward_equal_vectors_and_centred_ones_do_not(seed):
    assert gain_of_collapse(centred=False, seed=seed) > 0.1
    assert gain_of_collapse(centred=True, seed=seed) < 0.01


@pytest.mark.parametrize("pairs", [1, 5])
def test_without_weights_the_mean_does_not_matter(pairs):
    z = unit_vectors(pairs).requires_grad_()
    plain, centred = loss_of(z).loss, loss_of(z, centred=True).loss
    np.testing.assert_allclose(plain.detach(), centred.detach(), rtol=1e-13)
    gradients = [torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in (plain, centred)]
    np.testing.assert_allclose(*gradients, atol=1e-15)


def test_closed_forms():
    # Every vector the same: each of the 2N - 1 others is as near as the positive.
    same = functional.normalize(torch.ones(10, 4, dtype=torch.float64), dim=1)
    assert math.isclose(float(loss_of(same).loss), math.log(9))
    # Pairs along orthogonal axes: log(e^(1/t) + 2N - 2) - 1/t, and every positive is found.
    eye = torch.eye(5, dtype=torch.float64)
    result = loss_of(torch.cat([eye, eye]), temperature=0.5)
    assert math.isclose(float(result.loss), math.log(math.exp(2) + 8) - 2)
    assert float(result.top1) == 1
    # One pair has no negatives: nothing to lose.
    assert abs(float(loss_of(unit_vectors(1)).loss)) < 1e-12


def on_a_line(places: list[float]) -> BatchPoints:
    """Samples whose joints all lie in one point of the x axis."""
    joints = torch.zeros(len(places), 21, 2, dtype=torch.float64)
    joints[..., 0] = torch.tensor(places, dtype=torch.float64)[:, None]
    return BatchPoints(joints, joints, offset=0, reduce=False)


def test_separate_ranges_can_make_the_loss_negative_and_a_single_one_cannot():
    # Distances of the positives 60, 60, 61, the largest of all 101: w_pos = 1, 1, 0 but w_neg of the same about 0.4.
    batch = on_a_line([0, 10, 40, 60, 70, 101])
    axes = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    separate = loss_of(axes, joints=batch, weights=linear_weights(batch, "separate"), temperature=0.02)
    assert float(separate.loss) < -5
    for seed in range(20):
        z = unit_vectors(3, seed)
        single = loss_of(z, joints=batch, weights=linear_weights(batch, "single"), temperature=0.02)
        assert float(single.loss) >= 0


def test_stable_at_a_temperature_whose_exponentials_overflow_float32():
    z = unit_vectors(4).float().requires_grad_()
    loss = loss_of(z, temperature=0.005).loss
    loss.backward()
    exact = loop_reference.nt_xent(z.detach().double().numpy(), 0.005)
    assert math.isclose(float(loss.detach()), exact, rel_tol=1e-4)
    assert torch.isfinite(z.grad).all()


def test_half_precision_and_autocast_are_computed_in_float32():
    z = unit_vectors(8).to(torch.bfloat16).requires_grad_()
    exact = loop_reference.nt_xent(z.detach().double().numpy(), 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(z).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert abs(float(loss.detach()) - exact) < 1e-5
    assert z.grad.dtype == torch.bfloat16


def test_gradient_scales_with_what_comes_after_the_loss():
    z = unit_vectors(3).requires_grad_()
    loss_of(z).loss.backward()
    once = z.grad.clone()
    z.grad = None
    (loss_of(z).loss * 3).backward()
    torch.testing.assert_close(z.grad, 3 * once)


def test_pairs_that_share_an_image_are_no_negatives():
    z = unit_vectors(4)
    # Pairs 0 and 2 share image 7, pairs 1 and 3 nothing.
    images = torch.tensor([[7, 1], [2, 3], [4, 7], [5, 6]])
    left_out = {(i, k) for i in (0, 2, 4, 6) for k in (0, 2, 4, 6)}
    expected = loop_reference.nt_xent(z.numpy(), 0.5, left_out=left_out)
    for block_rows in (3, 64):
        found = loss_of(z, false_negatives=FalseNegatives(images), block_rows=block_rows).loss
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert abs(expected - loop_reference.nt_xent(z.numpy(), 0.5)) > 1e-3


def test_near_poses_are_no_negatives():
    z, joints = unit_vectors(4), joints_of(4)
    distances = loop_reference.distance_matrix(joints.local.numpy())
    limit = float(np.median(distances))
    left_out = {(int(i), int(k)) for i, k in zip(*np.nonzero(distances < limit), strict=True)}
    expected = loop_reference.nt_xent(z.numpy(), 0.5, left_out=left_out)
    found = loss_of(z, joints=joints, false_negatives=FalseNegatives(None, limit)).loss
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_all_negatives_left_out_is_finite():
    z = unit_vectors(3).requires_grad_()
    loss = loss_of(z, false_negatives=FalseNegatives(torch.zeros(3, 2, dtype=torch.int64))).loss
    loss.backward()
    assert abs(float(loss.detach())) < 1e-12
    assert torch.isfinite(z.grad).all()


def test_distances_need_joints():
    with pytest.raises(ValueError, match="joints"):
        loss_of(unit_vectors(2), false_negatives=FalseNegatives(None, 3.0))


def test_a_slice_of_the_rows_against_everyone():
    z = unit_vectors(6).requires_grad_()
    whole = loss_of(z)
    whole.loss.backward()
    gradient = z.grad.clone()
    z.grad = None
    first, second = z.chunk(2)
    parts = [
        weighted_nt_xent(first[s], second[s], all_z1=first, all_z2=second, offset=s.start, block_rows=4)
        for s in (slice(0, 2), slice(2, 4), slice(4, 6))
    ]
    mean = torch.stack([p.loss for p in parts]).mean()
    mean.backward()
    torch.testing.assert_close(mean.detach(), whole.loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(z.grad, gradient, rtol=1e-10, atol=1e-14)
