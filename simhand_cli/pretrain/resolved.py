"""A run's options with nothing left open."""

from typing import TYPE_CHECKING

from simhand_cli.pretrain.methods import METHODS, resolve_views
from simhand_cli.pretrain.optimisation import optimisation_of

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig


def resolved(config: "PretrainConfig") -> "PretrainConfig":
    """The config with all that method and recipe fill in; to be read, not to be used with another method."""
    method = METHODS[config.method]
    filled = {
        **optimisation_of(config).as_options(),
        "loss": method.filled(config.loss),
        "views": resolve_views(method, config.loss.recipe, config.views),
    }
    return config.model_copy(update=filled)


def told_weights(config: "PretrainConfig") -> str:
    """A run's adaptive weights in a few words."""
    loss = resolved(config).loss
    if loss.weights == "none":
        return "none"
    sides = "positives and negatives" if loss.weighted == "both" else loss.weighted
    return f"{loss.weights}, of {sides}, by the distance of {loss.weight_metric}"
