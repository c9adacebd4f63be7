"""A labelled set in memory, of real-looking hands: poses of the synthetic hand before a camera, left and right."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.labelled.sample import HandSample
from simhand_cli.summary import Dropped
from simhand_cli.synth.hand.articulation import posed_joints, sample_pose
from simhand_cli.synth.hand.hand_model import hand_model
from simhand_cli.synth.hand.person import shape_weights

SIZE_PX = (320, 240)
K = np.array([[400.0, 0, 159.5], [0, 400.0, 119.5], [0, 0, 1]])


def posed_hands(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Joints (count, 21, 3) in the camera's frame and sides (True: right); five poses a person, turned anyhow."""
    rng = np.random.default_rng(seed)
    joints, right = np.empty((count, 21, 3)), np.arange(count) % 3 > 0
    for k in range(count):
        if k % 5 == 0:
            hand = hand_model().shape(shape_weights(rng)[0])
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        posed = posed_joints(hand, sample_pose(rng, hand)[0])
        posed = (posed - posed.mean(axis=0)) * ([1, 1, 1] if right[k] else [-1, 1, 1])
        joints[k] = posed @ turn.T + [rng.uniform(-60, 60), rng.uniform(-40, 40), rng.uniform(450, 800)]
    return joints, right


@dataclass
class MemorySet:
    """Labels to spoil; ``without_details`` hides the details as a plain reader does."""

    joints_mm: NDArray[np.float64]
    right: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    stated_px: NDArray[np.float64] | None = None
    size_px: tuple[int, int] = SIZE_PX
    name: str = "memory"
    split: str = "train"
    broken: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.joints_mm)

    @property
    def subjects(self) -> list[str]:
        return [str(k // 5) for k in range(len(self))]

    @property
    def sequences(self) -> list[str]:
        return [str(k) for k in range(len(self))]

    def joints(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return self.joints_mm.astype(np.float32), np.isfinite(self.joints_mm).all(axis=2)

    def problems(self) -> list[Dropped]:
        return []

    def __getitem__(self, index: int) -> HandSample:
        from simhand_cli.errors import InputProblem

        if index in self.broken:
            raise InputProblem(f"{index}.jpg: cannot be decoded as an image")
        joints = self.joints_mm[index]
        homogeneous = joints @ self.intrinsics[index].T
        with np.errstate(invalid="ignore"):  # a root-relative wrist
            joints_px = homogeneous[:, :2] / homogeneous[:, 2:]
        return HandSample(
            image_rgb=np.zeros((self.size_px[1], self.size_px[0], 3), np.uint8),
            intrinsics=self.intrinsics[index],
            joints_mm=joints,
            joints_px=joints_px,
            joint_valid=np.isfinite(joints).all(axis=1),
            hand="right" if self.right[index] else "left",
            subject=self.subjects[index],
            sequence=str(index),
            camera="0",
            sample_id=str(index),
        )


class DetailedMemorySet(MemorySet):
    """The same with details of all samples."""

    def details(self) -> LabelDetails:
        return LabelDetails(
            np.arange(len(self)), self.right, self.intrinsics, ["0"] * len(self), self.stated_px,
            np.tile(np.array(SIZE_PX), (len(self), 1)),
        )  # fmt: skip


def hands_set(count: int = 60, seed: int = 0, detailed: bool = True) -> MemorySet:
    """A set without fault."""
    joints, right = posed_hands(count, seed)
    kind = DetailedMemorySet if detailed else MemorySet
    return kind(joints, right, np.tile(K, (count, 1, 1)))
