"""Synthetic people: the shape of a hand, its skin, and the sleeve."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.hand.hand_model import HandModel, ShapedHand, hand_model
from simhand_cli.synth.hand.skin import skin_atlas

Floats = NDArray[np.float32]
ANCESTRIES: Final = ("african", "asian", "caucasian")
TONE_STRATA: Final = 8
#: Start of a sleeve nobody wears: no vertex lies that far behind the wrist, so the shader needs no special case.
NO_SLEEVE: Final = 1e6


@dataclass(frozen=True)
class Person:
    """One identity; everything that stays the same from picture to picture.

    Attributes:
        hand: shaped right hand at rest (a left hand is its mirror image).
        tone: skin, 0 light .. 1 dark. age: 0 child .. 1 old.
        atlas: pyramid of the skin texture. arm_mm: (N,) fine vertices' distance behind the wrist.
    """

    name: str
    hand: ShapedHand
    tone: float
    age: float
    atlas: list[Floats]
    arm_mm: Floats
    roughness: float
    reflectance: float
    scattering: float


def shape_weights(rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """Random weights of the shape targets, and the age in [0, 1].

    Distributions follow docs/decisions.md (synthetic hands): mixed ancestry, any gender, mostly adults.
    """
    # Below 1, so that people nearer to one ancestry are more frequent than even mixtures.
    ancestry = rng.dirichlet((0.7, 0.7, 0.7))
    male = rng.random()
    age_class = rng.choice(3, p=(0.1, 0.7, 0.2))
    age = (rng.uniform(0.0, 0.2), rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.0))[age_class]
    child = np.clip((0.25 - age) / 0.25, 0, 1)
    old = np.clip((age - 0.5) / 0.5, 0, 1)
    ages = {"child": child, "young": 1 - child - old, "old": old}
    muscle, weight = _three_way(rng.beta(2.0, 2.0)), _three_way(rng.beta(2.0, 2.2))
    weights: dict[str, float] = {}
    # The weights of a product of shares add up to 1, so that mixtures stay between the targets.
    for gender, g in (("female", 1 - male), ("male", male)):
        for age_name, a in ages.items():
            for tissue, m in muscle.items():
                for fat, w in weight.items():
                    weights[f"universal-{gender}-{age_name}-{tissue}muscle-{fat}weight"] = g * a * m * w
            for name, share in zip(ANCESTRIES, ancestry, strict=True):
                weights[f"{name}-{gender}-{age_name}"] = g * a * share
    for target, sd in (("fingers-diameter", 0.6), ("fingers-distance", 0.4), ("fingers-length", 0.4)):
        # Narrow on purpose: a wider spread of finger lengths gave hands of 14 to 24 cm.
        amount = float(np.clip(rng.normal(0.0, sd), -1.0, 1.0))
        weights[f"hand-{target}-{'incr' if amount > 0 else 'decr'}"] = abs(amount)
    return weights, float(age)


def _three_way(value: float) -> dict[str, float]:
    """Weights of min, average and max that interpolate a value in [0, 1]."""
    return {"min": max(1 - 2 * value, 0.0), "average": 1 - abs(2 * value - 1), "max": max(2 * value - 1, 0.0)}


def make_person(seed: int, number: int) -> Person:
    """Person ``number`` of a data set; tones are spread in equal shares from light to dark by number."""
    rng = np.random.default_rng([seed, 7001, number])
    model = hand_model()
    weights, age = shape_weights(rng)
    hand = model.shape(weights)
    tone = person_tone(seed, number)
    return Person(
        name=f"p{number:05d}",
        hand=hand,
        tone=tone,
        age=age,
        atlas=skin_atlas(rng, tone, age),
        arm_mm=arm_distance(model, hand),
        roughness=float(rng.uniform(0.38, 0.62)),
        reflectance=float(rng.uniform(0.014, 0.035)),
        scattering=float(rng.uniform(0.15, 0.40)),
    )


def person_tone(seed: int, number: int) -> float:
    """Skin tone of a person, 0 light .. 1 dark."""
    # The order of strata is a fixed shuffle, so that any few people in a row already differ.
    stratum = (0, 4, 2, 6, 1, 5, 3, 7)[number % TONE_STRATA]
    return float((stratum + np.random.default_rng([seed, 7002, number]).random()) / TONE_STRATA)


@lru_cache(maxsize=4)
def person(seed: int, number: int) -> Person:
    """:func:`make_person`, remembered for the last few people (a texture takes about 0.1 s to paint)."""
    return make_person(seed, number)


def arm_distance(model: HandModel, hand: ShapedHand) -> Floats:
    """Distance (N,) of the fine vertices behind the wrist along the resting forearm, mm; hand vertices are negative."""
    elbow = hand.points_mm[23]
    axis = elbow / np.linalg.norm(elbow)
    along = hand.vertices_mm @ axis
    forearm = model.weights[:, 0]
    # Skin that moves with the hand is never behind the wrist, or a sleeve could begin on the heel of the hand.
    return model.refine(np.where(forearm > 0.3, along, np.minimum(along, 0.0))[:, None])[:, 0].astype(np.float32)
