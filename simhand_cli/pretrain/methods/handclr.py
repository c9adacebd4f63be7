"""HandCLR (Lin et al., 2024): PeCLR whose second view is a similar hand mined from another video."""

from simhand_cli.pretrain.methods.method import Method


class HandClr(Method):
    """Positive: the nearest pose of another video. T is undone."""

    name = "handclr"
    positive = "mined"
