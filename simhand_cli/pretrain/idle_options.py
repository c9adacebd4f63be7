"""Options that were given and have no effect, because of others: better said than found out from equal results."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from simhand_cli.pretrain.methods import METHODS
from simhand_cli.pretrain.resolved import resolved

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig

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
