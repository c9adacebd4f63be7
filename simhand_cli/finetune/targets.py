"""What DetNet's three maps are trained to show, made on the training device from a batch of joints.

Zhou et al., "Monocular Real-time Hand Shape and Motion Capture using Multi-modal Data" (CVPR 2020), section 4.1.
The location and delta targets of a joint are the same at every cell of its map, so they are kept untiled, (B, J, 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from simhand_cli.finetune.options import TargetOptions
from simhand_cli.skeleton import MIDDLE_MCP, PARENTS, WRIST

#: Bone whose length is the unit of the location map.
REFERENCE_BONE = (WRIST, MIDDLE_MCP)
#: The released code draws a 7 x 7 patch.
_PATCH_RADIUS = 3


@dataclass(frozen=True)
class Targets:
    """Targets of a batch.

    Attributes:
        heat: (B, J, M, M) Gaussians of peak 1; empty where the joint is outside the crop.
        heat_weight: (B, J) 1 where the heatmap counts.
        location: (B, J, 3) root-relative position in reference bone lengths.
        location_weight: (B, J).
        delta: (B, J, 3) unit vector from the parent joint; zero for the wrist.
        delta_weight: (B, J).
    """

    heat: Tensor
    heat_weight: Tensor
    location: Tensor
    location_weight: Tensor
    delta: Tensor
    delta_weight: Tensor


def make_targets(
    joints_px: Tensor, joints_mm: Tensor, valid: Tensor, input_px: int, map_px: int, options: TargetOptions
) -> Targets:
    """Targets of a batch of crops.

    Args:
        joints_px: (B, J, 2) in the crop, pixel centres.
        joints_mm: (B, J, 3) camera frame; NaN where only the 2D joint is known.
        valid: (B, J) bool; values of invalid joints may be anything, NaN too.
        input_px: side of the crop.
        map_px: side M of the maps.
        options: width, rounding, root.
    """
    weight = valid.to(joints_mm.dtype)
    valid = valid & torch.isfinite(joints_mm).all(dim=-1)
    weight_3d = valid.to(joints_mm.dtype)
    # NaN times a weight of 0 is NaN still, so what is not known becomes 0 first.
    joints_mm = torch.where(valid[..., None], joints_mm, torch.zeros_like(joints_mm))
    joints_px = torch.where(weight[..., None] > 0, joints_px, torch.zeros_like(joints_px))
    heat, inside = heatmaps(joints_px, input_px, map_px, options)
    first, second = REFERENCE_BONE
    bone = torch.linalg.vector_norm(joints_mm[:, second] - joints_mm[:, first], dim=-1)
    # Without the reference bone a hand has no unit, but its directions can be learned all the same.
    has_unit = valid[:, first] & valid[:, second] & (bone > 0)
    root = options.root_index
    unit = torch.where(has_unit, bone, torch.ones_like(bone))
    location = (joints_mm - joints_mm[:, root : root + 1]) / unit[:, None, None]
    parents = torch.tensor(PARENTS, device=joints_mm.device)
    # The wrist is its own parent here, so that its direction is 0, as published.
    step = joints_mm - joints_mm[:, parents]
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    return Targets(
        heat=heat * weight[..., None, None],
        # An empty map is the right answer for a joint outside the crop; the released code does not ask for it.
        heat_weight=weight * inside if options.rounding == "truncate" else weight,
        location=location,
        location_weight=weight_3d * (has_unit & valid[:, root])[:, None],
        delta=step / torch.where(length > 0, length, torch.ones_like(length)),
        delta_weight=weight_3d * weight_3d[:, parents],
    )


def heatmaps(joints_px: Tensor, input_px: int, map_px: int, options: TargetOptions) -> tuple[Tensor, Tensor]:
    """Gaussian of peak 1 around each joint.

    Args:
        joints_px: (B, J, 2) in the crop, pixel centres.
        input_px: side of the crop.
        map_px: side M of the maps.
        options: ``rounding="none"`` places the peak exactly and lets the Gaussian run out; ``"truncate"`` puts it
            on the cell ``int(joint * M / input_px)`` and cuts it to 7 x 7, as the released fine-tuning code does.

    Returns:
        heat (B, J, M, M) (row, column), and (B, J) 1 where any of the joint's 7 x 7 patch is on the map.
    """
    ratio = map_px / input_px
    truncated = options.rounding == "truncate"
    cells = torch.arange(map_px, device=joints_px.device, dtype=joints_px.dtype)
    # Pixel centres: cell c covers the pixels around (c + 0.5) / ratio - 0.5.
    centre = torch.trunc(joints_px * ratio) if truncated else (joints_px + 0.5) * ratio - 0.5
    offset = cells - centre[..., None]
    profile = torch.exp(-(offset**2) / (2 * options.sigma**2))
    if truncated:
        profile = profile * (offset.abs() <= _PATCH_RADIUS)
    low, high = centre.amin(dim=-1), centre.amax(dim=-1)
    # As in the released code, any cell of the patch on the map will do.
    inside = (low > -1 - _PATCH_RADIUS) & (high < map_px + _PATCH_RADIUS)
    # A Gaussian is the product of its profiles: M + M exponentials a joint instead of M x M.
    heat = profile[..., 1, :, None] * profile[..., 0, None, :]
    return heat, inside.to(joints_px.dtype)
