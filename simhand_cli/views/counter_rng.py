"""Random numbers that are a function of (seed, sample, view, channel), not of any generator's state.

So a sample gets the same T whatever the number of workers, ranks or devices, and a resumed run draws what an
uninterrupted one would have. The mixing function is SplitMix64 (Steele, Lea, Flood 2014) in wrapping int64.
"""

import torch
from torch import Tensor

_WORD = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # int64 shifts copy the sign bit; the mask makes the shift logical.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def splitmix64(x: Tensor) -> Tensor:
    """SplitMix64 of each int64, the bits taken as an unsigned 64-bit word."""
    z = x + _signed(_GOLDEN)
    z = (z ^ _shift_right(z, 30)) * _signed(_FIRST)
    z = (z ^ _shift_right(z, 27)) * _signed(_SECOND)
    return z ^ _shift_right(z, 31)


def combine(seed: int, *parts: int) -> int:
    """A new seed from a seed and integers such as the epoch; in int64, so that tensors can hold it."""
    state = torch.tensor(_signed(seed), dtype=torch.int64)
    for part in parts:
        state = splitmix64(splitmix64(state) ^ _signed(part))
    return int(state)


def uniforms(seed: int, keys: Tensor, view: int, channels: int, first_channel: int = 0) -> Tensor:
    """Independent numbers in [0, 1), (B, channels) float64, on the device of ``keys``.

    Args:
        seed: of the run (and epoch: see :func:`combine`).
        keys: (B,) int64, one for each sample.
        view: 0 or 1; which of the pair's two views.
        channels: how many numbers for each sample.
        first_channel: number of the first channel; each channel is a stream of its own.
    """
    # Mixed before channels are added: keys and channels then meet in the same word by chance alone.
    sample = splitmix64(keys.to(torch.int64) ^ combine(seed, view))
    channel = torch.arange(first_channel, first_channel + channels, device=keys.device, dtype=torch.int64)
    words = splitmix64(sample[:, None] + channel * _signed(_GOLDEN))
    # 53 bits are what a double holds exactly, so 1.0 itself cannot come out.
    return _shift_right(words, 11).to(torch.float64) * 2.0**-53
