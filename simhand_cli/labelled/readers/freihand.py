"""Reader of FreiHAND v2 (Zimmermann et al., ICCV 2019) in its published layout.

``training/rgb/%08d.jpg`` holds the same N labelled hands (32,560) before four backgrounds: images 0..N-1
green screen, then N each of ``hom``, ``sample`` and ``auto``; image i carries label i mod N.
``training_{K,xyz,scale,mano,verts}.json`` hold the labels (xyz and verts in metres, camera frame),
``training/mask`` the hand's pixels. ``evaluation/rgb`` holds the test images (3,960), whose xyz were
published later as ``evaluation_xyz.json`` in ``FreiHAND_pub_v2_eval``.
All hands are right hands, all joints are labelled and all pictures of one size. The published files do not say who
the person is: every sample has the subject :data:`~simhand_cli.labelled.sample.UNKNOWN_SUBJECT`, and its label number
as the sequence.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.images import picture_size, read_mask, read_rgb
from simhand_cli.labelled.files.json_numbers import read_json_numbers
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, HandSample, LeftOut, NoSuchSplit, left_out
from simhand_cli.summary import Dropped

#: Background variants of the training images, in the order of their file numbers.
VARIANTS = ("gs", "hom", "sample", "auto")
_PREFIX = {"train": "training", "test": "evaluation"}
_EVALUATION_LABELS = "FreiHAND_pub_v2_eval"
#: Pictures asked for their size until one can be read.
_FIRST = 8


class FreiHand:
    """FreiHAND as a :class:`~simhand_cli.labelled.sample.LabelledSet`.

    Args:
        path: the folder ``FreiHAND_pub_v2``.
        split: ``train`` or ``test`` (the evaluation images).
        extras: also read vertices, MANO parameters and masks (slower).
    """

    name = "freihand"

    def __init__(self, path: Path, split: str = "train", extras: bool = False) -> None:
        # There is no validation split: finetune sets some of the training labels aside itself.
        if split not in _PREFIX:
            raise NoSuchSplit(f"--data {path}: FreiHAND has the splits 'train' and 'test', not {split!r}")
        self.split = split
        self._prefix = _PREFIX[split]
        self._path = path
        if not (path / f"{self._prefix}_K.json").is_file():
            raise NoSuchSplit(f"--data {path}: {self._prefix}_K.json is missing")
        # float32 resolves 1e-4 mm at a metre from the camera.
        self._intrinsics = read_json_numbers(path / f"{self._prefix}_K.json", (3, 3))
        self._joints_mm = read_json_numbers(self._label_file("xyz"), (21, 3)) * np.float32(1000.0)
        if len(self._intrinsics) != len(self._joints_mm):
            counts = f"{len(self._intrinsics)} K, {len(self._joints_mm)} xyz"
            raise InputProblem(f"--data {path}: the {self._prefix} labels do not belong together ({counts})")
        # Before pictures are listed: labels of two releases have the same counts and would pass unnoticed.
        self._check_scale()
        self._image, self._missing = self._list_images()
        self._vertices = self._mano = None
        if extras:
            self._vertices = read_json_numbers(self._label_file("verts"), (778, 3)) * np.float32(1000.0)
            self._mano = read_json_numbers(self._label_file("mano"), (61,))
        self._with_masks = extras and split == "train"

    def _label_file(self, kind: str) -> Path:
        """Where a label file lies; the evaluation labels come in a folder of their own."""
        name = f"{self._prefix}_{kind}.json"
        # They were published later, in an archive that people unpack beside the set or into it.
        places = [self._path / name]
        if self.split == "test":
            places += [self._path.parent / _EVALUATION_LABELS / name, self._path / _EVALUATION_LABELS / name]
        for place in places:
            if place.is_file():
                return place
        looked = ", ".join(str(place) for place in places)
        raise InputProblem(f"--data {self._path}: {name} is missing (looked for {looked})")

    def _check_scale(self) -> None:
        """The scale file is the length of the bone 9-10; another length means labels of another release."""
        path = self._path / f"{self._prefix}_scale.json"
        if not path.is_file():
            return
        scale = read_json_numbers(path, ()) * np.float32(1000.0)
        length = np.linalg.norm(self._joints_mm[:, 9] - self._joints_mm[:, 10], axis=1)
        # The median, since a single damaged label must not refuse the set; it is met by the later checks.
        if len(scale) != len(length) or float(np.nanmedian(np.abs(scale - length) / length)) > 0.02:
            raise InputProblem(f"{path} does not fit the xyz labels: files of FreiHAND v1 and v2 mixed?")

    def _list_images(self) -> tuple[NDArray[np.int64], list[str]]:
        """File numbers of the images that are there, and names of those that should be but are not."""
        folder = self._path / self._prefix / "rgb"
        if not folder.is_dir():
            raise InputProblem(f"--data {self._path}: no folder {self._prefix}/rgb")
        # One listing instead of 130,240 questions to a file system that may be a network's.
        present = {entry.name for entry in os.scandir(folder)}
        variants = len(VARIANTS) if self.split == "train" else 1
        # The labels say which pictures there should be; a listing alone could not tell that some are missing.
        numbers = range(variants * len(self._joints_mm))
        found = np.array([i for i in numbers if f"{i:08d}.jpg" in present], dtype=np.int64)
        missing = [f"{i:08d}.jpg" for i in numbers if f"{i:08d}.jpg" not in present]
        return found, missing

    @property
    def image_numbers(self) -> NDArray[np.int64]:
        """(N,) the file number of every sample's image, which is its place in the published order."""
        return self._image

    @property
    def images_in_split(self) -> int:
        """How many images the labels speak of, those that are missing here included."""
        return len(self._joints_mm) * (len(VARIANTS) if self.split == "train" else 1)

    @property
    def subjects(self) -> Sequence[str]:
        """The person of every sample: unknown in this set."""
        return [UNKNOWN_SUBJECT] * len(self)

    @property
    def sequences(self) -> Sequence[str]:
        """The label number of every sample, the same for the four backgrounds of one hand."""
        # One hand before four backgrounds must not be divided between training and validation.
        return [f"{int(i) % len(self._joints_mm):08d}" for i in self._image]

    def __len__(self) -> int:
        return len(self._image)

    def __getitem__(self, index: int) -> HandSample:
        number = int(self._image[index])
        label = number % len(self._joints_mm)
        folder = self._path / self._prefix
        joints_mm = self._joints_mm[label].astype(np.float64)
        intrinsics = self._intrinsics[label].astype(np.float64)
        projected = joints_mm @ intrinsics.T
        return HandSample(
            image_rgb=read_rgb(folder / "rgb" / f"{number:08d}.jpg"),
            intrinsics=intrinsics,
            joints_mm=joints_mm,
            joints_px=projected[:, :2] / projected[:, 2:],
            # No joint is marked as unlabelled, so that a NaN is found as damage.
            joint_valid=np.ones(21, bool),
            hand="right",
            subject=UNKNOWN_SUBJECT,
            sequence=f"{label:08d}",
            camera=self._camera(number),
            sample_id=f"{number:08d}",
            vertices_mm=None if self._vertices is None else self._vertices[label].astype(np.float64),
            mano=None if self._mano is None else self._mano[label].astype(np.float64),
            # Masks exist for the green-screen pictures only, and fit all four: the hand is in the same place.
            mask=read_mask(folder / "mask" / f"{label:08d}.jpg") if self._with_masks else None,
        )

    def _camera(self, number: int) -> str:
        return VARIANTS[number // len(self._joints_mm)] if self.split == "train" else "evaluation"

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``joints_mm`` (N, 21, 3) and ``joint_valid`` (N, 21) of all samples: every joint has a label."""
        joints_mm = self._joints_mm[self._image % len(self._joints_mm)]
        return joints_mm, np.ones(joints_mm.shape[:2], bool)

    def details(self) -> LabelDetails:
        """Side, K, background (in the camera's place) and size of all samples; the size is the first picture's."""
        return LabelDetails(
            samples=np.arange(len(self)),
            right=np.ones(len(self), bool),
            intrinsics=self._intrinsics[self._image % len(self._intrinsics)].astype(np.float64),
            cameras=[self._camera(int(number)) for number in self._image],
            # All published pictures are of one size; asking one saves opening 130,240.
            size_px=np.tile(np.array(self._size_px(), np.int64), (len(self), 1)),
        )

    def _size_px(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read, 0 where none of a few can."""
        for number in self._image[:_FIRST].tolist():
            try:
                return picture_size(self._path / self._prefix / "rgb" / f"{number:08d}.jpg")
            except InputProblem:
                continue
        return 0, 0

    def left_out(self) -> list[LeftOut]:
        """Labelled images that are not there."""
        return left_out(f"images of {self._path / self._prefix / 'rgb'}", "file is missing", self._missing)

    def problems(self) -> list[Dropped]:
        """The same, counted."""
        return [entry.dropped() for entry in self.left_out()]
