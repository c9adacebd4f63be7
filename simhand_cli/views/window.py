"""The window of a view: which part of the stored crop it shows, at the border of the frame padded or cut off."""

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from simhand_cli.views.geometry import MIN_RADIUS_PX, hand_circle, rotation, view_affines
from simhand_cli.views.options import ViewSettings
from simhand_cli.views.parameters import ViewParameters

#: The released data's crops: squares of this many times the box of the joints, stored with this side.
FRAME_SCALE: Final = 1.3
FRAME_PX: Final = 224


@dataclass(frozen=True)
class Window:
    """The windows of B views.

    Attributes:
        view_from_crop: (B, 2, 3) float64, from the stored crop to the view, pixel centres.
        crop_from_view: (B, 2, 3) float64, its inverse.
        params: what was drawn, with ``shift``, ``jitter_px`` and ``stretch`` as the views have them.
        frame: (B, 3) float64, centre (x, y) and side in the stored crop of the square outside of which is black; None
            where there is none.
    """

    view_from_crop: Tensor
    crop_from_view: Tensor
    params: ViewParameters
    frame: Tensor | None = None


def draw_window(keypoints_px: Tensor, params: ViewParameters, options: ViewSettings) -> Window:
    """The window of each view.

    Args:
        keypoints_px: (B, 21, 2) joints in the stored crop.
        params: as drawn.
        options: of the views; ``border`` says what happens where the window leaves the frame.
    """
    if options.border == "cut":
        return cut_window(keypoints_px, params, options.output_px)
    view_from_crop, crop_from_view, side = view_affines(keypoints_px, params, options.output_px)
    return Window(view_from_crop, crop_from_view, replace(params, jitter_px=params.shift * side[:, None]))


def hand_frame(keypoints_px: Tensor) -> Tensor:
    """Centre (x, y) and side (B, 3), float64, of the squares around joints (B, 21, 2) that the released data stores."""
    points = keypoints_px.to(torch.float64)
    low, high = points.amin(dim=1), points.amax(dim=1)
    side = FRAME_SCALE * (high - low).amax(dim=1).clamp_min(2 * MIN_RADIUS_PX)
    return torch.cat([(low + high) / 2, side[:, None]], dim=1)


def cut_window(keypoints_px: Tensor, params: ViewParameters, output_px: int) -> Window:
    """The released code's window: cut off at the border of the hand's frame, and what is left stretched to a square.

    The frame is turned about the mean of the joints, on a canvas that stays where the frame was. The window's origin
    (left, top) is that mean less ``margin * radius`` plus the jitter, but not outside the canvas; it is twice
    ``margin * radius`` wide and high, but ends where the canvas ends (fact sheet, section 2.2). Numbers are real, where
    the released code's are whole.

    Args:
        keypoints_px: (B, 21, 2) joints in the stored crop.
        params: as drawn; ``shift`` is the jitter over the frame's side (15 px of a frame of 224 are 15 / 224).
        output_px: side of the views.
    """
    center, radius = hand_circle(keypoints_px)
    frame = hand_frame(keypoints_px)
    frame_side = frame[:, 2:]
    first, last = frame[:, :2] - frame_side / 2, frame[:, :2] + frame_side / 2
    half = (params.margin * radius)[:, None]
    free = center - half + params.shift * frame_side
    # The second bound keeps a window of some size where a large shift would leave the frame altogether.
    origin = torch.minimum(torch.maximum(free, first), last - MIN_RADIUS_PX)
    # No longer square where the border cuts it; the scale below then differs in x and y, as published.
    sides = torch.minimum(origin + 2 * half, last) - origin
    mean_at = (center - origin) / sides
    scale = output_px / sides
    turn = rotation(params.angle_deg)
    # From edges to pixel centres.
    target = mean_at * output_px - 0.5
    forward = scale[:, :, None] * turn
    backward = turn.transpose(1, 2) / scale[:, None, :]
    return Window(
        torch.cat([forward, (target - (forward @ center[..., None])[..., 0])[..., None]], dim=-1),
        torch.cat([backward, (center - (backward @ target[..., None])[..., 0])[..., None]], dim=-1),
        replace(
            params,
            shift=0.5 - mean_at,
            jitter_px=(origin - center + half) * (FRAME_PX / frame_side),
            stretch=sides / (2 * half),
        ),
        frame,
    )
