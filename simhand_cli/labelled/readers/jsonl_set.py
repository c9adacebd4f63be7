"""Reader of simhand's layout for labels of your own: pictures, and ``labels.jsonl`` with one hand a line.

A line is a JSON object with ``image`` (path from the folder), ``joints_mm`` (21 x 3, camera frame, ``null`` for a joint
without label), ``intrinsics`` (3 x 3), ``hand`` ("right" or "left"), and optionally ``split`` ("train" where absent),
``subject``, ``sequence``, ``camera``. Joint order: wrist, then thumb, index, middle, ring, little, each from palm to
tip.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.images import read_rgb
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.readers.jsonl_lines import LABELS_NAME, BadLines, read_lines
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, HandSample, HandSide, LeftOut, left_out
from simhand_cli.summary import Dropped


class JsonlSet:
    """Labels of one's own as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    Args:
        path: the folder with ``labels.jsonl``.
        split: only lines of this split.

    Raises:
        InputProblem: the file cannot be read, or lines are damaged or lack a field; the first is named.
    """

    name = "jsonl"

    def __init__(self, path: Path, split: str = "train") -> None:
        self.split = split
        self._path = path
        joints, valid, intrinsics = [], [], []
        self._images: list[str] = []
        self._hands: list[HandSide] = []
        self._texts: list[tuple[str, str, str, str]] = []
        self._missing: list[str] = []
        self._named: set[str] = set()
        bad = BadLines(path / LABELS_NAME)
        for number, line in read_lines(bad.path, bad):
            if line.get("split", "train") != split:
                continue
            # Left out and counted, not refused like damaged labels: copies of a part of a set are common.
            if not (path / str(line["image"])).is_file():
                self._missing.append(str(line["image"]))
                continue
            try:
                row, camera, hand = (
                    _numbers(line, "joints_mm", (21, 3)),
                    _numbers(line, "intrinsics", (3, 3)),
                    _side(line),
                )
            except InputProblem as problem:
                bad.note(number, str(problem))
                continue
            joints.append(row)
            # null means unlabelled; NaN, which JSON does not know but Python reads, is damage and is found as such.
            valid.append([joint is not None for joint in line["joints_mm"]])
            intrinsics.append(camera)
            self._images.append(str(line["image"]))
            self._hands.append(hand)
            # Whether any line names recordings and cameras: the defaults below would look like as many of them.
            self._named |= line.keys()
            texts = [str(line.get(name, default)) for name, default in (
                ("subject", UNKNOWN_SUBJECT), ("sequence", line["image"]), ("camera", "camera"))]  # fmt: skip
            # The number of the line finds the sample again in an editor.
            self._texts.append((texts[0], texts[1], texts[2], f"line{number:07d}"))
        # After all lines are read, so that the message can say how many there are.
        bad.refuse()
        self._joints = np.array(joints, np.float32).reshape(-1, 21, 3)
        self._valid = np.array(valid, bool).reshape(-1, 21)
        self._intrinsics = np.array(intrinsics, np.float64).reshape(-1, 3, 3)

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample."""
        return [texts[0] for texts in self._texts]

    @property
    def sequences(self) -> Sequence[str]:
        """The recording of every sample; its picture where none is named."""
        return [texts[1] for texts in self._texts]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> HandSample:
        joints_mm = self._joints[index].astype(np.float64)
        projected = joints_mm @ self._intrinsics[index].T
        subject, sequence, camera, sample_id = self._texts[index]
        return HandSample(
            image_rgb=read_rgb(self._path / self._images[index]),
            intrinsics=self._intrinsics[index],
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            joint_valid=self._valid[index].copy(),
            hand=self._hands[index],
            subject=subject,
            sequence=sequence,
            camera=camera,
            sample_id=sample_id,
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3), NaN where it is ``null``, and ``joint_valid`` (N, 21), where it is not."""
        return self._joints, self._valid

    def details(self) -> LabelDetails:
        """Side, K and camera of all samples."""
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.array([hand == "right" for hand in self._hands], bool),
            intrinsics=self._intrinsics,
            cameras=[texts[2] for texts in self._texts],
            names_sequences="sequence" in self._named,
            names_cameras="camera" in self._named,
        )

    def left_out(self) -> list[LeftOut]:
        """Labelled pictures that are not there."""
        return left_out(f"pictures of {self._path}", "file is missing", self._missing)

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self.left_out()]


def _numbers(line: dict[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows = line[name]
    try:
        plain = [[np.nan] * shape[1] if row is None else row for row in rows]
        array = np.array(plain, np.float64)
    except (TypeError, ValueError):
        raise InputProblem(f"{name} is no table of numbers") from None
    if array.shape != shape:
        raise InputProblem(f"{name} is {' x '.join(map(str, array.shape))}, not {shape[0]} x {shape[1]}")
    return array


def _side(line: dict[str, Any]) -> HandSide:
    value = line["hand"]
    if value == "right":
        return "right"
    if value == "left":
        return "left"
    raise InputProblem(f"hand is {value!r}, not 'right' or 'left'")
