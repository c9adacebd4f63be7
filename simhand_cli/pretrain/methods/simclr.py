"""SimCLR (Chen et al., ICML 2020) as SiMHand compares with it: two views of one crop, scale and colour only."""

from simhand_cli.pretrain.methods.method import Method


class SimClr(Method):
    """Positive: the same crop. T is not undone, since it neither rotates nor moves."""

    name = "simclr"
    positive = "same-image"
    geometric = False
