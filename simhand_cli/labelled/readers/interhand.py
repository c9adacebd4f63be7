"""Reader of InterHand2.6M v1.0 (Moon et al., ECCV 2020) in its published layout, of 5 or 30 pictures a second.

``images/{split}/Capture0/...`` holds the pictures. In ``annotations/{split}``, ``InterHand2.6M_{split}_data.json`` says
which hands they show and which joints are labelled and inside the picture, ``..._joint_3d.json`` 42 joints of every
frame in the world in mm, and ``..._camera.json`` the cameras of every capture: ``campos`` is the camera's position, so
that a joint x lies at R (x - campos) before the camera. Splits are ``train``, ``val`` and ``test``.
"""

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.coco_file import read_coco
from simhand_cli.labelled.files.json_stream import stream_json
from simhand_cli.labelled.readers.two_hand_labels import TwoHandLabels, joint_flags, world_coord
from simhand_cli.labelled.readers.two_hands import SIDES, TwoHandSet
from simhand_cli.labelled.sample import NoSuchSplit

SPLITS: Final = ("train", "val", "test")
#: Shapes of what is known of a camera.
_CAMERA: Final = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}


def open_interhand(path: Path, split: str = "train") -> TwoHandSet:
    """Open InterHand2.6M; one sample for every hand of a picture of which any joint is labelled.

    Args:
        path: the folder with ``images`` and ``annotations``.
        split: ``train``, ``val`` or ``test``.

    Raises:
        InputProblem: another split, a file that is missing or damaged as a whole, or no picture at all.
    """
    if split not in SPLITS:
        raise NoSuchSplit(f"--data {path}: InterHand2.6M has the splits 'train', 'val' and 'test', not {split!r}")
    folder = path / "annotations" / split
    if not folder.is_dir():
        raise NoSuchSplit(f"--data {path}: annotations/{split} is missing")
    data = folder / f"InterHand2.6M_{split}_data.json"
    labels = TwoHandLabels()
    _read_joints(labels, folder / f"InterHand2.6M_{split}_joint_3d.json")
    _read_cameras(labels, folder / f"InterHand2.6M_{split}_camera.json")
    read_coco(data, {"images": partial(_add_picture, labels), "annotations": partial(_add_hands, labels)})
    return labels.finish("interhand", split, path / "images" / split, data)


def _read_joints(labels: TwoHandLabels, path: Path) -> None:
    """Capture -> frame -> ``world_coord``."""
    for keys, frame in stream_json(path, 2):
        labels.world_mm.add(keys, world_coord(frame), path)


def _read_cameras(labels: TwoHandLabels, path: Path) -> None:
    """Capture -> ``campos``, ``camrot``, ``focal`` and ``princpt`` -> camera."""
    # The file goes by field, then camera: a camera is complete only at the end of its capture.
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for keys, value in stream_json(path, 3):
        if len(keys) == 3:
            capture, field, camera = keys
            found.setdefault((capture, camera), {})[field] = value
    for key, fields in found.items():
        try:
            pose, lens = _camera(f"{path}: camera {'/'.join(key)}", fields)
        except InputProblem as problem:
            labels.pose.refuse(str(problem))
            continue
        labels.pose.add(key, pose, path)
        labels.lens.add(key, lens, path)


def _camera(where: str, fields: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R and t (3, 4) and K (3, 3): R (x - campos) = R x + t."""
    try:
        position, turn, focal, centre = (
            np.array(fields[name], np.float64).reshape(shape) for name, shape in _CAMERA.items()
        )
    except KeyError as error:
        raise InputProblem(f"{where} has no {error.args[0]}") from None
    except (TypeError, ValueError) as error:
        raise InputProblem(f"{where} is damaged: {error}") from None
    lens = np.array([[focal[0], 0.0, centre[0]], [0.0, focal[1], centre[1]], [0.0, 0.0, 1.0]])
    # campos is where the camera stands, not t.
    return np.column_stack([turn, -turn @ position]), lens


def _add_picture(labels: TwoHandLabels, entry: dict[str, Any]) -> None:
    # Recordings of two captures have the same names, hence the capture before them.
    capture, camera = str(entry["capture"]), str(entry["camera"])
    recording, person = f"Capture{capture}/{entry['seq_name']}", f"subject{entry['subject']}"
    # Cameras stand still in a capture, so that pose and lens have the same key.
    scene = (capture, str(entry["frame_idx"])), (capture, camera), (capture, camera)
    labels.add_picture(entry, (recording, camera, person), scene)


def _add_hands(labels: TwoHandLabels, entry: dict[str, Any]) -> None:
    hand_type, valid = entry["hand_type"], joint_flags(entry["joint_valid"])
    if hand_type not in (*SIDES, "interacting"):
        raise ValueError(f"hand_type is {hand_type!r}")
    for number, side in enumerate(SIDES):
        # Of an interacting pair one hand may be out of the picture; without a joint in it that is no sample to drop.
        if hand_type in (side, "interacting") and valid[number].any():
            labels.add_hand(int(entry["image_id"]), number, valid[number])
