"""Options of the contrastive loss, what each recipe fills in, and the names of the methods; light, for --help."""

from typing import Literal

from simhand_cli.config.base import Section, option

MethodName = Literal["simclr", "peclr", "tempclr", "handclr", "simhand"]
Recipe = Literal["simhand", "paper", "official"]
WeightKind = Literal["none", "linear", "nonlinear"]
Weighted = Literal["both", "positives", "negatives"]
WeightRange = Literal["single", "separate"]
WeightMetric = Literal["joints", "embedding"]
WeightJoints = Literal["view", "undone"]
PositiveDenominator = Literal["w_neg", "w_pos", "one"]
Negatives = Literal["global", "rank"]
ShiftUnit = Literal["hand", "range", "pixels"]
FalseNegatives = Literal["keep", "mask"]
Similarities = Literal["plain", "centred"]

_RECIPE = "default: as the recipe says"


class LossOptions(Section):
    """How features are compared. An empty option is filled by the recipe; one that is set stays as set."""

    recipe: Recipe = option(
        "simhand", "Whose side to take where paper and released code differ", short="--recipe", common=True
    )
    temperature: float = option(0.5, "Temperature of NT-Xent", gt=0)
    weights: WeightKind | None = option(
        None, "Adaptive weights of the pairs (default: as the method says)", short="--weights", common=True
    )
    weighted: Weighted | None = option(
        None,
        "Where the weights count: in numerator and denominator, in the numerator alone, or in the denominator alone "
        f"({_RECIPE})",
    )
    weight_range: WeightRange | None = option(
        None,
        "Smallest and largest distance taken over all pairs at once, or separately over the positives and over the "
        f"whole matrix with its zero diagonal ({_RECIPE})",
    )
    weight_metric: WeightMetric | None = option(
        None,
        "Distances that make the weights: mean over the joints in pixels of the view, or Euclidean between the pose "
        f"embeddings of mining ({_RECIPE})",
    )
    weight_joints: WeightJoints | None = option(
        None,
        "Joints whose distances make the weights (no effect with --loss.weight-metric embedding) and leave out false "
        f"negatives by distance: as in the views, or with T undone ({_RECIPE})",
    )
    similarities: Similarities | None = option(
        None, f"What the weights multiply: similarities, or these less their mean over the anchor's row ({_RECIPE})"
    )
    lambda_positive: float = option(
        1.0, "Steepness per pixel, or unit of the embedding, of the positives' nonlinear weights", gt=0
    )
    lambda_negative: float = option(
        0.05, "Steepness per pixel, or unit of the embedding, of the negatives' nonlinear weights", gt=0
    )
    positive_denominator: PositiveDenominator | None = option(
        None, f"Weight of the positive pair's own term in the denominator ({_RECIPE})"
    )
    negatives: Negatives | None = option(None, f"Negatives of all ranks or of the own rank only ({_RECIPE})")
    shift_unit: ShiftUnit | None = option(
        None,
        "How far features are moved back for a shift of the view: in units of the hand's spread, of the points' range "
        f"per axis, or the released code's source pixels over output pixels ({_RECIPE})",
    )
    false_negatives: FalseNegatives | None = option(
        None, f"Keep or leave out negatives that share an image with the anchor's pair ({_RECIPE})"
    )
    false_negative_px: float = option(
        0.0, "Leave out negatives whose joints are nearer than this on average, view pixels (0 = none)", ge=0
    )
    block_rows: int = option(1024, "Rows of the similarity matrix held at once", ge=1)

    def settled(self, default_weights: WeightKind, *, same_image: bool = False) -> "LossSettings":
        """The same with every open option set by the recipe, and the weights by the method.

        Args:
            default_weights: of the method.
            same_image: the method contrasts an image with itself. With T undone its positives are all equally near, so
                that weights of the positives alone would be none; then ``simhand`` weighs both sides too.
        """
        values: dict[str, object] = {**RECIPES[self.recipe], "weights": default_weights}
        # See docs/decisions.md: weights of positives that are all at distance 0 would all be 1.
        if same_image:
            values["weighted"] = "both"
        if (self.weights or default_weights) == "nonlinear":  # the paper has none, and their steepness is per pixel
            values["weight_metric"] = "joints"
        # What the user said goes before recipe and method.
        given = {name: value for name, value in self if value is not None}
        # Without validation: the values come from validated options and the tables below.
        return LossSettings.model_construct(**{**values, **given})


class LossSettings(LossOptions):
    """How features are compared, with nothing left open; made by :meth:`LossOptions.settled` alone."""

    weights: WeightKind
    weighted: Weighted
    weight_range: WeightRange
    weight_metric: WeightMetric
    weight_joints: WeightJoints
    similarities: Similarities
    positive_denominator: PositiveDenominator
    negatives: Negatives
    shift_unit: ShiftUnit
    false_negatives: FalseNegatives

    @property
    def needs_embeddings(self) -> bool:
        """Whether pairs are weighed by their pose embeddings."""
        return self.weights != "none" and self.weight_metric == "embedding"


#: What each recipe says where the paper and the released code differ; reasons in docs/decisions.md.
RECIPES: dict[Recipe, dict[str, str]] = {
    "simhand": {
        "weighted": "positives",
        "weight_range": "single",
        "weight_metric": "joints",
        "weight_joints": "undone",
        "similarities": "centred",
        "positive_denominator": "w_neg",
        "negatives": "global",
        "shift_unit": "hand",
        "false_negatives": "mask",
    },
    "paper": {
        "weighted": "both",
        "weight_range": "single",
        "weight_metric": "embedding",
        "weight_joints": "view",
        "similarities": "plain",
        "positive_denominator": "w_neg",
        "negatives": "global",
        "shift_unit": "range",
        "false_negatives": "keep",
    },
    "official": {
        "weighted": "both",
        "weight_range": "separate",
        "weight_metric": "joints",
        "weight_joints": "view",
        "similarities": "plain",
        "positive_denominator": "w_neg",
        "negatives": "rank",
        "shift_unit": "pixels",
        "false_negatives": "keep",
    },
}
