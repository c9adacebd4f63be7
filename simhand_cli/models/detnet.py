"""DetNet on any encoder: heatmaps, bone directions and 3D locations of the 21 joints.

Zhou et al., "Monocular Real-time Hand Shape and Motion Capture using Multi-modal Data" (CVPR 2020), section 4.1, in
the form SiMHand (ICLR 2025) fine-tunes: a plain backbone, transposed convolutions up to the map, one stack of heads.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from simhand_cli.models.encoder import Encoder
from simhand_cli.skeleton import NUM_JOINTS

#: Cells of the published maps for a 128 px crop.
MAP_PX = 32
#: Sigmoid of this is about 0.02: maps start empty, as nearly all of their cells have to be.
_HEAT_BIAS = -4.0
#: Cells around the peak that take part in the averaged read-out; 3 sigma of the default target.
_WINDOW = 3


class DetNetMaps(NamedTuple):
    """Output maps.

    Attributes:
        heat: (B, J, M, M) in 0..1, (row, column).
        delta: (B, J, 3, M, M) unit vector from the parent joint.
        location: (B, J, 3, M, M) root-relative position in reference bone lengths.
    """

    heat: Tensor
    delta: Tensor
    location: Tensor


class JointReadout(NamedTuple):
    """Joints read from the maps.

    Attributes:
        joints_px: (B, J, 2) in the crop, pixel centres.
        location: (B, J, 3).
        delta: (B, J, 3).
        confidence: (B, J) peak of the heatmap.
    """

    joints_px: Tensor
    location: Tensor
    delta: Tensor
    confidence: Tensor


class DetNet(nn.Module):
    """Encoder, upsampling, and the heat, delta and location heads, each seeing the maps before it.

    Args:
        encoder: the backbone.
        width: channels of the upsampling and of the heads' hidden layers; 256 as published.
        input_px: side of the crop; the maps are a quarter of it.
    """

    def __init__(self, encoder: Encoder, width: int = 256, input_px: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = width
        self.input_px = input_px
        # Cells stay as large in pixels as published, whatever the crop.
        self.map_px = input_px * MAP_PX // 128
        self.upsample = _upsampling(encoder.map_channels, width, encoder.stride)
        # Channels of the tile: convolutions do not know where they are, but positions depend on it.
        position = 2
        self.heat_head = _head(width + position, width, NUM_JOINTS)
        self.delta_head = _head(width + position + NUM_JOINTS, width, 3 * NUM_JOINTS)
        self.location_head = _head(width + position + 4 * NUM_JOINTS, width, 3 * NUM_JOINTS)
        last = self.heat_head[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, _HEAT_BIAS)
        # Not in checkpoints: it follows from the size.
        self.register_buffer("tile", position_tile(self.map_px), persistent=False)

    def forward(self, images: Tensor) -> DetNetMaps:
        """Maps of crops (B, 3, S, S), normalised as for the encoder."""
        features = self.upsample(self.encoder.feature_map(images))
        if features.shape[-1] != self.map_px:
            # Patch sizes that do not divide the crop into a power of two cells end near the map's size.
            features = nn.functional.interpolate(features, (self.map_px, self.map_px), mode="bilinear")
        tile = self.get_buffer("tile").to(features.dtype).expand(len(features), -1, -1, -1)
        features = torch.cat([features, tile], dim=1)
        heat = torch.sigmoid(self.heat_head(features))
        features = torch.cat([features, heat], dim=1)
        delta = self.delta_head(features)
        location = self.location_head(torch.cat([features, delta], dim=1))
        return DetNetMaps(heat, delta.unflatten(1, (NUM_JOINTS, 3)), location.unflatten(1, (NUM_JOINTS, 3)))


def position_tile(map_px: int) -> Tensor:
    """(1, 2, M, M): x, then y of each cell, from -1 to 1."""
    line = torch.linspace(-1, 1, map_px)
    return torch.stack([line.expand(map_px, map_px), line[:, None].expand(map_px, map_px)])[None]


def read_joints(maps: DetNetMaps, input_px: int, average: bool = True) -> JointReadout:
    """Joints from maps.

    Args:
        maps: from :class:`DetNet`.
        input_px: side of the crop.
        average: mean over the heat in a 7 x 7 window around the peak, which sees between cells; else the values at
            the peak's cell, as published.
    """
    # In half precision sums over a window would be off by fractions of a cell.
    heat = maps.heat.float()
    size = heat.shape[-1]
    confidence, peak = heat.flatten(2).max(dim=2)
    row, column = peak // size, peak % size
    weights = _window(heat, row, column) if average else _one_hot(heat, peak)
    cells = torch.arange(size, device=heat.device, dtype=heat.dtype)
    x = torch.einsum("bjrc,c->bj", weights, cells)
    y = torch.einsum("bjrc,r->bj", weights, cells)
    return JointReadout(
        # Centre of a cell to centre of its pixels.
        joints_px=(torch.stack([x, y], dim=-1) + 0.5) * (input_px / size) - 0.5,
        location=torch.einsum("bjrc,bjdrc->bjd", weights, maps.location.float()),
        delta=torch.einsum("bjrc,bjdrc->bjd", weights, maps.delta.float()),
        confidence=confidence,
    )


def _window(heat: Tensor, row: Tensor, column: Tensor) -> Tensor:
    cells = torch.arange(heat.shape[-1], device=heat.device)
    near_row = (cells - row[..., None]).abs() <= _WINDOW
    near_column = (cells - column[..., None]).abs() <= _WINDOW
    weights = heat * (near_row[..., :, None] & near_column[..., None, :])
    return weights / weights.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)


def _one_hot(heat: Tensor, peak: Tensor) -> Tensor:
    flat = torch.zeros_like(heat.flatten(2)).scatter_(2, peak[..., None], 1.0)
    return flat.view_as(heat)


def _upsampling(channels: int, width: int, stride: int) -> nn.Sequential:
    """Doubling layers from the encoder's stride to a quarter of the crop (three for stride 32)."""
    # Strides of 4 and less need none; then a 1 x 1 convolution brings the channels to the width.
    doublings = max(round(torch.log2(torch.tensor(stride / 4)).item()), 0)
    layers: list[nn.Module] = []
    for _ in range(doublings):
        layers += [nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    if not layers:
        layers = [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _head(channels: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        # No bias before a batch norm, which would take it away.
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, outputs, 1),
    )
