"""A small labelled set of several people, as drawn hands."""

import json
from pathlib import Path

import cv2
import numpy as np
from mini_freihand import draw_hand, random_hand_mm


def write_people(
    path: Path,
    people: dict[str, list[str]],
    each: int = 8,
    seed: int = 0,
    own_pose: bool = False,
    unnamed: str = "",
    unlabelled: tuple[int, ...] = (),
) -> Path:
    """Drawn hands in simhand's layout for labels of one's own: split -> people, ``each`` pictures of everyone.

    Args:
        path: the set's folder.
        people: split -> names.
        each: pictures of everyone.
        seed: of the poses.
        own_pose: everyone holds one pose, but for 0.5 mm.
        unnamed: names that the labels do not tell.
        unlabelled: joints without label.
    """
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    intrinsics = np.array([[480.0, 0, 111.5], [0, 482.0, 112.0], [0, 0, 1]])
    lines = []
    for split, names in people.items():
        for name in names:
            pose = random_hand_mm(rng)
            for number in range(each):
                left = number == 1
                right = pose + rng.normal(0, 0.5, (21, 3)) if own_pose else random_hand_mm(rng)
                joints_mm = right * ([-1, 1, 1] if left else [1, 1, 1])
                projected = joints_mm @ intrinsics.T
                image = draw_hand(projected[:, :2] / projected[:, 2:], int(rng.integers(20, 120)))
                file = f"{split}-{name}-{number}.jpg"
                cv2.imwrite(str(path / file), image[:, :, ::-1])
                lines.append(
                    {
                        "image": file,
                        "joints_mm": [None if k in unlabelled else row for k, row in enumerate(joints_mm.tolist())],
                        "intrinsics": intrinsics.tolist(),
                        "hand": "left" if left else "right",
                        "split": split,
                        **({} if name in unnamed else {"subject": name}),
                        "sequence": f"{name}-{number // 4}",
                    }
                )
    (path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return path
