"""The models a demo can show: a fine-tuned one on MediaPipe's boxes, or MediaPipe alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.models.model_choice import model_name, named_model, newest_model
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.models.hand_predictor import HandPredictor

MEDIAPIPE = "mediapipe"


@dataclass(frozen=True)
class ModelChoice:
    """What will be shown.

    Attributes:
        file: the fine-tuned model, None for MediaPipe.
        title: its name on screen.
        note: said on screen when it is not what the user may expect.
    """

    file: Path | None
    title: str
    note: str = ""


def choose_model(model: str | None, workspace: Workspace) -> ModelChoice:
    """The model meant by ``--model``: a run's name, a path, ``mediapipe``, or by default the newest fine-tuned one.

    Raises:
        InputProblem: no model of this name.
    """
    title = "MediaPipe hand landmarker"
    if model == MEDIAPIPE:
        return ModelChoice(None, title)
    file = named_model(model, workspace) if model else newest_model(workspace)
    if file is None:
        return ModelChoice(None, title, "no fine-tuned model found: showing MediaPipe")
    return ModelChoice(file, f"fine-tuned model: {model_name(file)}")


class FinetunedPoser:
    """A fine-tuned model as the tracker wants it.

    Args:
        file: the model.
        device: "cpu" or "cuda".
    """

    def __init__(self, file: Path, device: str) -> None:
        from simhand_cli.labelled.sample_crop import EVAL_CROP_SCALE
        from simhand_cli.models.hand_predictor import load_predictor

        self._predictor: HandPredictor = load_predictor(file, device)
        # Said when the model is loaded, not at the first hand, which may come after minutes.
        if self._predictor.facts.bone_length_mm is None:
            raise InputProblem(f"--model {file} is a model of 2D joints alone and has no hand in 3D to show")
        self.input_px: int = self._predictor.input_px
        self.crop_scale: float = EVAL_CROP_SCALE

    def poses(self, crops_rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Joints (B, 21, 2) in the crops (B, S, S, 3), and (B, 21, 3) relative to the root, mm."""
        given = self._predictor.predict(crops_rgb)
        relative_mm = np.asarray(given.joints_rel, dtype=np.float64) * self._predictor.bone_length_mm
        return np.asarray(given.joints_px, dtype=np.float64), relative_mm
