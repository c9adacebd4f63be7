"""Decode pictures of a labelled set: which cannot be read, and how large the others are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.details import LabelDetails
from simhand_cli.labelled.fault import Fault
from simhand_cli.labelled.sample import LabelledSet


@dataclass(frozen=True)
class Pictures:
    """Pictures that were looked at.

    Attributes:
        samples: (K,) int64, which samples, ascending.
        size_px: (K, 2) int64 width and height; 0 where the picture cannot be read.
        problems: sample -> why its picture cannot be read.
    """

    samples: NDArray[np.int64]
    size_px: NDArray[np.int64]
    problems: dict[int, str]

    def readable(self) -> NDArray[np.int64]:
        """The samples whose picture was read."""
        return self.samples[self.size_px[:, 0] > 0]


def look_at_pictures(labelled: LabelledSet, samples: NDArray[np.int64], ticker: Ticker) -> Pictures:
    """Decode the pictures of some samples, one after the other; the ticker advances by pictures."""
    size_px = np.zeros((len(samples), 2), np.int64)
    problems = {}
    for row, index in enumerate(samples.tolist()):
        try:
            # A joint in the camera's plane has no pixel; that is told by the labels' own checks.
            with np.errstate(divide="ignore", invalid="ignore"):
                height, width = labelled[index].image_rgb.shape[:2]
            size_px[row] = width, height
        except InputProblem as problem:
            problems[index] = str(problem)
        ticker.advance()
    return Pictures(samples, size_px, problems)


def known_sizes(pictures: Pictures, details: LabelDetails) -> NDArray[np.int64]:
    """Width and height (M, 2) of the pictures of the detailed samples, 0 where unknown.

    Taken from the picture where it was decoded, else from the labels, else from the other pictures if all of them are
    of one size.
    """
    read = pictures.size_px[:, 0] > 0
    sizes = np.zeros((len(details.samples), 2), np.int64)
    if details.size_px is not None:
        sizes = details.size_px.copy()
    elif read.any() and (pictures.size_px[read] == pictures.size_px[read][0]).all():
        sizes[:] = pictures.size_px[read][0]
    _, here, there = np.intersect1d(details.samples, pictures.samples[read], return_indices=True)
    sizes[here] = pictures.size_px[read][there]
    return sizes


def picture_faults(pictures: Pictures, details: LabelDetails) -> list[Fault]:
    """Pictures that cannot be read, or are not of the size their labels are for.

    The labels' size is what they state; where they state none, pictures with exactly the same K must be of one size.
    """
    faults = []
    if pictures.problems:
        broken = np.array(sorted(pictures.problems), np.int64)
        why = pictures.problems[int(broken[0])]
        faults.append(Fault("picture", broken, f"picture missing or damaged ({why})", "fetch it again"))
    read = pictures.size_px[:, 0] > 0
    both, here, there = np.intersect1d(details.samples, pictures.samples[read], return_indices=True)
    found = pictures.size_px[read][there]
    wanted = details.size_px[here] if details.size_px is not None else _usual_sizes(details.intrinsics[here], found)
    wrong = (found != wanted).any(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        is_, should = ("x".join(map(str, sizes[first].tolist())) for sizes in (found, wanted))
        why = f"picture is {is_} px, its labels are for {should}"
        faults.append(Fault("picture-size", both[wrong], why, "resized or cropped without K and joints?"))
    return faults


def _usual_sizes(intrinsics: NDArray[np.float64], size_px: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every picture the most frequent size of pictures with the same K; both (K, ...)."""
    usual = size_px.copy()
    _, camera = np.unique(intrinsics.reshape(-1, 9), axis=0, return_inverse=True)
    for number in range(int(camera.max(initial=-1)) + 1):
        own = camera == number
        sizes, counts = np.unique(size_px[own], axis=0, return_counts=True)
        usual[own] = sizes[counts.argmax()]
    return usual
