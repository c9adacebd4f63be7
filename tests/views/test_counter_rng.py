import numpy as np
import pytest
import torch

from simhand_cli.views.counter_rng import combine, splitmix64, uniforms

WORD = 2**64


def splitmix64_int(x: int) -> int:
    """The published algorithm in Python's unbounded integers."""
    x = (x + 0x9E3779B97F4A7C15) % WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % WORD
    return x ^ (x >> 31)


def test_splitmix64_known_outputs():
    # First outputs of the reference generator seeded with 0 and with 1234567.
    assert int(splitmix64(torch.tensor(0))) % WORD == 0xE220A8397B1DCDAF
    assert int(splitmix64(torch.tensor(1234567))) % WORD == 6457827717110365317


@pytest.mark.parametrize("x", [0, 1, -1, 2**63 - 1, -(2**63), 987654321987654321])
def test_splitmix64_against_python_integers(x):
    assert int(splitmix64(torch.tensor(x, dtype=torch.int64))) % WORD == splitmix64_int(x % WORD)


def test_uniforms_are_uniform_and_channels_independent():
    u = uniforms(7, torch.arange(20_000), 0, channels=6).numpy()
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(axis=0), 1 / 12, atol=0.003)
    correlation = np.corrcoef(u, rowvar=False) - np.eye(6)
    assert np.abs(correlation).max() < 0.03


def test_seed_key_view_and_channel_each_matter():
    keys = torch.arange(100)
    base = uniforms(1, keys, 0, 4)
    for other in (uniforms(2, keys, 0, 4), uniforms(1, keys, 1, 4), uniforms(1, keys + 100, 0, 4)):
        assert not torch.isclose(base, other).any()
    assert len(torch.unique(base)) == base.numel()


def test_channels_are_streams_of_their_own():
    keys = torch.tensor([5, -3, 2**62])
    assert torch.equal(uniforms(1, keys, 0, 6)[:, 4:], uniforms(1, keys, 0, 2, first_channel=4))


def test_combine_separates_order_and_number_of_parts():
    seeds = {combine(1), combine(1, 2), combine(1, 2, 3), combine(1, 3, 2), combine(2, 1), combine(1, 0), combine(-1)}
    assert len(seeds) == 7
    assert combine(2**64 + 1, 2) == combine(1, 2)
