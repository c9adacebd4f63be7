"""Run a predictor over a labelled set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Ticker
from simhand_cli.crops.geometry import Affine, apply_affine, square_around, square_crop, warp_crop
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.predict.predictions import SetPredictions
from simhand_cli.evaluation.predict.predictors import CropPoses, PosePredictor
from simhand_cli.labelled.files.read_ahead import read_ahead
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.sample import HandSample, LabelledSet
from simhand_cli.metrics.absolute_position import place_in_camera

#: With fewer labelled joints neither a crop nor an alignment is determined.
MIN_JOINTS = 3


@dataclass(frozen=True, slots=True)
class _Item:
    """One sample, read and cropped."""

    index: int
    sample: HandSample
    mirrored: bool
    image_from_crop: Affine
    crop_rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class SetRun:
    """The predictions of a set, and what was left out.

    Attributes:
        predictions: None when no sample was usable.
        unreadable: messages of samples that could not be read.
        too_few_joints: number of samples with fewer than :data:`MIN_JOINTS` labelled joints.
    """

    predictions: SetPredictions | None
    unreadable: list[str]
    too_few_joints: int


def evaluation_crop(sample: HandSample, crop_scale: float, size_px: int) -> Affine:
    """The (2, 3) map from crop to image pixels of the square around a sample's labelled 2D joints."""
    center, side = square_around(sample.joints_px[sample.joint_valid], crop_scale)
    return square_crop(center, side, size_px)


def predict_set(
    labelled: LabelledSet, indices: NDArray[np.int64], predictor: PosePredictor, batch_size: int, ticker: Ticker
) -> SetRun:
    """Predict the chosen samples of a set, every hand as a right one.

    Args:
        labelled: the set.
        indices: (N,) positions in it.
        predictor: the model.
        batch_size: crops a call.
        ticker: advanced by samples.

    Returns:
        Predictions in the order of ``indices``, unusable samples left out.
    """
    unreadable: list[str] = []
    too_few = 0
    items: list[_Item] = []
    poses: list[CropPoses] = []

    def read(row: int) -> _Item | str | None:
        return _read(labelled, row, predictor.crop_scale, predictor.input_px)

    # Reading goes on in another thread while the model computes.
    for batch in read_ahead(read, indices.tolist(), batch_size):
        usable = [item for item in batch if isinstance(item, _Item)]
        unreadable.extend(item for item in batch if isinstance(item, str))
        too_few += sum(item is None for item in batch)
        if usable:
            poses.append(predictor.predict(np.stack([item.crop_rgb for item in usable])))
            # The pictures are not needed any more; a full set of them would not fit in memory.
            items.extend(_without_pictures(item) for item in usable)
        ticker.advance(len(batch))
    predictions = _assemble(labelled, items, poses) if items else None
    return SetRun(predictions, unreadable, too_few)


def _read(labelled: LabelledSet, index: int, crop_scale: float, size_px: int) -> _Item | str | None:
    """One sample; a message if it cannot be read, None if it has too few labelled joints."""
    try:
        original = labelled[index]
    except InputProblem as problem:
        return str(problem)
    if original.joint_valid.sum() < MIN_JOINTS:
        return None
    # Models see right hands only; predictions are turned back when they are written.
    sample = original.as_right()
    image_from_crop = evaluation_crop(sample, crop_scale, size_px)
    crop = warp_crop(sample.image_rgb, image_from_crop, size_px)
    return _Item(index, sample, original.hand == "left", image_from_crop, crop)


def _without_pictures(item: _Item) -> _Item:
    from dataclasses import replace

    # Without rows, but as wide as before: the width is still asked for.
    nothing = np.empty((0, item.sample.image_rgb.shape[1], 3), dtype=np.uint8)
    sample = replace(item.sample, image_rgb=nothing, mask=None, vertices_mm=None)
    return replace(item, sample=sample, crop_rgb=nothing)


def _assemble(labelled: LabelledSet, items: list[_Item], poses: list[CropPoses]) -> SetPredictions:
    found = np.concatenate([p.found for p in poses])
    missing = ~found[:, None, None]
    image_from_crop = np.stack([item.image_from_crop for item in items])
    crop_px = np.concatenate([p.joints_px for p in poses])
    # A predictor may leave anything in the rows of hands that it did not find.
    joints_px = np.where(missing, np.nan, apply_affine(image_from_crop, crop_px))
    relative_mm = np.where(missing, np.nan, np.concatenate([p.relative_mm for p in poses]))
    intrinsics = np.stack([item.sample.intrinsics for item in items])
    confidence = np.concatenate([p.confidence for p in poses])
    # Confidences weigh the least squares; were all 0, joints that do determine a place would not.
    # From what is predicted alone: no true depth or size goes into the absolute figures.
    placed = place_in_camera(relative_mm, joints_px, intrinsics, np.maximum(confidence, 1e-3))
    truth_mm = np.stack([item.sample.joints_mm for item in items])
    truth_px = np.stack([item.sample.joints_px for item in items])
    return SetPredictions(
        set_name=labelled.name,
        split=labelled.split,
        label=f"{labelled.name}/{labelled.split}",
        labels_sha256=labels_sha256(labelled),
        sample_ids=[item.sample.sample_id for item in items],
        subjects=[item.sample.subject for item in items],
        sequences=[item.sample.sequence for item in items],
        index=np.array([item.index for item in items], dtype=np.int64),
        mirrored=np.array([item.mirrored for item in items], dtype=bool),
        width_px=np.array([item.sample.image_rgb.shape[1] for item in items], dtype=np.int64),
        truth_mm=truth_mm,
        truth_px=truth_px,
        valid=np.stack([item.sample.joint_valid for item in items]),
        intrinsics=intrinsics,
        image_from_crop=image_from_crop,
        relative_mm=relative_mm,
        placed_mm=np.where(placed.determined[:, None, None], placed.joints_mm, np.nan),
        joints_px=joints_px,
        found=found,
    )
