"""PeCLR (Spurr et al., ICCV 2021): two views of one crop, rotated and moved, and T undone in the features."""

from simhand_cli.pretrain.methods.method import Method


class PeClr(Method):
    """Positive: the same crop. T is undone."""

    name = "peclr"
    positive = "same-image"
