"""A predictor whose errors are known."""

import numpy as np

from simhand_cli.crops.geometry import apply_affine, invert_affine
from simhand_cli.evaluation.predict.predict_set import evaluation_crop
from simhand_cli.evaluation.predict.predictors import CropPoses


class KnownErrors:
    """Answers the samples in their order with their truth plus noise; some are not found, some not placeable."""

    input_px, crop_scale = 64, 1.7

    def __init__(self, labelled, noise_mm=9.0, blind=(), flat=()):
        self.labelled, self.noise_mm, self.blind, self.flat = labelled, noise_mm, set(blind), set(flat)
        self.facts = {"kind": "known errors"}
        self.next = 0

    def predict(self, crops_rgb):
        numbers = range(self.next, self.next + len(crops_rgb))
        self.next += len(crops_rgb)
        right = [self.labelled[k].as_right() for k in numbers]
        noise = [np.random.default_rng(k).normal(0, self.noise_mm, (21, 3)) for k in numbers]
        moved = np.stack([s.joints_mm + n for s, n in zip(right, noise, strict=True)])
        pixels = []
        for k, sample, joints_mm in zip(numbers, right, moved, strict=True):
            projected = (joints_mm - noise[k - numbers[0]] / 2) @ sample.intrinsics.T
            to_crop = invert_affine(evaluation_crop(sample, self.crop_scale, self.input_px))
            points = apply_affine(to_crop, projected[:, :2] / projected[:, 2:])
            pixels.append(np.full_like(points, 20.0) if k in self.flat else points)
        found = np.array([k not in self.blind for k in numbers])
        return CropPoses(np.stack(pixels), moved - moved[:, :1], np.ones((len(right), 21)), found)

    def close(self):
        pass
