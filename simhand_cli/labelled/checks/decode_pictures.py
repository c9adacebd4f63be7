"""Decode pictures of a labelled set: which cannot be read, and how large the others are."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import Fault
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import LabelledSet

#: Pictures handed to the readers at a time.
_AT_ONCE: Final = 1024


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


def look_at_pictures(labelled: LabelledSet, samples: NDArray[np.int64], ticker: Ticker, readers: int = 1) -> Pictures:
    """Decode the pictures of some samples; the ticker advances by pictures.

    Args:
        labelled: the set.
        samples: which samples, ascending.
        ticker: is told of every picture.
        readers: how many are decoded at a time.
    """
    size_px = np.zeros((len(samples), 2), np.int64)
    problems = {}

    def size_of(index: int) -> tuple[int, int] | str:
        try:
            # A joint in the camera's plane has no pixel; that is told by the labels' own checks.
            with np.errstate(divide="ignore", invalid="ignore"):
                height, width = labelled[index].image_rgb.shape[:2]
        except InputProblem as problem:
            return str(problem)
        return width, height

    # Threads do: OpenCV lets go of the interpreter while it decodes.
    with ThreadPoolExecutor(readers) as pool:
        for start in range(0, len(samples), _AT_ONCE):
            asked = samples[start : start + _AT_ONCE].tolist()
            for row, (index, found) in enumerate(zip(asked, pool.map(size_of, asked), strict=True), start):
                if isinstance(found, str):
                    problems[index] = found
                else:
                    size_px[row] = found
                ticker.advance()
    return Pictures(samples, size_px, problems)


def known_sizes(pictures: Pictures, details: LabelDetails) -> NDArray[np.int64]:
    """Width and height (M, 2) of the pictures of the detailed samples, 0 where unknown.

    Taken from the picture where it was decoded, else from the labels, else from decoded pictures with exactly the same
    K if those are of one size.
    """
    sizes = np.zeros((len(details.samples), 2), np.int64) if details.size_px is None else details.size_px.copy()
    here, found = _decoded(pictures, details)
    if len(here):
        first, camera = details.lenses()
        usual, alike = _usual_sizes(camera[here], found)
        # Cameras whose decoded pictures differ in size stay unknown: guessing would call good labels outside.
        of_camera = np.zeros((len(first), 2), np.int64)
        of_camera[camera[here[alike]]] = usual[alike]
        sizes = np.where((sizes == 0).any(axis=1)[:, None], of_camera[camera], sizes)
    # What was decoded is the truth, whatever the labels state.
    sizes[here] = found
    return sizes


def picture_faults(pictures: Pictures, details: LabelDetails) -> list[Fault]:
    """Pictures that cannot be read, or are not of the size their labels are for.

    The labels' size is what they state; where they state none, pictures with exactly the same K must be of one size.
    """
    faults = []
    if pictures.problems:
        broken = np.array(sorted(pictures.problems), np.int64)
        why = f"picture missing or damaged, first: {pictures.problems[int(broken[0])]}"
        faults.append(Fault("picture", broken, why, "fetch it again"))
    here, found = _decoded(pictures, details)
    if not len(here):
        return faults
    camera = details.lenses()[1][here]
    wanted, _ = _usual_sizes(camera, found)
    if details.size_px is not None:
        stated = details.size_px[here]
        # Stated sizes may be 0 for single pictures; for these the usual size stands in.
        wanted = np.where((stated > 0).all(axis=1, keepdims=True), stated, wanted)
    wrong = np.any(found != wanted, axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        is_, should = ("x".join(map(str, sizes[first].tolist())) for sizes in (found, wanted))
        why = f"picture is {is_} px, its labels are for {should}"
        rows = details.samples[here[wrong]]
        faults.append(Fault("picture-size", rows, why, "resized or cropped without K and joints?"))
    return faults


def _decoded(pictures: Pictures, details: LabelDetails) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (K,) of the detailed samples whose picture was read, and its width and height (K, 2)."""
    read = pictures.size_px[:, 0] > 0
    _, here, there = np.intersect1d(details.samples, pictures.samples[read], return_indices=True)
    return here, pictures.size_px[read][there]


def _usual_sizes(camera: NDArray[np.int64], size_px: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For every picture the most frequent size of its camera's pictures, and whether that is the only one.

    Args:
        camera: (K,) numbers of cameras, from 0.
        size_px: (K, 2) width and height.
    """
    kinds, count = np.unique(np.column_stack([camera, size_px]), axis=0, return_counts=True)
    kinds = kinds[np.lexsort((-count, kinds[:, 0]))]  # of each camera the most frequent size first
    cameras, first, sizes = np.unique(kinds[:, 0], return_index=True, return_counts=True)
    own = np.searchsorted(cameras, camera)
    return kinds[first[own], 1:], np.asarray(sizes[own] == 1)
