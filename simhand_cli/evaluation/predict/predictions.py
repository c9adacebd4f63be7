"""Ground truth and predictions of one labelled set, side by side, and the file they are kept in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.workspace.shards import open_h5_file, write_h5

PREDICTIONS_SCHEMA = "simhand.predictions"
#: 2: places in the set, subjects, digests of the labels, 3D in float64.
PREDICTIONS_VERSION = 2


@dataclass(frozen=True, slots=True)
class SetPredictions:
    """All evaluated samples of one set, every hand as a right hand (left ones mirrored, K too).

    Attributes:
        set_name: of the labelled set.
        split: that was evaluated.
        label: how the set is called in this evaluation, unique in it (see :func:`set_labels`).
        labels_sha256: digest of the set's labels, which tells whether two evaluations are of the same set.
        sample_ids: N ids, unique in the set.
        subjects: N persons.
        sequences: N recordings.
        index: (N,) int64 position in the set.
        mirrored: (N,) the sample was a left hand.
        width_px: (N,) width of the image, needed to mirror pixels back.
        truth_mm: (N, 21, 3) camera frame; NaN where only the 2D joint is known.
        truth_px: (N, 21, 2) in the image.
        valid: (N, 21) joints with a label, in 2D at least.
        intrinsics: (N, 3, 3).
        image_from_crop: (N, 2, 3) the crop the model saw.
        relative_mm: (N, 21, 3) predicted joints relative to the predicted root, metric; NaN where none was found.
        placed_mm: (N, 21, 3) the same in the camera frame, placed by 2D and K; NaN where not determined.
        joints_px: (N, 21, 2) predicted, in the image; NaN where none was found.
        found: (N,) the model gave a prediction.
    """

    set_name: str
    split: str
    label: str
    labels_sha256: str
    sample_ids: Sequence[str]
    subjects: Sequence[str]
    sequences: Sequence[str]
    index: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    width_px: NDArray[np.int64]
    truth_mm: NDArray[np.float64]
    truth_px: NDArray[np.float64]
    valid: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    image_from_crop: NDArray[np.float64]
    relative_mm: NDArray[np.float64]
    placed_mm: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def valid_mm(self) -> NDArray[np.bool_]:
        """(N, 21) joints with a label in 3D."""
        return _known_in_3d(self.valid, self.truth_mm)

    @property
    def answers_in_3d(self) -> bool:
        """False of a model of 2D joints alone: hands were found, and not one of them has joints in 3D."""
        return any_in_3d(self.found, self.relative_mm)


def set_labels(sets: Sequence[LabelledSet], paths: Sequence[Path]) -> list[str]:
    """What the sets of one evaluation are called, each differently.

    ``set/split``; where several are of one kind, with the folder's name, ``jsonl/test (studio)``; where these are the
    same, too, with a number.

    Args:
        sets: opened sets.
        paths: where they lie.
    """
    kinds = [f"{one.name}/{one.split}" for one in sets]
    # The folder's name and not a number: an evaluation with the sets in another order calls them alike.
    named = [
        kind if kinds.count(kind) == 1 else f"{kind} ({path.resolve().name})"
        for kind, path in zip(kinds, paths, strict=True)
    ]
    return [name if named.count(name) == 1 else f"{name} #{named[:k].count(name) + 1}" for k, name in enumerate(named)]


def any_in_3d(found: NDArray[np.bool_], relative_mm: NDArray[np.float64]) -> bool:
    """Whether any hand (N,) that was found has all its joints (N, 21, 3); nothing is said where none was found."""
    # A model that found nothing is judged as one of 3D joints: its PCK is 0, not absent.
    return not found.any() or bool(np.isfinite(relative_mm[found]).all(axis=(1, 2)).any())


def _known_in_3d(valid: NDArray[np.bool_], truth_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(valid & np.isfinite(truth_mm).all(axis=-1))


def write_predictions(path: Path, sets: Sequence[SetPredictions]) -> str:
    """Write the predictions of all sets into one HDF5 file, in the *original* frames (left hands left again).

    3D stays in float64: leaderboard files and comparisons made from it later have the figures of ``metrics.json``.

    Args:
        path: of the file.
        sets: evaluated sets, concatenated in this order; ``set_index`` says which a row belongs to.

    Returns:
        sha256 of the file.
    """

    def join(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(one, name) for one in sets])

    # Pixel centres run to width - 1.
    mirrored, last_px = join("mirrored"), join("width_px") - 1
    flip = np.where(mirrored, -1.0, 1.0)[:, None]

    def unflip_mm(joints: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([joints[..., 0] * flip, joints[..., 1], joints[..., 2]], axis=-1)

    def unflip_px(joints: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.where(mirrored[:, None], last_px[:, None] - joints[..., 0], joints[..., 0])
        return np.stack([x, joints[..., 1]], axis=-1)

    arrays = {
        "set_index": np.repeat(np.arange(len(sets), dtype=np.int32), [len(one) for one in sets]),
        "set_names": np.array([one.label for one in sets], dtype=object),
        "labels_sha256": np.array([one.labels_sha256 for one in sets], dtype=object),
        "sample_ids": np.array([i for one in sets for i in one.sample_ids], dtype=object),
        "subjects": np.array([s for one in sets for s in one.subjects], dtype=object),
        "sequences": np.array([s for one in sets for s in one.sequences], dtype=object),
        "index": join("index").astype(np.int64),
        "hand": (~mirrored.astype(bool)).astype(np.uint8),
        "truth_mm": unflip_mm(join("truth_mm")),
        "truth_px": unflip_px(join("truth_px")),
        "joint_valid": join("valid").astype(np.uint8),
        "relative_mm": unflip_mm(join("relative_mm")),
        "camera_mm": unflip_mm(join("placed_mm")),
        # Pixels need no more: float32 is exact to a thousandth of one in any picture.
        "joints_px": unflip_px(join("joints_px")).astype(np.float32),
        "found": join("found").astype(np.uint8),
    }
    attributes = {"unit_3d": "mm", "frame": "camera: x right, y down, z forward", "hand_values": "0 left, 1 right"}
    return write_h5(path, PREDICTIONS_SCHEMA, PREDICTIONS_VERSION, arrays, attributes)


@dataclass(frozen=True, slots=True)
class StoredPredictions:
    """What a predictions file holds, all sets one after the other, in the original frames (left hands left).

    Attributes:
        labels_sha256: label of each set -> digest of the set's labels.
        set_names: label of the set of each of the N rows (see :func:`set_labels`).
        sample_ids: N ids, unique in their set.
        keys: N names, unique in the file: label and id, ``set/split/id``.
        subjects: N persons.
        sequences: N recordings.
        index: (N,) position in the set.
        truth_mm: (N, 21, 3) camera frame; NaN where only the 2D joint is known.
        truth_px: (N, 21, 2) in the image.
        valid: (N, 21) joints with a label, in 2D at least.
        relative_mm: (N, 21, 3) predicted, relative to the predicted root; NaN where none was found.
        camera_mm: (N, 21, 3) the same in the camera frame; NaN where not determined.
        joints_px: (N, 21, 2) predicted, in the image; NaN where none was found.
        found: (N,) the model gave a prediction.
    """

    labels_sha256: dict[str, str]
    set_names: list[str]
    sample_ids: list[str]
    keys: list[str]
    subjects: list[str]
    sequences: list[str]
    index: NDArray[np.int64]
    truth_mm: NDArray[np.float64]
    truth_px: NDArray[np.float64]
    valid: NDArray[np.bool_]
    relative_mm: NDArray[np.float64]
    camera_mm: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def valid_mm(self) -> NDArray[np.bool_]:
        """(N, 21) joints with a label in 3D."""
        return _known_in_3d(self.valid, self.truth_mm)


def read_predictions(path: Path) -> StoredPredictions:
    """Read a file of :func:`write_predictions`.

    Raises:
        InputProblem: the file is missing, of another kind or version, or two of its samples have one name.
    """
    if not path.is_file():
        raise InputProblem(f"{path} is missing: run 'simhand evaluate' for it first")
    try:
        file = open_h5_file(path, PREDICTIONS_SCHEMA, PREDICTIONS_VERSION)
    except InputProblem as problem:
        raise InputProblem(f"{problem}; do that evaluation over with --redo") from None
    with file:

        def texts(name: str) -> list[str]:
            return [text.decode() for text in file[name][:]]

        names, sample_ids = texts("set_names"), texts("sample_ids")
        set_names = [names[k] for k in file["set_index"][:]]
        keys = [f"{name}/{sample}" for name, sample in zip(set_names, sample_ids, strict=True)]
        stored = StoredPredictions(
            labels_sha256=dict(zip(names, texts("labels_sha256"), strict=True)),
            set_names=set_names,
            sample_ids=sample_ids,
            keys=keys,
            subjects=texts("subjects"),
            sequences=texts("sequences"),
            index=file["index"][:],
            truth_mm=file["truth_mm"][:].astype(np.float64),
            truth_px=file["truth_px"][:].astype(np.float64),
            valid=file["joint_valid"][:].astype(bool),
            relative_mm=file["relative_mm"][:].astype(np.float64),
            camera_mm=file["camera_mm"][:].astype(np.float64),
            joints_px=file["joints_px"][:].astype(np.float64),
            found=file["found"][:].astype(bool),
        )
    # Samples are matched by name; two of one name would be compared with the wrong partner.
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise InputProblem(f"{path}: {len(twice)} samples have the name of another, first: {twice[0]}")
    return stored


def grouped_by(unit: str, predictions: SetPredictions | StoredPredictions) -> Sequence[str]:
    """The group of each sample where the bootstrap draws "sequence", "subject" or "sample"."""
    groups: dict[str, Sequence[str]] = {
        "sequence": predictions.sequences,
        "subject": predictions.subjects,
        "sample": predictions.sample_ids,
    }
    return groups[unit]
