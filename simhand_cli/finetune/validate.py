"""The errors that decide which epoch's model is kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.evaluation.alignment import root_bone_scale, root_relative
from simhand_cli.finetune.crop_dataset import CropBatch
from simhand_cli.models.detnet import DetNet, read_joints
from simhand_cli.models.encoder import normalise
from simhand_cli.training.precision import Precision
from simhand_cli.training.ranks import Ranks


@dataclass(frozen=True)
class ValidationErrors:
    """Mean errors over the validation samples of all ranks; means over joints of per-joint means.

    Attributes:
        root_bone_mm: MPJPE, wrist and wrist - middle knuckle length aligned with the truth.
        root_mm: MPJPE, wrist aligned, size from the mean training bone length.
        px: 2D error in pixels of the crop.
        samples: how many samples were measured.
        broken: messages of samples that could not be read (this rank's).
    """

    root_bone_mm: float
    root_mm: float
    px: float
    samples: int
    broken: list[str]


@torch.inference_mode()
def validate(
    net: DetNet,
    batches: Iterable[CropBatch],
    *,
    bone_length_mm: float,
    average: bool,
    precision: Precision,
    ranks: Ranks,
) -> ValidationErrors:
    """Measure a model; leaves it in evaluation mode.

    Args:
        net: the model, on the rank's device.
        batches: this rank's share of the validation crops.
        bone_length_mm: mean training length of the reference bone.
        average: read-out, see :func:`~simhand_cli.models.detnet.read_joints`.
        precision: number format of the forward pass.
        ranks: this process's place.
    """
    net.eval()
    # Rows: summed error of root + bone scale, of root, in pixels; then the counts of each.
    sums = np.zeros((6, 21))
    samples, broken = 0, []
    for batch in batches:
        broken += batch.broken
        if len(batch) == 0:
            continue
        samples += len(batch)
        images = normalise(batch.images.to(ranks.device, non_blocking=True).permute(0, 3, 1, 2))
        with precision.autocast(ranks.device):
            maps = net(images.to(precision.dtype))
        found = read_joints(maps, net.input_px, average)
        sums += _joint_sums(
            batch, found.location.double().cpu().numpy() * bone_length_mm, found.joints_px.double().cpu().numpy()
        )
    total = ranks.mean(torch.from_numpy(np.append(sums.ravel(), samples)).to(ranks.device)).cpu().numpy()
    means = total[:63].reshape(3, 21) / np.maximum(total[63:126].reshape(3, 21), 1e-12)
    return ValidationErrors(
        root_bone_mm=float(means[0].mean()),
        root_mm=float(means[1].mean()),
        px=float(means[2].mean()),
        samples=round(float(total[126]) * ranks.world_size),
        broken=broken,
    )


def _joint_sums(batch: CropBatch, pred_mm: NDArray[np.float64], pred_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 21) sums and counts of a batch, as :func:`validate` adds them up."""
    valid = batch.valid.numpy()
    truth_mm = np.where(valid[..., None], batch.joints_mm.double().numpy(), 0.0)
    truth_px = np.where(valid[..., None], batch.joints_px.double().numpy(), 0.0)
    sums, counts = [], []
    for align in (root_bone_scale, root_relative):
        aligned = align(pred_mm, truth_mm, valid)
        use = valid & aligned.scored[:, None]
        sums.append((np.linalg.norm(aligned.joints_mm - truth_mm, axis=-1) * use).sum(axis=0))
        counts.append(use.sum(axis=0))
    sums.append((np.linalg.norm(pred_px - truth_px, axis=-1) * valid).sum(axis=0))
    counts.append(valid.sum(axis=0))
    return np.stack([*sums, *counts]).astype(np.float64)
