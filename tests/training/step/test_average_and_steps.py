import numpy as np
import torch
from torch import nn

from simhand_cli.training.step.ema import MovingAverage
from simhand_cli.training.step.schedule import warmup_step


def test_moving_average_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    average = MovingAverage(net, 0.8)
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for p in net.parameters():
                p += torch.randn_like(p)
        net(torch.randn(4, 2, dtype=torch.float64))
        average.update(net, step)
        decay = min(0.8, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            floating = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if floating else value.clone()
    for name, value in average.net.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert int(average.net.state_dict()["1.num_batches_tracked"]) == 29
    assert not any(p.requires_grad for p in average.net.parameters())
    assert all(p.requires_grad for p in net.parameters())


def test_steps_down_after_the_warm_up():
    rates = [warmup_step(step, 10, 4, 2.0) for step in range(30)]
    np.testing.assert_allclose(rates[:5], [0.5, 1.0, 1.5, 2.0, 2.0])
    np.testing.assert_allclose(rates[5:10], 2.0)
    np.testing.assert_allclose(rates[10:20], 0.2)
    np.testing.assert_allclose(rates[20:], 0.02)
    assert warmup_step(0, 10, 0, 2.0) == 2.0
