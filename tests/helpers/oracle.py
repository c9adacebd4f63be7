"""A small labelled set in memory, and a predictor that knows its answers."""

import numpy as np

from simhand_cli.crops.geometry import apply_affine, invert_affine
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.predict.predict_set import evaluation_crop
from simhand_cli.evaluation.predict.predictors import CropPoses
from simhand_cli.labelled.sample import HandSample

SIDE = 96


def make_sample(index, hand="right"):
    rng = np.random.default_rng(index)
    joints = rng.normal(0, 35, (21, 3)) + np.array([*rng.uniform(-60, 60, 2), 650])
    intrinsics = np.array([[140.0, 0.5, 46.0], [0, 142.0, 49.0], [0, 0, 1]])
    projected = joints @ intrinsics.T
    return HandSample(
        image_rgb=rng.integers(0, 255, (SIDE, SIDE + 8, 3)).astype(np.uint8),
        intrinsics=intrinsics,
        joints_mm=joints,
        joints_px=projected[:, :2] / projected[:, 2:],
        joint_valid=np.ones(21, dtype=bool),
        hand=hand,
        subject=f"p{index % 3}",
        sequence=f"q{index // 2}",
        camera="0",
        sample_id=f"{index:04d}",
    )


class MemorySet:
    """Samples 0..count-1; every third is a left hand; those in ``broken`` cannot be read."""

    name, split = "memory", "test"

    def __init__(self, count, broken=()):
        self.broken = set(broken)
        self.samples = [make_sample(i, "left" if i % 3 == 2 else "right") for i in range(count)]

    @property
    def subjects(self):
        return [s.subject for s in self.samples]

    @property
    def sequences(self):
        return [s.sequence for s in self.samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if index in self.broken:
            raise InputProblem(f"picture {index} is broken")
        return self.samples[index]

    def joints(self):
        return (
            np.stack([s.joints_mm for s in self.samples]).astype(np.float32),
            np.stack([s.joint_valid for s in self.samples]),
        )

    def problems(self):
        return []


class Oracle:
    """Answers the samples at ``indices`` in that order with their truth; those in ``blind`` it does not find."""

    input_px, crop_scale = 64, 1.7

    def __init__(self, labelled, indices, blind=(), offset_mm=0.0, scale=1.0):
        self.queue = [i for i in indices if i not in labelled.broken and labelled.samples[i].joint_valid.sum() >= 3]
        self.labelled, self.blind, self.offset_mm, self.scale = labelled, set(blind), offset_mm, scale
        self.facts = {"kind": "oracle"}
        self.seen = []

    def predict(self, crops_rgb):
        batch, self.queue = self.queue[: len(crops_rgb)], self.queue[len(crops_rgb) :]
        self.seen.append(crops_rgb)
        right = [self.labelled.samples[i].as_right() for i in batch]
        maps = [invert_affine(evaluation_crop(s, self.crop_scale, self.input_px)) for s in right]
        relative = np.stack([s.joints_mm - s.joints_mm[:1] for s in right]) * self.scale
        relative[:, 20, 0] += self.offset_mm
        return CropPoses(
            np.stack([apply_affine(m, s.joints_px) for m, s in zip(maps, right, strict=True)]),
            relative,
            np.ones((len(batch), 21)),
            np.array([i not in self.blind for i in batch]),
        )

    def close(self):
        pass
