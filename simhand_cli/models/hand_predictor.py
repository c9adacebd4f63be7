"""Joints from crops with a fine-tuned model: what evaluation and the demo use."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.models.detnet import DetNet, read_joints
from simhand_cli.models.encoder import normalise
from simhand_cli.models.hand_model import ModelFacts, load_model
from simhand_cli.skeleton import WRIST


@dataclass(frozen=True, slots=True)
class HandPrediction:
    """Joints of a batch of right-hand crops.

    Attributes:
        joints_px: (B, 21, 2) float64 in the given images, pixel centres.
        joints_rel: (B, 21, 3) float64 relative to the wrist, in lengths of the bone wrist - middle knuckle; camera
            axes (x right, y down, z forward).
        confidence: (B, 21) float64 peak of each joint's heatmap, 0..1.
    """

    joints_px: NDArray[np.float64]
    joints_rel: NDArray[np.float64]
    confidence: NDArray[np.float64]


class HandPredictor:
    """A fine-tuned model ready to predict.

    Attributes:
        facts: what the model file says.
        input_px: side of the model's input; give crops of this size to avoid a resize.
        bone_length_mm: mean training length of the bone wrist - middle knuckle; ``joints_rel * bone_length_mm`` is
            the best guess in millimetres when nothing is known of the hand's size; NaN of a model of 2D joints alone.
    """

    def __init__(self, net: DetNet, facts: ModelFacts, device: str = "cpu") -> None:
        # Channels last is the faster layout of convolutions on CPUs and GPUs alike.
        # The stub of Module.to knows no memory_format.
        self._net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._device = device
        self.facts = facts
        self.input_px = facts.input_px
        self.bone_length_mm = np.nan if facts.bone_length_mm is None else facts.bone_length_mm

    @torch.inference_mode()
    def predict(self, images_rgb: NDArray[np.uint8]) -> HandPrediction:
        """Joints of right-hand crops; mirror left hands first.

        Args:
            images_rgb: (B, S, S, 3) uint8, square crops of any size S, the hand's 2D extent about S / 1.6.

        Returns:
            the prediction; its pixels are those of the given images.
        """
        if len(images_rgb) == 0:
            return HandPrediction(np.zeros((0, 21, 2)), np.zeros((0, 21, 3)), np.zeros((0, 21)))
        given_px = images_rgb.shape[1]
        images = torch.from_numpy(np.ascontiguousarray(self._fitted(images_rgb)))
        batch = normalise(images.to(self._device).permute(0, 3, 1, 2))
        maps = self._net(batch.contiguous(memory_format=torch.channels_last))
        found = read_joints(maps, self.input_px, average=self.facts.readout == "average")
        # Pixel centres: half a pixel is added before scaling and taken off after.
        joints_px = (found.joints_px.double().cpu().numpy() + 0.5) * (given_px / self.input_px) - 0.5
        location = found.location.double().cpu().numpy()
        return HandPrediction(
            joints_px=joints_px,
            # Whatever root the model was trained with, callers get the wrist's.
            joints_rel=location - location[:, WRIST : WRIST + 1],
            confidence=found.confidence.double().cpu().numpy(),
        )

    def _fitted(self, images_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if images_rgb.shape[1] == self.input_px:
            return images_rgb
        import cv2

        # Averaging over the source area when shrinking keeps thin fingers whole.
        method = cv2.INTER_AREA if images_rgb.shape[1] > self.input_px else cv2.INTER_LINEAR
        size = (self.input_px, self.input_px)
        return np.stack([np.asarray(cv2.resize(i, size, interpolation=method), np.uint8) for i in images_rgb])


def load_predictor(path: Path, device: str = "cpu") -> HandPredictor:
    """A predictor from a run's folder or its ``model.safetensors``.

    Raises:
        EnvironmentProblem: there is no such file.
        InputProblem: the file is damaged or no fine-tuned model.
    """
    return HandPredictor(*load_model(path), device=device)
