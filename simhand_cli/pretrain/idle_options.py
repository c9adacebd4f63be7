"""Options that were given and change nothing, because of others: better said than found out from equal results."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from simhand_cli.pretrain.methods import METHODS
from simhand_cli.pretrain.resolved import resolved

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig

_NO_WEIGHTS = "without --weights linear or nonlinear"
_OF_WEIGHTS = (
    "weighted", "weight_metric", "weight_range", "similarities", "positive_denominator", "lambda_positive",
    "lambda_negative",
)  # fmt: skip


def idle_options(config: "PretrainConfig") -> list[str]:
    """A sentence for every option that differs from its default without any effect in this run."""
    method, loss = METHODS[config.method], resolved(config).loss
    found: list[str] = []

    def look(options: BaseModel, name: str, used: bool, why: str) -> None:
        value: Any = getattr(options, name)
        if not used and value != type(options).model_fields[name].default:
            prefix = "" if options is config else "loss."
            found.append(f"--{prefix}{name.replace('_', '-')} {value} changes nothing {why}")

    if loss.weights == "none":
        for name in _OF_WEIGHTS:
            look(config.loss, name, False, _NO_WEIGHTS)
    else:
        for name, other in (("lambda_positive", "negatives"), ("lambda_negative", "positives")):
            used = loss.weights == "nonlinear" and loss.weighted != other
            look(config.loss, name, used, f"but with --weights nonlinear, and not of {other} alone")
    look(config, "positive_rank", method.positive == "mined", f"with --method {method.name}, which mines no positives")
    look(config, "positives", method.positive == "mined", f"with --method {method.name}, which mines no positives")
    look(config, "temporal_gap", method.positive == "next-frame", "but with --method tempclr")
    return found
