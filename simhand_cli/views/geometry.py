"""The window of a view as an exact affine map, in the pixel-centre convention of ``crops/geometry.py``."""

import torch
from torch import Tensor

from simhand_cli.views.parameters import ViewParameters

#: A hand is never taken to be smaller than this, so that coinciding joints cannot make a window of no size.
MIN_RADIUS_PX = 2.0


def hand_circle(keypoints_px: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the joints (B, 2) and the largest distance of a joint from it (B,), float64, of (B, 21, 2)."""
    # In double precision, so that a map and its inverse agree to well below a pixel on every device.
    points = keypoints_px.to(torch.float64)
    center = points.mean(dim=1)
    radius = (points - center[:, None]).norm(dim=-1).amax(dim=1)
    return center, radius.clamp_min(MIN_RADIUS_PX)


def rotation(angle_deg: Tensor) -> Tensor:
    """Matrices (B, 2, 2) that turn points (x right, y down) counter-clockwise as seen, as OpenCV's do."""
    angle = torch.deg2rad(angle_deg)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2)


def view_affines(keypoints_px: Tensor, params: ViewParameters, output_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """The window of each view.

    Args:
        keypoints_px: (B, 21, 2) joints in the stored crop.
        params: the views' parameters.
        output_px: side of the view.

    Returns:
        ``view_from_crop`` (B, 2, 3), ``crop_from_view`` (B, 2, 3) and the window's side in crop pixels (B,); float64.
        The joints' mean lands at the view's centre minus ``shift * output_px``.
    """
    center, radius = hand_circle(keypoints_px)
    side = 2 * params.margin * radius
    scale = (output_px / side)[:, None, None]
    turn = rotation(params.angle_deg)
    # Where the mean of the joints lands.
    target = (output_px - 1) / 2 - params.shift * output_px
    forward = scale * turn
    backward = turn.transpose(1, 2) / scale
    view_from_crop = torch.cat([forward, target[..., None] - forward @ center[..., None]], dim=-1)
    crop_from_view = torch.cat([backward, center[..., None] - backward @ target[..., None]], dim=-1)
    return view_from_crop, crop_from_view, side


def move_points(affine: Tensor, points: Tensor) -> Tensor:
    """Points (B, P, 2) mapped by (B, 2, 3), computed in the affine's precision, returned in the points'."""
    moved = points.to(affine.dtype) @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]
    return moved.to(points.dtype)


def undo_view(keypoints_px: Tensor, params: ViewParameters, output_px: int) -> Tensor:
    """Joints of a view (B, 21, 2) with rotation, translation and scale undone.

    Args:
        keypoints_px: joints in the views.
        params: as ``apply_view`` returned them.
        output_px: side of the views.

    Returns:
        joints in pixels of a view that was drawn straight, centred and with margin 1; the points' dtype.
    """
    center = (output_px - 1) / 2
    from_mean = keypoints_px.to(torch.float64) - (center - params.shift * output_px)[:, None]
    if params.stretch is not None:
        from_mean = from_mean * params.stretch[:, None]
    straight = from_mean @ rotation(params.angle_deg) * params.margin[:, None, None]
    return (straight + center).to(keypoints_px.dtype)
