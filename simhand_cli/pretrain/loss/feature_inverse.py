"""T undone in feature space: the projection is a set of 2D points that is moved back as the hand was moved.

After PeCLR (Spurr et al. 2021) and SiMHand (Eq. for z-tilde, Sec. 3.3): normalise, undo the translation, undo the
rotation, normalise again. Scale is not undone: the last normalisation removes it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from simhand_cli.pretrain.loss_options import ShiftUnit
from simhand_cli.views.geometry import rotation
from simhand_cli.views.parameters import ViewParameters

#: A hundredth of the view: no real hand's joints are closer together than that.
MIN_SPREAD = 0.01


def hand_spread(keypoints_px: Tensor, output_px: int) -> Tensor:
    """RMS distance (B,) of the joints (B, 21, 2) of a view from their mean, over the view's side."""
    # The floor keeps coinciding joints from moving features to infinity.
    return (_spread(keypoints_px.to(torch.float64)) / output_px).clamp_min(MIN_SPREAD)


def _spread(points: Tensor) -> Tensor:
    return (points - points.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean(dim=1).sqrt()


def invert_view_in_features(
    z: Tensor,
    params: ViewParameters,
    *,
    undo_rotation: bool,
    undo_translation: bool,
    shift_unit: ShiftUnit = "hand",
    spread: Tensor | None = None,
    output_px: int = 128,
) -> Tensor:
    """Undo each view's translation and rotation on its projection.

    Args:
        z: (B, 2P) projections, P points as (x0, y0, x1, y1, ...).
        params: the views' parameters; with ``shift_unit="pixels"`` those that ``apply_view`` returned.
        undo_rotation: turn the points back about their mean.
        undo_translation: move the points back.
        shift_unit: what a shift by the whole window is worth in features, whose scale is free. ``hand``: the points
            spread as the joints do, so shift times (RMS spread of the points / RMS spread of the joints over the
            view's side); exact for points that move as the joints. ``range``: the points fill the window, so shift
            times the points' range in each axis (the published form). ``pixels``: as ``range``, with the shift of
            the window's origin in pixels of its source over ``output_px``, the wrong side, as in the released code. The
            source is the released 224 px frame with ``border="cut"``, where the shift holds what the left and top
            border took back and not what is cut off at the right and bottom; else the stored crop.
        spread: (B,) from :func:`hand_spread`, for ``shift_unit="hand"``.
        output_px: side of the view, for ``shift_unit="pixels"``.

    Returns:
        (B, 2P) of length 1 each, in the dtype of ``z``. Means, spreads and ranges take no gradient, as published.
    """
    # Lengths are free in a contrastive loss, and shifts need a unit.
    z = functional.normalize(z, dim=1)
    points = z.reshape(len(z), -1, 2)
    # The picture was turned first and then cropped, so the crop is undone first.
    if undo_translation:
        # Detached: else the network could shrink the shift by shrinking its points' spread.
        shift = _feature_shift(points.detach(), params, shift_unit, spread, output_px)
        # Plus: the window's move to the right has moved the hand in it to the left.
        points = points + shift.to(z.dtype)[:, None]
    if undo_rotation:
        center = points.detach().mean(dim=1, keepdim=True)
        # Row vectors times R(angle) are turned by R(angle)^T = R(-angle).
        points = (points - center) @ rotation(params.angle_deg).to(z.dtype) + center
    return functional.normalize(points.flatten(1), dim=1)


def _feature_shift(
    points: Tensor, params: ViewParameters, unit: ShiftUnit, spread: Tensor | None, output_px: int
) -> Tensor:
    """How far (B, 2) to move the points back: the window's own shift, in feature units."""
    if unit == "hand":
        if spread is None:
            raise ValueError("shift_unit='hand' needs the joints' spread")
        return params.shift * (_spread(points) / spread)[:, None]
    extent = points.amax(dim=1) - points.amin(dim=1)
    if unit == "range":
        return params.shift * extent
    if params.jitter_px is None:
        raise ValueError("shift_unit='pixels' needs the parameters that apply_view returned")
    return params.jitter_px / output_px * extent
