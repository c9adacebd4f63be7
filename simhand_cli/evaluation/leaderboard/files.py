"""Prediction files as the benchmarks' own scorers read them, made from a finished evaluation.

**FreiHAND** (``pred.json``, lmb-freiburg/freihand ``pred.py`` and ``eval.py``): ``[xyz, verts]``, one entry for each
evaluation image in the order of its number: 21 x 3 joints and 778 x 3 vertices, metres, camera frame. simhand predicts
no mesh: all vertices are 0, so the scorer's mesh figures and F-scores mean nothing.

**DexYCB** (a text file, NVlabs/dex-ycb-toolkit ``hpe_eval.py``): one line for each image, ``image_id`` and 63
coordinates, joint by joint, millimetres, camera frame, separated by commas. The id is the image's place among all
frames of the setup's split, those without a hand included, whose lines the scorer ignores.

**AssemblyHands** (JSON, :mod:`simhand_cli.evaluation.leaderboard.fused_views`): an entry for each labelled frame of the
split, both hands, millimetres, world, merged over the cameras. The challenge's own frames come without labels, so that
the file of a labelled split has the form of a submission, not its frames.

The scorers need an entry for every image and know no "not found". Hands without a prediction are zeros, like those of
FreiHAND's own ``pred.py``; hands that were found but have no place before the camera have their wrist at the origin, so
that at least their aligned figures count. Left hands are left ones again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.leaderboard.fused_views import fuse_views, write_world_coord
from simhand_cli.evaluation.predict.predictions import StoredPredictions, read_predictions
from simhand_cli.labelled.readers.dexycb import DexYcb
from simhand_cli.labelled.readers.freihand import FreiHand
from simhand_cli.labelled.readers.two_hands import TwoHandSet
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.skeleton import NUM_JOINTS, WRIST
from simhand_cli.workspace.atomic import atomic_path

#: Images of FreiHAND's published evaluation set.
FREIHAND_IMAGES: Final = 3960
MANO_VERTICES: Final = 778
#: Digits kept: a nanometre.
_MM_DIGITS: Final = 6
_M_DIGITS: Final = 9

RankedSet = FreiHand | DexYcb | TwoHandSet


@dataclass(frozen=True)
class LeaderboardFile:
    """What one file holds.

    Attributes:
        path: of the file.
        benchmark: set and split.
        images: number of entries: images, or hands of frames.
        predicted: entries with a prediction in the camera frame.
        unplaced: entries with the wrist at the origin: found, but without a place before the camera.
        missing: entries of zeros: no hand found, a picture that is missing or cannot be read, an unusable label.
        no_hand: entries of zeros where no picture has a labelled hand, which the scorer ignores.
        note: what else is to be known, or nothing.
        unit: what the entries are.
        blank: what those without a hand are.
    """

    path: Path
    benchmark: str
    images: int
    predicted: int
    unplaced: int
    missing: int
    no_hand: int
    note: str = ""
    unit: str = "images"
    blank: str = "without a hand"

    def text(self) -> str:
        """The counts in words."""
        parts = [f"{self.images:,} {self.unit}", f"{self.predicted:,} predicted"]
        parts += [f"{self.unplaced:,} not placed (wrist at the origin)"] if self.unplaced else []
        parts += [f"{self.missing:,} without a prediction (zeros)"] if self.missing else []
        parts += [f"{self.no_hand:,} {self.blank} (ignored by the scorer)"] if self.no_hand else []
        return ", ".join(parts) + (f"; {self.note}" if self.note else "")

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "path": str(self.path)}


def check_leaderboard(
    sets: Sequence[LabelledSet], paths: Sequence[Path], limit: int | None, model_file: Path | None = None
) -> list[RankedSet]:
    """Refuse, before anything is predicted, what cannot become whole files.

    Args:
        sets: opened sets.
        paths: of the sets, for messages.
        limit: of the samples, as asked for.
        model_file: the fine-tuned model, None for a baseline.

    Returns:
        the same sets.

    Raises:
        UsageProblem: a limit, a model of 2D joints alone, a set without such a file, or two sets whose files would have
            the same name.
        InputProblem: a copy of DexYCB that cannot have the published image ids.
    """
    # Before hours of predicting: what cannot become a whole file is refused at once.
    if limit is not None:
        raise UsageProblem("--leaderboard needs a prediction of every image: leave --limit out")
    if model_file is not None and not _in_millimetres(model_file):
        raise UsageProblem(
            f"--leaderboard: {model_file} was trained on 2D labels only and has no joints in millimetres: leave "
            "--leaderboard out or give another --model"
        )
    ranked: list[RankedSet] = []
    for labelled, path in zip(sets, paths, strict=True):
        no_scorer = labelled.name == "interhand" or (labelled.name, labelled.split) == ("freihand", "train")
        if no_scorer or not isinstance(labelled, FreiHand | DexYcb | TwoHandSet):
            raise UsageProblem(
                f"--leaderboard: {labelled.name}/{labelled.split} has no such file; FreiHAND's test split, DexYCB and "
                "AssemblyHands do"
            )
        # One missing frame would shift the ids of all that follow.
        if isinstance(labelled, DexYcb) and labelled.partial():
            raise InputProblem(
                f"--leaderboard: image ids count all frames of the split, and in {path} {labelled.partial()}; "
                "get the whole set or leave --leaderboard out"
            )
        ranked.append(labelled)
    # Names are those that the scorers ask for, and so cannot tell two copies apart.
    names = [_file_name(one) for one in ranked]
    if len(set(names)) < len(names):
        raise UsageProblem("--leaderboard: two sets of --data would have the same file; evaluate them one by one")
    return ranked


def _in_millimetres(model_file: Path) -> bool:
    from simhand_cli.models.hand_model import load_model

    _, facts = load_model(model_file)
    return facts.bone_length_mm is not None


def write_leaderboard(folder: Path, sets: Sequence[RankedSet]) -> list[LeaderboardFile]:
    """Write the files of a finished evaluation, each atomically, into its folder.

    Args:
        folder: of the evaluation, with ``predictions.h5``; the caller holds its lock.
        sets: its sets, checked by :func:`check_leaderboard`.

    Raises:
        InputProblem: the predictions are missing or of an early version, or one of them has no joints in millimetres.
    """
    stored = read_predictions(folder / "predictions.h5")
    return [_write_one(folder / _file_name(one), one, stored) for one in sets]


def _file_name(labelled: RankedSet) -> str:
    if isinstance(labelled, TwoHandSet):
        return f"assemblyhands_{labelled.split}_joint_3d_v1-1_pred.json"
    return "pred.json" if isinstance(labelled, FreiHand) else f"dexycb-{labelled.setup}-{labelled.half}.txt"


def _write_one(path: Path, labelled: RankedSet, stored: StoredPredictions) -> LeaderboardFile:
    rows = np.flatnonzero(np.array(stored.set_names) == f"{labelled.name}/{labelled.split}")
    # Those that were not found stay zeros, as the scorers' own examples have it.
    rows = rows[stored.found[rows]]
    # NaN is no JSON, and scorers would stop at it.
    bad = rows[~np.isfinite(stored.relative_mm[rows]).all(axis=(1, 2))]
    if len(bad):
        raise InputProblem(
            f"--leaderboard: {path.name} is not written: {len(bad):,} predictions are not finite numbers in mm, first: "
            f"{stored.keys[bad[0]]}"
        )
    if isinstance(labelled, TwoHandSet):
        return _write_frames(path, labelled, stored, rows)
    return _write_images(path, labelled, stored, rows)


def _write_frames(
    path: Path, labelled: TwoHandSet, stored: StoredPredictions, rows: NDArray[np.int64]
) -> LeaderboardFile:
    frames = labelled.frames()
    views = labelled.views(stored.index[rows])
    hands = fuse_views(views, stored.relative_mm[rows], stored.camera_mm[rows], len(frames))
    write_world_coord(path, frames, hands)
    shown = labelled.shown()  # also by pictures that were left out on opening: a scorer counts these hands
    predicted, placed = hands.views > 0, hands.placed > 0
    notes = [f"a mean of {len(rows) / predicted.sum():.1f} cameras a hand"] if len(rows) else []
    out = sum(dropped.count for dropped in labelled.problems())
    notes += [f"{out:,} hands of pictures were left out on opening"] if out else []
    return LeaderboardFile(
        path=path,
        benchmark=f"{labelled.name}/{labelled.split}",
        images=shown.size,
        predicted=int(placed.sum()),
        unplaced=int((predicted & ~placed).sum()),
        missing=int((shown & ~predicted).sum()),
        no_hand=int((~shown).sum()),
        note="; ".join(notes),
        unit=f"hands of {len(frames):,} frames",
        blank="with no box in any picture",
    )


def _write_images(
    path: Path, labelled: FreiHand | DexYcb, stored: StoredPredictions, rows: NDArray[np.int64]
) -> LeaderboardFile:
    joints_mm, placed = _positions(stored, rows)
    # Of all published images, also those that are missing in this copy.
    all_mm = np.zeros((labelled.images_in_split, NUM_JOINTS, 3))
    all_mm[labelled.image_numbers[stored.index[rows]]] = joints_mm
    note, no_hand = "", 0
    if isinstance(labelled, FreiHand):
        _write_freihand(path, all_mm)
        if len(all_mm) != FREIHAND_IMAGES:
            note = f"incomplete: the published evaluation set has {FREIHAND_IMAGES:,}"
    else:
        _write_dexycb(path, all_mm)
        no_hand = len(all_mm) - len(labelled) - sum(dropped.count for dropped in labelled.problems())
    return LeaderboardFile(
        path=path,
        benchmark=f"{labelled.name}/{labelled.split}",
        images=len(all_mm),
        predicted=int(placed.sum()),
        unplaced=int((~placed).sum()),
        missing=len(all_mm) - no_hand - len(rows),
        no_hand=no_hand,
        note=note,
    )


def _positions(stored: StoredPredictions, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(R, 21, 3) mm in the camera frame, and which of them have a place there; the others' wrist is the origin."""
    camera = stored.camera_mm[rows]
    relative = stored.relative_mm[rows]
    placed = np.asarray(np.isfinite(camera).all(axis=(1, 2)), dtype=bool)
    return np.where(placed[:, None, None], camera, relative - relative[:, WRIST : WRIST + 1]), placed


def _write_freihand(path: Path, joints_mm: NDArray[np.float64]) -> None:
    # Metres here, millimetres in the other two files.
    xyz = (np.round(hand / 1000.0, _M_DIGITS).tolist() for hand in joints_mm)
    # Written piece by piece: nine million zeros of meshes as lists would take hundreds of megabytes.
    no_mesh = json.dumps([[0.0, 0.0, 0.0]] * MANO_VERTICES)
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write("[[")
        stream.writelines(_comma_separated(json.dumps(hand) for hand in xyz))
        stream.write("], [")
        stream.writelines(_comma_separated(no_mesh for _ in joints_mm))
        stream.write("]]\n")


def _comma_separated(items: Iterable[str]) -> Iterable[str]:
    for number, item in enumerate(items):
        yield f", {item}" if number else item


def _write_dexycb(path: Path, joints_mm: NDArray[np.float64]) -> None:
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as stream:
        for image_id, hand in enumerate(joints_mm):
            numbers = (f"{value:.{_MM_DIGITS}f}" for value in hand.ravel())
            stream.write(f"{image_id},{','.join(numbers)}\n")
