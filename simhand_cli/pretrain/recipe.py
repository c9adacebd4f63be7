"""What each recipe says of rate, warm-up, optimiser, decay, order of the pairs and batch statistics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from simhand_cli.pretrain.loss_options import Recipe

if TYPE_CHECKING:
    from simhand_cli.pretrain.pairs.epoch_order import Sampling
    from simhand_cli.training.step.optimisers import OptimiserName
    from simhand_cli.training.step.schedule import LrRule

DecayOption = Literal["kernels", "released"]


@dataclass(frozen=True)
class Optimisation:
    """The options of this kind, all set.

    Attributes:
        lr: rate that ``lr_rule`` starts from.
        lr_rule: how the peak rate follows from it and the batch.
        warmup_epochs: epochs of rising rate; None = a tenth of the run.
        optimiser: its name.
        sync_bn: whether batch norm takes its statistics over all processes.
        sampling: in which order pairs come, see :func:`simhand_cli.pretrain.pairs.epoch_order.epoch_order`.
        decay: what is decayed, see :func:`simhand_cli.pretrain.model.released_scales`.
    """

    lr: float
    lr_rule: "LrRule"
    warmup_epochs: float | None
    optimiser: "OptimiserName"
    sync_bn: bool
    decay: DecayOption
    sampling: "Sampling"


#: The released code's rate is 1e-4 x sqrt(1024) whatever the batch, its statistics are each GPU's own, and its "LARS"
#: wraps Adam (fact sheet, sections 1.3 to 1.6). The paper gives the rate and the optimiser alone.
OPTIMISATION: dict[Recipe, Optimisation] = {
    "simhand": Optimisation(
        lr=1e-4,
        lr_rule="sqrt",
        warmup_epochs=None,
        optimiser="adam",
        sync_bn=True,
        decay="kernels",
        sampling="shuffle",
    ),
    "paper": Optimisation(
        lr=3.2e-3,
        lr_rule="constant",
        warmup_epochs=None,
        optimiser="adam-lars",
        sync_bn=True,
        decay="kernels",
        sampling="shuffle",
    ),
    "official": Optimisation(
        lr=3.2e-3,
        lr_rule="constant",
        # Of whatever length the run: with the published 100 epochs also a tenth.
        warmup_epochs=10,
        optimiser="adam-lars",
        sync_bn=False,
        decay="released",
        sampling="replacement",
    ),
}
#: SimCLR's rates for LARS (Chen et al. 2020, Sec. 2.2 and B.1): 0.3 x batch / 256, or 0.075 x sqrt(batch).
LARS_LR: Final[dict["LrRule", float]] = {"linear": 0.3, "sqrt": 0.075, "constant": 0.3}
