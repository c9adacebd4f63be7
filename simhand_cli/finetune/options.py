"""Groups of fine-tuning options; light enough for ``--help``."""

from typing import Any, Literal

from pydantic import field_validator

from simhand_cli.config.base import Section, option
from simhand_cli.skeleton import JOINT_NAMES, MIDDLE_MCP, WRIST, RootJoint

LossForm = Literal["mean", "frobenius"]
#: Which part of the labels a fraction is; see label_fraction.py.
FractionRule = Literal["random-frame", "stratified", "official-first"]
#: How often the samples of several sets come.
Mix = Literal["by-size", "equal"]
Schedule = Literal["cosine", "step"]


class AugmentOptions(Section):
    """How training crops are varied; validation and test crops never are."""

    rotation_deg: float = option(90.0, "Largest in-plane rotation to either side, degrees", ge=0, le=180)
    scale: float = option(0.2, "Largest relative change of the crop's side", ge=0, lt=1)
    shift: float = option(0.1, "Largest shift of the crop along x and y, part of its side", ge=0, lt=1)
    colour: float = option(1.0, "Strength of the colour changes, 0 = none, 1 = as published for DetNet", ge=0, le=2)
    blur_px: float = option(1.0, "Largest Gaussian blur of the 128 px crop, pixels", ge=0)


class TargetOptions(Section):
    """What the maps are trained to show."""

    sigma: float = option(1.0, "Width of the heatmap's Gaussian, cells of the 32 x 32 map", gt=0)
    rounding: Literal["none", "truncate"] = option(
        "none", "Joint position on the map: exact, or cut to a whole cell as in the released code"
    )
    root_joint: RootJoint = option("wrist", "Joint that 3D positions are relative to; middle_mcp is the middle knuckle")

    @property
    def root_index(self) -> int:
        """The root joint's place in the joint order."""
        return JOINT_NAMES.index(self.root_joint)

    @field_validator("root_joint", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """The joint's name where a config of an earlier version has its number."""
        return {str(number): JOINT_NAMES[number] for number in (WRIST, MIDDLE_MCP)}.get(str(value), value)


class LossOptions(Section):
    """Weights and form of the three losses."""

    heat: float = option(100.0, "Weight of the heatmap loss", ge=0)
    location: float = option(1.0, "Weight of the location map loss", ge=0)
    delta: float = option(1.0, "Weight of the bone direction map loss", ge=0)
    l2: float = option(0.0, "Weight of half the sum of all squared kernels, as the original DetNet has it", ge=0)
    form: LossForm = option(
        "mean", "3D map losses: mean length of the error, or the released code's, which depends on the batch size"
    )

    @property
    def only_2d(self) -> bool:
        """The model is one of 2D joints alone: joints in 3D are read from the location maps, which are not trained."""
        return self.location == 0
