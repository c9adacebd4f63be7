"""A pre-training run's settings: what a person said, turned once into what will be done, with nothing left open."""

from dataclasses import asdict, fields
from typing import Literal

from pydantic import PrivateAttr

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.loss_options import LossSettings
from simhand_cli.pretrain.methods.method import Method
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.pretrain.pairs.epoch_order import Sampling
from simhand_cli.pretrain.recipe import LARS_LR, OPTIMISATION, DecayOption, Optimisation
from simhand_cli.training.step.optimisers import OptimiserName
from simhand_cli.training.step.schedule import LrRule
from simhand_cli.views.options import ViewSettings


class PretrainSettings(PretrainConfig):
    """The options of a run as method and recipe fill them; made by :func:`settle` alone.

    What may still be None has no value by choice: no limit of steps or crops, no parts of a batch, a warm-up of a tenth
    of the run (:class:`~simhand_cli.pretrain.plan.Plan` counts its steps), a figure that depends on the machine.
    """

    name: str
    lr: float
    lr_rule: LrRule
    optimiser: OptimiserName
    decay: DecayOption
    sampling: Sampling
    sync_bn: bool
    views: ViewSettings
    loss: LossSettings
    _said: PretrainConfig = PrivateAttr()

    @property
    def said(self) -> PretrainConfig:
        """The options as they were given."""
        return self._said

    @property
    def chosen_method(self) -> Method:
        """The method of that name."""
        return METHODS[self.method]


def settle(config: PretrainConfig) -> PretrainSettings:
    """Fill what the user left open, as method and recipe say; what is set stays."""
    method = METHODS[config.method]
    filled = {
        **asdict(_optimisation(config)),
        "name": config.name or f"{config.method}-{config.backbone}",
        "loss": method.settle_loss(config.loss),
        "views": method.settle_views(config.loss.recipe, config.views),
    }
    # Without validation: options were validated, and the rest comes from tables of our own.
    settings = PretrainSettings.model_construct(**{**dict(config), **filled})
    settings._said = config
    return settings


def _optimisation(config: PretrainConfig) -> Optimisation:
    """Rate, optimiser and their like.

    A rate without a rule follows the recipe's rule. A rule without a rate starts from 1e-4 in every recipe: the
    published 3.2e-3 is that rate, scaled already. All recipes' rates and rules are Adam's; LARS on SGD has SimCLR's.
    """
    given = {field.name: getattr(config, field.name) for field in fields(Optimisation)}
    options = asdict(OPTIMISATION[config.loss.recipe])
    if config.optimiser == "lars":
        rule: Literal["constant", "sqrt", "linear"] = config.lr_rule or "linear"
        options |= {"lr": LARS_LR[rule], "lr_rule": rule}
    elif config.lr_rule is not None:
        options["lr"] = OPTIMISATION["simhand"].lr
    return Optimisation(**{**options, **{name: value for name, value in given.items() if value is not None}})
