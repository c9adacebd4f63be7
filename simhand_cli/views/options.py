"""The options of the augmentation T (no heavy imports: the command line reads this file)."""

from typing import Literal, Self

from pydantic import model_validator

from simhand_cli.config.base import Section, option

Range = tuple[float, float]

#: The default ranges of a geometric method under ``recipe=simhand``. The jitter of 15 px in a 224 px frame is the
#: published amount; here it goes both ways.
ROTATION_DEG: Range = (-45.0, 45.0)
MARGIN: Range = (0.9, 1.5)
TRANSLATION: Range = (-15 / 224, 15 / 224)
HUE_ORDER: Literal["rgb", "bgr-swapped"] = "rgb"
BORDER: Literal["pad", "cut"] = "pad"

_RECIPE = "default: as method and recipe say"


class ViewOptions(Section):
    """How a view is drawn from a stored crop.

    A view is one square window around the hand, drawn by a single warp: rotated about the mean of the joints, its
    side ``2 * margin * (largest distance of a joint from that mean)``, moved by a fraction of its own side, then
    shown at ``output_px``; or, with ``border="cut"``, what the hand's frame leaves of that window, moved by a fraction
    of the frame's side. Colours change in HSV afterwards. The five fields that may be empty depend on the method and
    the recipe; see :meth:`simhand_cli.pretrain.methods.method.Method.settle_views`.
    """

    output_px: int = option(128, "Side of a view in pixels", ge=16, le=1024)
    rotation_deg: Range | None = option(None, f"Range of the rotation about the hand, degrees ({_RECIPE})")
    margin: Range | None = option(None, f"Range of half the window's side over the hand's radius ({_RECIPE})")
    translation: Range | None = option(None, f"Range of the window's shift over its side, x and y ({_RECIPE})")
    border: Literal["pad", "cut"] | None = option(
        None,
        "Where the window leaves the hand's frame, 1.3 times the box of its joints: go on into the stored crop, black "
        "beyond, or be cut off and stretched as in the released code, the shift then counting in sides of the frame "
        f"({_RECIPE})",
    )
    hue: Range = option((0.01, 1.0), "Range of the factor on the hue")
    saturation: Range = option((0.01, 1.0), "Range of the factor on the saturation")
    value: Range = option((0.5, 1.0), "Range of the factor on the brightness")
    brightness: Range = option((5 / 255, 20 / 255), "Range of what is added to the brightness, 0 to 1")
    hue_order: Literal["rgb", "bgr-swapped"] | None = option(
        None, f"Channel order in which the hue is read; the released code reads RGB as BGR ({_RECIPE})"
    )
    blur_probability: float = option(0.0, "Probability of a Gaussian blur", ge=0, le=1)
    noise_probability: float = option(0.0, "Probability of Gaussian pixel noise (std 25/255)", ge=0, le=1)
    cutout_probability: float = option(0.0, "Probability of a black square on a joint", ge=0, le=1)
    grey_probability: float = option(0.0, "Probability of a grey view", ge=0, le=1)
    sobel_probability: float = option(0.0, "Probability of an edge image", ge=0, le=1)

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("rotation_deg", "margin", "translation", "hue", "saturation", "value", "brightness"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name}: the range's first number must not be larger than its second")
        if self.margin is not None and self.margin[0] <= 0:
            raise ValueError("margin: must be larger than 0")
        return self

    def settled(self) -> "ViewSettings":
        """The same with every open field set as for a geometric method under ``recipe=simhand``."""
        filled = self.filled(
            rotation_deg=ROTATION_DEG, margin=MARGIN, translation=TRANSLATION, hue_order=HUE_ORDER, border=BORDER
        )
        return ViewSettings.model_construct(**dict(filled))

    def filled(self, **values: object) -> "ViewOptions":
        """The same with those of ``values`` whose field is still open."""
        return self.model_copy(update={n: v for n, v in values.items() if getattr(self, n) is None})


class ViewSettings(ViewOptions):
    """How views are drawn, with nothing left open; made by :meth:`ViewOptions.settled` alone."""

    rotation_deg: Range
    margin: Range
    translation: Range
    border: Literal["pad", "cut"]
    hue_order: Literal["rgb", "bgr-swapped"]
