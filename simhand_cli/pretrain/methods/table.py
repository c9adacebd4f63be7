"""All methods by their names on the command line."""

from typing import Final

from simhand_cli.pretrain.loss_options import MethodName
from simhand_cli.pretrain.methods.handclr import HandClr
from simhand_cli.pretrain.methods.method import Method
from simhand_cli.pretrain.methods.peclr import PeClr
from simhand_cli.pretrain.methods.simclr import SimClr
from simhand_cli.pretrain.methods.simhand import SiMHand
from simhand_cli.pretrain.methods.tempclr import TempClr

METHODS: Final[dict[MethodName, Method]] = {
    method.name: method for method in (SimClr(), PeClr(), TempClr(), HandClr(), SiMHand())
}
