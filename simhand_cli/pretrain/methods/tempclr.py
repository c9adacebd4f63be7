"""TempCLR (Ziani et al., 3DV 2022): PeCLR whose second view is the same hand a moment later."""

from simhand_cli.pretrain.methods.method import Method


class TempClr(Method):
    """Positive: the same hand some frames later. T is undone."""

    name = "tempclr"
    positive = "next-frame"
