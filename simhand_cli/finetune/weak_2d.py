"""Unlabelled crops of a workspace with their estimated 2D joints: training samples that teach the heatmaps only.

The weakly supervised baseline of SiMHand (ICLR 2025), section 6.4, Table 6. The released loader mirrors pictures of
left hands but not their joints (fact sheet, section 5.6); here both come mirrored from ``detect`` and ``keypoints``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simhand_cli.crops.crop_set import crop_set_fingerprint, load_crop_set
from simhand_cli.crops.reader import CropReader
from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import UNKNOWN_INTRINSICS, HandSample
from simhand_cli.skeleton import NUM_JOINTS
from simhand_cli.summary import Dropped
from simhand_cli.workspace.paths import Workspace


class WeakCrops:
    """Crops with usable keypoints as a :class:`~simhand_cli.labelled.sample.LabelledSet` without 3D labels.

    ``joint_valid`` says where ``joints_px`` is known; ``joints_mm`` and K are NaN everywhere.

    Args:
        workspace: with crops and keypoints.

    Raises:
        InputProblem: there are no keypoints, or not one crop has usable ones.
    """

    name, split = "crops", "unlabelled"

    def __init__(self, workspace: Workspace) -> None:
        crops = load_crop_set(workspace)
        use = np.flatnonzero(crops.valid)
        if len(use) == 0:
            raise InputProblem(f"--weak-2d: no crop of {workspace.root} has usable keypoints")
        # Only what reading needs is kept: every loader process has a copy.
        self._videos, self._rows = crops.video_index[use], crops.crop_index[use]
        self._keypoints_px = crops.keypoints_px[use]
        self._video_ids = crops.video_ids
        self._unusable = len(crops.valid) - len(use)
        self._reader = CropReader(workspace.crops_dir, crops.video_ids, crops.crop_size_px)
        self.digest = crop_set_fingerprint(workspace)

    @property
    def subjects(self) -> Sequence[str]:
        """The video of every crop: whose hand it is, nobody knows."""
        return [self._video_ids[video] for video in self._videos]

    @property
    def sequences(self) -> Sequence[str]:
        """The video of every crop."""
        return self.subjects

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> HandSample:
        video, row = self._videos[index : index + 1], self._rows[index : index + 1]
        image = self._reader.read(video, row)[0]
        joints_px = self._keypoints_px[index].astype(np.float64)
        video_id = self._video_ids[int(video[0])]
        return HandSample(
            image_rgb=image,
            intrinsics=UNKNOWN_INTRINSICS,
            joints_mm=np.full((NUM_JOINTS, 3), np.nan),
            joints_px=joints_px,
            joint_valid=np.asarray(np.isfinite(joints_px).all(axis=1)),
            # Stored crops of left hands are mirrored already.
            hand="right",
            subject=video_id,
            sequence=video_id,
            camera=video_id,
            sample_id=f"{video_id}/{int(row[0])}",
        )

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """No 3D joints: (N, 21, 3) NaN and (N, 21) False."""
        return np.full((len(self), NUM_JOINTS, 3), np.nan, np.float32), np.zeros((len(self), NUM_JOINTS), bool)

    def problems(self) -> list[Dropped]:
        """Crops whose keypoints cannot be used."""
        if not self._unusable:
            return []
        return [Dropped("crops for --weak-2d", self._unusable, "keypoints cannot be used")]
