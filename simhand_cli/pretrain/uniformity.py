"""How evenly features cover the sphere: the sign of a collapse that the loss alone does not show."""

import torch
from torch import Tensor

#: Vectors compared with each other; enough for a stable mean, cheap at any batch size.
_SAMPLES = 512


def uniformity(unit: Tensor) -> Tensor:
    """Log E exp(-2 |a - b|^2) over pairs of unit vectors (Wang & Isola 2020); smaller is more even, 0 all the same.

    Args:
        unit: (B, D) of length 1 and at least two rows, of which the first 512 are used.
    """
    unit = unit[:_SAMPLES]
    count = len(unit)
    squared = (2 - 2 * unit @ unit.T).clamp_min(0)
    apart = ~torch.eye(count, dtype=torch.bool, device=unit.device)
    # Not by the mask as an index, which would make the host wait for the device.
    potential = torch.where(apart, torch.exp(-2 * squared), 0.0)
    return torch.log(potential.sum() / (count * (count - 1)))
