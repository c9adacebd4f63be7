"""Reader of AssemblyHands v1-1 (Ohkawa et al., CVPR 2023) in its published layout: the rectified ego pictures.

``annotations/{split}/assemblyhands_{split}_ego_data_v1-1.json`` lists pictures and the boxes and valid joints of their
hands, ``..._joint_3d_v1-1.json`` 42 joints of every frame in the world in mm, ``..._ego_calib_v1-1.json`` K of every
camera and its pose in every frame (R x + t). File names start from ``images``. Hands that
``annotations/{split}/invalid_{split}_ego.txt`` names are left out, as in the toolkit; the file is optional.
``train`` and ``val`` have labels; those of ``test`` are not public.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any, Final

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.files.coco_file import read_coco
from simhand_cli.labelled.files.json_stream import stream_json
from simhand_cli.labelled.readers.two_hand_labels import TwoHandLabels, joint_flags, world_coord
from simhand_cli.labelled.readers.two_hands import SIDES, TwoHandSet
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, NoSuchSplit

#: What calibration files add to a camera's name.
_DEVICE: Final = "_mono10bit"
#: ``nusar-2021_action_both_9081-c11b_9081_user_id_2021-02-12_161433`` is a recording of person 9081.
_PERSON: Final = re.compile(r"_(\d+)_user_id_")


def open_assemblyhands(path: Path, split: str = "train") -> TwoHandSet:
    """Open AssemblyHands; one sample for every hand of a picture that has a box.

    Args:
        path: the folder with ``images`` and ``annotations``.
        split: ``train`` or ``val``.

    Raises:
        InputProblem: another split, a file that is missing or damaged as a whole, or no picture at all.
    """
    if split == "test":
        raise NoSuchSplit(f"--data {path}: the labels of AssemblyHands' 'test' are not public: use --split val")
    if split not in ("train", "val"):
        raise NoSuchSplit(f"--data {path}: AssemblyHands has the splits 'train' and 'val', not {split!r}")
    folder = path / "annotations" / split
    if not folder.is_dir():
        raise NoSuchSplit(f"--data {path}: annotations/{split} is missing")
    data = folder / f"assemblyhands_{split}_ego_data_v1-1.json"
    # Scenes before pictures: a picture keeps the row numbers of its joints and camera, so these must be known.
    labels = TwoHandLabels()
    _read_joints(labels, folder / f"assemblyhands_{split}_joint_3d_v1-1.json")
    _read_calibration(labels, folder / f"assemblyhands_{split}_ego_calib_v1-1.json")
    read_coco(data, {"images": partial(_add_picture, labels), "annotations": partial(_add_hands, labels)})
    # The toolkit makes this list itself where it is missing, by reading every picture; it is not made here.
    invalid = _read_invalid(folder / f"invalid_{split}_ego.txt")
    return labels.finish("assemblyhands", split, path / "images", data, invalid)


def _read_joints(labels: TwoHandLabels, path: Path) -> None:
    """``annotations`` -> recording -> frame -> ``world_coord``."""
    for keys, frame in stream_json(path, 3):
        if keys[:1] == ("annotations",):
            labels.world_mm.add(keys[1:], world_coord(frame), path)


def _read_calibration(labels: TwoHandLabels, path: Path) -> None:
    """``calibration`` -> recording -> ``intrinsics`` -> camera, and ``extrinsics`` -> frame -> camera."""
    for keys, entry in stream_json(path, 4):
        if keys[:1] != ("calibration",) or len(keys) < 4:
            continue
        _, recording, kind, name = keys
        if kind == "intrinsics":
            labels.lens.add((recording, name), entry, path)
        # The cameras are worn on the head: their pose is another one in every frame.
        elif kind == "extrinsics" and isinstance(entry, dict):
            for camera, pose in entry.items():
                labels.pose.add((recording, name, camera), pose, path)


def _add_picture(labels: TwoHandLabels, entry: dict[str, Any]) -> None:
    # Frame keys of the label files have six digits, frame_idx of the list of pictures is a number.
    recording, camera = str(entry["seq_name"]), str(entry["camera"])
    frame, device = f"{int(entry['frame_idx']):06d}", camera + _DEVICE
    found = _PERSON.search(recording)
    person = found[1] if found else UNKNOWN_SUBJECT
    scene = (recording, frame), (recording, frame, device), (recording, device)
    labels.add_picture(entry, (recording, camera, person), scene)


def _add_hands(labels: TwoHandLabels, entry: dict[str, Any]) -> None:
    valid = joint_flags(entry["joint_valid"])
    for number, side in enumerate(SIDES):
        # A hand without a box is not in the picture, whatever its joints say.
        if entry["bbox"][side] is not None:
            labels.add_hand(int(entry["image_id"]), number, valid[number])


def _read_invalid(path: Path) -> frozenset[str]:
    """Lines ``file_name,hand_id`` of the list of invalid hands; none where there is no list."""
    try:
        return frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    # Not part of every download; all hands then stay.
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise InputProblem(f"{path} cannot be read: {error}") from None
