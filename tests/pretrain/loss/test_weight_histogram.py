import loop_reference
import numpy as np
import pytest
import rank_worker
import torch

from simhand_cli.pretrain.loss import diagnostics as weight_histogram
from simhand_cli.pretrain.loss.diagnostics import negative_weight_shares, weight_shares
from simhand_cli.pretrain.loss.pair_weights import BatchPoints, WeightOfDistance, linear_weights
from simhand_cli.pretrain.loss_options import LossOptions


def test_bins_by_hand():
    weights = torch.tensor([0.0, 0.05, 0.1, 0.35, 0.999, 1.0, 1.0, 1.0])
    expected = [2, 1, 0, 1, 0, 0, 0, 0, 0, 4]
    assert weight_shares(weights).tolist() == [n / 8 for n in expected]
    only = torch.tensor([True] * 4 + [False] * 4)
    assert weight_shares(weights, only).tolist() == [0.5, 0.25, 0, 0.25, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("rows", [3, 5, 64])
def test_negatives_are_all_but_the_own_sample_and_its_positive(rows, monkeypatch):
    monkeypatch.setattr(weight_histogram, "_ROWS", rows)
    joints = 112 + 30 * torch.randn(12, 21, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch = BatchPoints(joints, joints, offset=0, reduce=False)
    matrix = loop_reference.linear(joints.numpy(), "single")[1]
    counted = [matrix[i][k] for i in range(min(rows, 12)) for k in range(12) if k not in (i, (i + 6) % 12)]
    expected = np.histogram(counted, bins=10, range=(0, 1))[0] / len(counted)
    found = negative_weight_shares(batch, of_distance(batch))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def of_distance(points: BatchPoints) -> WeightOfDistance:
    weight = linear_weights(points, "single").of_distance
    assert weight is not None
    return weight


def test_weights_of_positives_alone_have_no_histogram_of_negatives():
    case = rank_worker.Case("simhand", LossOptions())
    _, metrics = rank_worker.part_loss(case, rank_worker.make_model(), 0, 1)
    assert "positive_weight_histogram" in metrics
    assert "negative_weight_histogram" not in metrics


def test_ranks_together_count_what_one_counts():
    """With as many rows as there are, the mean over the ranks is the one rank's histogram."""
    case = rank_worker.Case("simhand", LossOptions(weighted="both"))
    _, one = rank_worker.part_loss(case, rank_worker.make_model(), 0, 1)
    for name in ("positive_weight_histogram", "negative_weight_histogram"):
        assert one[name].shape == (10,)
        assert float(one[name].sum()) == pytest.approx(1, abs=1e-12)
    joints = 112 + 30 * torch.randn(12, 21, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = BatchPoints(joints, joints, offset=0, reduce=False)
    weight = of_distance(whole)
    parts = [
        BatchPoints(joints[[*range(start, start + 3), *range(6 + start, 9 + start)]], joints, start, reduce=False)
        for start in (0, 3)
    ]
    mean = torch.stack([negative_weight_shares(part, weight) for part in parts]).mean(dim=0)
    torch.testing.assert_close(mean, negative_weight_shares(whole, weight))
