"""Gradients of a batch computed in parts are those of the batch."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from grad_cache_worker import METHODS_TRIED, gradients, make_model, run_rank


@pytest.mark.parametrize("method", METHODS_TRIED)
@pytest.mark.parametrize("pairs", [1, 3, 4, 12])
def test_parts_give_the_whole_batch_s_gradient(method, pairs):
    expected_loss, expected = gradients(method, make_model(), pairs=12)
    loss, found = gradients(method, make_model(), pairs=pairs)
    torch.testing.assert_close(loss, expected_loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert expected.abs().max() > 1e-4


def test_parts_bring_their_embeddings_along():
    whole, parts = (gradients("simhand", make_model(), pairs=pairs, metric="embedding") for pairs in (12, 5))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert whole[0] != gradients("simhand", make_model(), pairs=12)[0]


@pytest.mark.slow
def test_two_ranks_in_parts_give_the_joined_batch_s_gradient(tmp_path: Path):
    multiprocessing.set_forkserver_preload(["torch", "simhand_cli.pretrain.loss.contrastive"])
    mp.start_processes(run_rank, (2, str(tmp_path)), nprocs=2, start_method="forkserver")
    results = torch.load(tmp_path / "results.pt", weights_only=True)
    for method in METHODS_TRIED:
        loss, gradient = gradients(method, make_model(), pairs=12)
        torch.testing.assert_close(results[method][0], loss, rtol=0, atol=1e-12)
        torch.testing.assert_close(results[method][1], gradient, rtol=0, atol=1e-12)


def test_dropout_drops_the_same_in_both_passes(monkeypatch):
    model = make_model(dropout=0.5)
    seen = []
    model[1].register_forward_hook(lambda _m, _i, output: seen.append(output.detach().clone()))
    gradients("simhand", model, pairs=4)
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0] == 0, seen[1] == 0)


def test_running_statistics_are_updated_once_a_part():
    model = make_model(norm=True)
    gradients("simhand", model, pairs=4)
    assert int(model[1].num_batches_tracked) == 3
    # by hand: the same three parts, one after the other
    other, shown = make_model(norm=True), []
    other.register_forward_pre_hook(lambda _m, inputs: shown.append(inputs[0]))
    gradients("simhand", other, pairs=4)
    again = make_model(norm=True)
    for images in shown[3:]:
        again(images)
    torch.testing.assert_close(model[1].running_mean, again[1].running_mean)
    torch.testing.assert_close(model[1].running_var, again[1].running_var)


def test_all_at_once_is_the_ordinary_step():
    whole = gradients("peclr", make_model(norm=True), pairs=99)
    expected = gradients("peclr", make_model(norm=True), pairs=12)
    assert torch.equal(whole[1], expected[1])
