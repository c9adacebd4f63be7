"""What people are told of a run's settings: recipe, weights, and options that have no effect."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from simhand_cli.pretrain.loss_options import RECIPES, LossOptions
from simhand_cli.pretrain.pairs.pair_table import PairTable
from simhand_cli.pretrain.recipe import OPTIMISATION
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.summary import Dropped

#: A positive that is nearest less often than so many times by chance has not been learned.
_LEARNED = 2.0
#: In batches of a few pairs chance alone is so often right that the share tells nothing.
_TELLING = 0.2
#: Options that depart from a recipe and are named; of more the number is told.
_NAMED = 3


def told_recipe(settings: PretrainSettings) -> str:
    """A run's recipe in a few words, with the options of loss and optimisation that say otherwise than it does."""
    config, recipe = settings.said, settings.loss.recipe
    # What the recipe gives this method, which may differ from the table (simclr, peclr with weights).
    own = settings.chosen_method.settle_loss(LossOptions(recipe=recipe))
    of_loss = {name: getattr(own, name) for name in RECIPES[recipe]}
    said = [(config.loss, of_loss, "loss."), (config, asdict(OPTIMISATION[recipe]), "")]
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


def told_weights(settings: PretrainSettings) -> str:
    """A run's adaptive weights in a few words."""
    loss = settings.loss
    if loss.weights == "none":
        return "none"
    sides = "positives and negatives" if loss.weighted == "both" else loss.weighted
    return f"{loss.weights}, of {sides}, by the distance of {loss.weight_metric}"


_NEEDS_WEIGHTS = "it needs --weights linear or nonlinear"
_OF_WEIGHTS = (
    "weighted", "weight_metric", "weight_range", "similarities", "positive_denominator", "lambda_positive",
    "lambda_negative",
)  # fmt: skip


def idle_options(settings: PretrainSettings) -> list[str]:
    """A sentence for every option that differs from its default but has no effect in this run, as far as is known."""
    config, method, loss = settings.said, settings.chosen_method, settings.loss
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
        # With T undone, or by embeddings, both views of a crop are at distance 0.
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


def verdict(result: Mapping[str, Any]) -> str | None:
    """What a run's figures say of it where they say that it has learned nothing, and what to try; else None.

    Args:
        result: of a finished run; ``top1``: how often the positive was the nearest of a batch, ``top1_chance``: how
            often it would be if features were random.
    """
    # Results of earlier versions lack these.
    top1, chance = result.get("top1"), result.get("top1_chance")
    if not isinstance(top1, float) or not isinstance(chance, float) or top1 > _LEARNED * chance or chance > _TELLING:
        return None
    tried = "--init with trained weights, " if result.get("init") == "random" else ""
    return (
        f"positives nearest {100 * top1:.1f} %, chance {100 * chance:.1f} %: nothing was learned; try {tried}more "
        "--epochs, or another --lr"
    )


def left_out(table: PairTable, settings: PretrainSettings) -> list[Dropped]:
    """Crops that are not learned from, by reason, and which flag would change it."""
    dropped = []
    if table.without_positive:
        why = ("no positive in another video", "more videos, or a smaller --positive-rank")
        if settings.chosen_method.positive == "next-frame":
            why = (
                "the hand is not found again a moment later",
                "ingest with more --fps, or a larger --temporal-gap",
            )
        dropped.append(Dropped("crops", table.without_positive, *why))
    if table.beyond_limit:
        dropped.append(Dropped("crops", table.beyond_limit, "beyond the limit", "--limit-crops"))
    return dropped
