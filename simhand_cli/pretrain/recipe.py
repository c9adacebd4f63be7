"""A run's options with nothing left open."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from simhand_cli.pretrain.loss_options import Recipe

if TYPE_CHECKING:
    from simhand_cli.pretrain.config import PretrainConfig
    from simhand_cli.pretrain.pairs.epoch_order import Sampling
    from simhand_cli.training.step.optimisers import OptimiserName
    from simhand_cli.training.step.schedule import LrRule
from typing import TYPE_CHECKING

from simhand_cli.pretrain.loss.methods import METHODS, resolve_views
from simhand_cli.pretrain.loss_options import RECIPES, LossOptions

if TYPE_CHECKING:
    from simhand_cli.pretrain.config import PretrainConfig
from typing import TYPE_CHECKING

from pydantic import BaseModel

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

    def as_options(self) -> dict[str, Any]:
        """By option name."""
        return asdict(self)


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
        warmup_epochs=10,
        optimiser="adam-lars",
        sync_bn=False,
        decay="released",
        sampling="replacement",
    ),
}
#: SimCLR's rates for LARS (Chen et al. 2020, Sec. 2.2 and B.1): 0.3 x batch / 256, or 0.075 x sqrt(batch).
LARS_LR: Final[dict["LrRule", float]] = {"linear": 0.3, "sqrt": 0.075, "constant": 0.3}


def optimisation_of(config: "PretrainConfig") -> Optimisation:
    """A run's; what the user left open is as the recipe says.

    A rate without a rule follows the recipe's rule. A rule without a rate starts from 1e-4 in every recipe: the
    published 3.2e-3 is that rate, scaled already. All recipes' rates and rules are Adam's; LARS on SGD has SimCLR's.
    """
    given = {name: getattr(config, name) for name in Optimisation.__dataclass_fields__}
    options = OPTIMISATION[config.loss.recipe].as_options()
    if config.optimiser == "lars":
        rule = config.lr_rule or "linear"
        options |= {"lr": LARS_LR[rule], "lr_rule": rule}
    elif config.lr_rule is not None:
        options["lr"] = OPTIMISATION["simhand"].lr
    return Optimisation(**{**options, **{name: value for name, value in given.items() if value is not None}})


#: Options that depart from a recipe and are named; of more the number is told.
_NAMED = 3


def resolved(config: "PretrainConfig") -> "PretrainConfig":
    """The config with all that method and recipe fill in; to be read, not to be used with another method."""
    method = METHODS[config.method]
    filled = {
        **optimisation_of(config).as_options(),
        "loss": method.filled(config.loss),
        "views": resolve_views(method, config.loss.recipe, config.views),
    }
    return config.model_copy(update=filled)


def told_recipe(config: "PretrainConfig") -> str:
    """A run's recipe in a few words, with the options of loss and optimisation that say otherwise than it does."""
    recipe = config.loss.recipe
    own = METHODS[config.method].filled(LossOptions(recipe=recipe))
    of_loss = {name: getattr(own, name) for name in RECIPES[recipe]}
    said = [(config.loss, of_loss, "loss."), (config, OPTIMISATION[recipe].as_options(), "")]
    others = [
        f"{prefix}{name.replace('_', '-')} {getattr(options, name)}"
        for options, values, prefix in said
        for name, value in values.items()
        if getattr(options, name) not in (None, value)
    ]
    if not others:
        return recipe
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return f"{recipe}, but for {', '.join(others[:_NAMED])}{more}"


def told_weights(config: "PretrainConfig") -> str:
    """A run's adaptive weights in a few words."""
    loss = resolved(config).loss
    if loss.weights == "none":
        return "none"
    sides = "positives and negatives" if loss.weighted == "both" else loss.weighted
    return f"{loss.weights}, of {sides}, by the distance of {loss.weight_metric}"


_NEEDS_WEIGHTS = "it needs --weights linear or nonlinear"
_OF_WEIGHTS = (
    "weighted", "weight_metric", "weight_range", "similarities", "positive_denominator", "lambda_positive",
    "lambda_negative",
)  # fmt: skip


def idle_options(config: "PretrainConfig") -> list[str]:
    """A sentence for every option that differs from its default but has no effect in this run, as far as is known."""
    method, loss = METHODS[config.method], resolved(config).loss
    found: list[str] = []

    def look(options: BaseModel, name: str, used: bool, why: str) -> None:
        value: Any = getattr(options, name)
        if not used and value != type(options).model_fields[name].default:
            prefix = "" if options is config else "loss."
            found.append(f"--{prefix}{name.replace('_', '-')} {value} has no effect: {why}")

    if loss.weights == "none":
        for name in _OF_WEIGHTS:
            look(config.loss, name, False, _NEEDS_WEIGHTS)
    else:
        for name, other in (("lambda_positive", "negatives"), ("lambda_negative", "positives")):
            used = loss.weights == "nonlinear" and loss.weighted != other
            look(config.loss, name, used, f"it needs --weights nonlinear, not of {other} alone")
        same_pose = loss.weight_joints == "undone" or loss.weight_metric == "embedding"
        alike = method.positive == "same-image" and loss.weights == "linear" and same_pose
        look(
            config.loss,
            "weighted",
            not (alike and loss.weighted == "positives"),
            "two views of one crop are all equally near; use both",
        )
    of_joints = loss.weights != "none" and loss.weight_metric == "joints"
    needs = "it needs weights of joints or --loss.false-negative-px"
    look(config.loss, "weight_joints", of_joints or loss.false_negative_px > 0, needs)
    look(config.loss, "shift_unit", method.geometric, f"--method {method.name} undoes no shift")
    for name in ("positive_rank", "positives"):
        look(config, name, method.positive == "mined", f"--method {method.name} mines no positives")
    look(config, "temporal_gap", method.positive == "next-frame", "it is for --method tempclr")
    return found
