"""SiMHand (Lin et al., ICLR 2025): HandCLR whose pairs are weighed by how near their poses are."""

from simhand_cli.pretrain.methods.method import Method


class SiMHand(Method):
    """Positive: the nearest pose of another video. T is undone, and weights are adaptive."""

    name = "simhand"
    positive = "mined"
    weights = "linear"
