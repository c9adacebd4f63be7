"""Reader of the hands of COCO-WholeBody v1.0 (Jin et al., ECCV 2020) in its published layout; labels are 2D only.

``annotations/coco_wholebody_{split}_v1.0.json`` lists pictures and people. A person has ``lefthand_kpts`` and
``righthand_kpts`` of 21 x (x, y, v), the order of docs/conventions.md, joints with v = 0 not being labelled (v may be a
fraction); ``lefthand_box`` and ``righthand_box`` (x, y, width, height); and ``lefthand_valid`` and
``righthand_valid``: whether the hand is clear enough to be labelled. Places are indices of pixels, from 0
(https://github.com/jin-s13/COCO-WholeBody, data_format.md). Pictures are those of COCO 2017 in ``train2017`` and
``val2017``, where file names start from. Crowds (``iscrowd``) are no people.
"""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.checks.fault import nearly_all
from simhand_cli.labelled.files.coco_file import file_names, read_coco, rows_by_id
from simhand_cli.labelled.files.images import read_rgb
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import (
    UNKNOWN_INTRINSICS,
    UNKNOWN_SUBJECT,
    HandSample,
    HandSide,
    LeftOut,
    NoSuchSplit,
    left_out,
)
from simhand_cli.summary import Dropped

_SIDES: Final[tuple[HandSide, HandSide]] = ("right", "left")
#: Numbers of a hand: 21 x (x, y, v), and its box.
_KPTS, _BOX = 63, 4


class CocoWholeBody:
    """The set as a :class:`~simhand_cli.labelled.sample.LabelledSet2D`; one sample for every valid hand.

    A sample's id is ``FILE_NAME,ANNOTATION,right`` or ``,left``. Nobody is named, so each picture stands for a
    recording: the hands of one picture are not divided between training and validation.

    Args:
        path: the folder with ``annotations``, ``train2017`` and ``val2017``.
        split: ``train`` or ``val``.

    Raises:
        InputProblem: another split, an annotation file that is missing or damaged, or no picture at all.
    """

    name = "coco_wholebody"

    def __init__(self, path: Path, split: str = "train") -> None:
        if split == "test":
            raise NoSuchSplit(f"--data {path}: the labels of COCO's 'test' are not public: use --split val")
        if split not in ("train", "val"):
            raise NoSuchSplit(f"--data {path}: COCO-WholeBody has the splits 'train' and 'val', not {split!r}")
        file = path / "annotations" / f"coco_wholebody_{split}_v1.0.json"
        if not file.is_file():
            raise NoSuchSplit(f"--data {path}: annotations/{file.name} is missing")
        self.split, self._images = split, path / f"{split}2017"
        lists = _Lists()
        read_coco(file, {"images": lists.add_picture, "annotations": lists.add_person})
        picture, present = lists.pictures_of_hands(), lists.present(self._images)
        listed = picture >= 0
        # Row -1 of a hand whose picture is not listed takes the appended False.
        there = listed & np.append(present, False)[picture]
        unlisted = [f"picture {number}" for number in lists.picture_of_hand()[~listed].tolist()]
        # Single ones are damage; all of them mean that the file is no COCO-WholeBody file.
        if nearly_all(~listed, np.ones(len(picture), bool)):
            raise InputProblem(f"{file}: a hand of a picture that it does not list ({unlisted[0]})")
        missing = [lists.names[row] for row in picture[listed & ~there].tolist()]
        if missing and not there.any():
            raise InputProblem(
                f"none of the pictures that {file} names is there, first: {self._images / missing[0].decode()}"
            )
        where = f"hands in pictures of {self._images}"
        self._left_out = [
            *(entry for why, names in lists.refused.items() for entry in left_out(f"hands of {file}", why, names)),
            *left_out(f"hands of {file}", "its picture is not listed", unlisted),
            *left_out(where, "picture is missing", [name.decode() for name in missing]),
        ]
        self._file_name = np.array(lists.names, np.bytes_)
        self._size_px = np.frombuffer(lists.size_px, np.int32).reshape(-1, 2)
        self._picture = picture[there]
        self._side, self._annotation = (column[there] for column in lists.sides_and_annotations())
        numbers = np.frombuffer(lists.numbers, np.float32).reshape(-1, _KPTS + _BOX)[there]
        joints = numbers[:, :_KPTS].reshape(-1, 21, 3)
        # v may be a fraction, so anything above 0 is a label.
        self._valid = joints[..., 2] > 0
        # Unlabelled joints are published as (0, 0), which would be a corner of the picture.
        self._joints_px = np.where(self._valid[..., None], joints[..., :2], np.float32(np.nan))
        self._box_xywh = numbers[:, _KPTS:]

    @property
    def subjects(self) -> Sequence[str]:
        """Nobody is named."""
        return [UNKNOWN_SUBJECT] * len(self)

    @property
    def sequences(self) -> Sequence[str]:
        """The picture of every sample."""
        return [name.decode() for name in self._file_name[self._picture]]

    def __len__(self) -> int:
        return len(self._picture)

    def __getitem__(self, index: int) -> HandSample:
        name, side = self._file_name[self._picture[index]].decode(), _SIDES[self._side[index]]
        return HandSample(
            image_rgb=read_rgb(self._images / name),
            intrinsics=UNKNOWN_INTRINSICS,
            joints_mm=np.full((21, 3), np.nan),
            joints_px=self._joints_px[index].astype(np.float64),
            joint_valid=self._valid[index].copy(),
            hand=side,
            subject=UNKNOWN_SUBJECT,
            sequence=name,
            camera="unknown",
            sample_id=f"{name},{self._annotation[index]},{side}",
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """No 3D joints: (N, 21, 3) NaN; and (N, 21) which have a label in 2D."""
        return np.full((len(self), 21, 3), np.nan, np.float32), self._valid

    def joints_px(self) -> NDArray[np.float32]:
        """The 2D joints (N, 21, 2), NaN where there is no label."""
        return self._joints_px

    def details(self) -> LabelDetails:
        """Side, box and stated picture size of every sample; K is not known."""
        corner, size = self._box_xywh[:, :2], self._box_xywh[:, 2:]
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.asarray(self._side == 0),
            intrinsics=np.broadcast_to(UNKNOWN_INTRINSICS, (len(self), 3, 3)),
            cameras=["unknown"] * len(self),
            size_px=self._size_px[self._picture].astype(np.int64),
            box_xyxy_px=np.hstack([corner, corner + size]),
            # The picture that stands for a recording keeps hands together, but says nothing of recordings.
            names_sequences=False,
            names_cameras=False,
        )

    def left_out(self) -> list[LeftOut]:
        """Hands left out because their picture is not there, their label is damaged or says nothing."""
        return self._left_out

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self._left_out]


class _Lists:
    """Pictures and valid hands in compact arrays, collected while the annotation file streams by.

    Attributes:
        names: the pictures' file names.
        size_px: width and height of each, 0 where they are not stated.
        numbers: of every hand its 63 keypoint values and 4 of the box.
        refused: why hands that are called valid are left out -> their names.
    """

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.size_px = array("i")
        # One flat array, as the annotations stream by: lists of Python floats take many times that.
        self.numbers = array("f")
        self.refused: dict[str, list[str]] = {}
        self._picture_id = array("q")
        self._hand = array("q")

    def add_picture(self, entry: dict[str, Any]) -> None:
        """A picture of the list of images."""
        size_px = [int(entry.get(name) or 0) for name in ("width", "height")]
        picture_id, name = int(entry["id"]), str(entry["file_name"])
        self._picture_id.append(picture_id)
        self.names.append(name.encode())
        self.size_px.extend(size_px if min(size_px) > 0 else (0, 0))

    def add_person(self, entry: dict[str, Any]) -> None:
        """The valid hands of a person of the list of annotations."""
        # Their boxes surround many people, whose hands nobody has labelled one by one.
        if entry.get("iscrowd"):
            return
        for side, word in enumerate(_SIDES):
            # Of a hand that is not valid the keypoints are filled with 0.
            if not entry[f"{word}hand_valid"]:
                continue
            kpts = _row(entry, f"{word}hand_kpts", _KPTS)
            box = _row(entry, f"{word}hand_box", _BOX)
            if why := _refusal(kpts, box):
                self.refused.setdefault(why, []).append(f"annotation {int(entry['id'])},{word}")
                continue
            self._hand.extend((int(entry["image_id"]), side, int(entry["id"])))
            self.numbers.frombytes(np.append(kpts, box).tobytes())

    def picture_of_hand(self) -> NDArray[np.int64]:
        """(N,) id of the picture of every hand."""
        return np.frombuffer(self._hand, np.int64).reshape(-1, 3)[:, 0]

    def pictures_of_hands(self) -> NDArray[np.int64]:
        """(N,) row of the picture of every hand, -1 where it is not listed."""
        return rows_by_id(np.frombuffer(self._picture_id, np.int64), self.picture_of_hand())

    def sides_and_annotations(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) side, 0 right and 1 left, and id of the annotation of every hand."""
        hand = np.frombuffer(self._hand, np.int64).reshape(-1, 3)
        return hand[:, 1], hand[:, 2]

    def present(self, folder: Path) -> NDArray[np.bool_]:
        """(P,) which of the pictures lie in the folder."""
        there = file_names(folder)
        return np.array([name in there for name in self.names], bool)


def _refusal(kpts: NDArray[np.float32], box: NDArray[np.float32]) -> str:
    """Why a hand that is called valid is no sample; nothing where it is one."""
    seen = kpts[2::3]
    if not np.isfinite(seen).all():
        return "damaged: a joint's visibility is not a finite number"
    if not np.isfinite(box).all():
        return "damaged: the box is not four finite numbers"
    return "" if (seen > 0).any() else "called valid, but no joint is labelled"


def _row(entry: dict[str, Any], name: str, length: int) -> NDArray[np.float32]:
    numbers = np.asarray(entry[name], np.float32)
    if numbers.shape != (length,):
        raise ValueError(f"{name} is not {length} numbers")
    return numbers
