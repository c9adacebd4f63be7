"""A run's options with nothing left open."""

from typing import TYPE_CHECKING

from simhand_cli.pretrain.methods import METHODS, resolve_views
from simhand_cli.pretrain.optimisation import OPTIMISATION, optimisation_of
from simhand_cli.pretrain.options import RECIPES, LossOptions

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig

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
