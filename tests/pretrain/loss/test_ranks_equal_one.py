import multiprocessing
from pathlib import Path

import pytest
import rank_worker
import torch
import torch.multiprocessing as mp

from simhand_cli.training.processes.gather import gather, gather_with_gradient, reduce_over_ranks, world


@pytest.fixture(scope="module", params=[2, 4])
def several(request, tmp_path_factory):
    """(number of ranks, results of all cases computed by that many gloo processes)."""
    folder: Path = tmp_path_factory.mktemp(f"ranks{request.param}")
    # A server that has torch loaded forks the ranks: they start in a fraction of the time of new interpreters.
    multiprocessing.set_forkserver_preload(["torch", "simhand_cli.pretrain.loss.contrastive"])
    arguments = (request.param, str(folder))
    mp.start_processes(rank_worker.run_rank, arguments, nprocs=request.param, start_method="forkserver")
    return request.param, torch.load(folder / "results.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", rank_worker.cases(), ids=lambda case: case.name)
def test_ranks_equal_one_rank_on_the_joined_batch(several, case):
    ranks, results = several

    def alone(model):
        if case.options.settled("none").negatives == "global":
            loss, _ = rank_worker.part_loss(case, model, 0, 1)
        else:
            # Negatives of the own rank only: the mean of what each would get alone.
            loss = torch.stack([rank_worker.part_loss(case, model, r, ranks)[0] for r in range(ranks)]).mean()
        loss.backward()
        return loss.detach(), rank_worker.flat_gradient(model)

    loss, gradient, parameters = rank_worker.learn(rank_worker.make_model(), alone)
    found_loss, found_gradient, found_parameters = results[case.name]
    torch.testing.assert_close(found_loss, loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(found_gradient, gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(found_parameters, parameters, rtol=0, atol=1e-10)
    assert gradient.abs().max() > 1e-6


@pytest.mark.slow
def test_gather_by_hand(several):
    ranks, results = several
    everyone, gradient = results["gather"]
    expected = torch.arange(float(ranks), dtype=torch.float64).repeat_interleave(2)[:, None].expand(-1, 3)
    assert torch.equal(everyone, expected)
    factor = sum(range(1, ranks + 1))
    expected_gradient = factor * torch.tensor([[1.0], [2.0]], dtype=torch.float64).expand(2, 3)
    assert torch.equal(gradient, expected_gradient)


def test_without_a_group_everything_is_local():
    x = torch.randn(3, 2, requires_grad=True)
    assert world() == (0, 1)
    assert gather_with_gradient(x) is x
    assert torch.equal(gather(x), x)
    assert reduce_over_ranks(x) is x
