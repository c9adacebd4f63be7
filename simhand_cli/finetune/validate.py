"""The errors that decide which epoch's model is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.finetune.crop_dataset import CropBatch
from simhand_cli.metrics.alignment import root_bone_scale, root_relative
from simhand_cli.models.detnet import DetNet, read_joints
from simhand_cli.models.encoder import normalise
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.precision import Precision


@dataclass(frozen=True)
class ValidationErrors:
    """Mean errors over the validation samples of all ranks; means over joints of per-joint means.

    Those in 3D are NaN where all of these samples have 2D labels only, and of a model of 2D joints alone.

    Attributes:
        root_bone_mm: MPJPE, wrist and wrist - middle knuckle length aligned with the truth; what decides.
        root_mm: MPJPE, wrist aligned, size from the mean training bone length.
        px: 2D error in pixels of the crop; what decides where those in 3D are NaN.
        samples: how many samples were measured.
        broken: messages of samples that could not be read (this rank's).
        by_set_mm: ``root_bone_mm`` of each set with validation samples, by its number.
    """

    root_bone_mm: float
    root_mm: float
    px: float
    samples: int
    broken: list[str]
    by_set_mm: dict[int, float]


@torch.inference_mode()
def validate(
    net: DetNet,
    sets: Mapping[int, Iterable[CropBatch]],
    *,
    bone_length_mm: float,
    average: bool,
    precision: Precision,
    ranks: Ranks,
    equally: bool = False,
) -> ValidationErrors:
    """Measure a model; leaves it in evaluation mode.

    Args:
        net: the model, on the rank's device.
        sets: for each set, by its number, this rank's share of the validation crops.
        bone_length_mm: mean training length of the reference bone; NaN where it is not known.
        average: read-out, see :func:`~simhand_cli.models.detnet.read_joints`.
        precision: number format of the forward pass.
        ranks: this process's place.
        equally: the figures are means over the sets, however many samples each has; else over all samples.
    """
    net.eval()
    sums, broken = [], []
    for batches in sets.values():
        found, problems = _set_sums(net, batches, bone_length_mm, average, precision, ranks.device)
        sums.append(found)
        broken += problems
    # Means of sums: the ratio of two of them is that of the sums. One exchange for all sets.
    everyone = ranks.mean(torch.from_numpy(np.stack(sums)).to(ranks.device)).cpu().numpy()
    each = np.stack([_figures(one) for one in everyone])
    figures = _means(each) if equally else _figures(everyone.sum(axis=0))
    return ValidationErrors(
        root_bone_mm=float(figures[0]),
        root_mm=float(figures[1]),
        px=float(figures[2]),
        # Back from the mean over the ranks.
        samples=round(float(everyone[:, -1].sum()) * ranks.world_size),
        broken=broken,
        by_set_mm={number: float(one[0]) for number, one in zip(sets, each, strict=True)},
    )


def _means(each: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) means of the sets' figures (S, 3), over those that have one."""
    known = np.isfinite(each)
    means: NDArray[np.float64] = np.where(known, each, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), means, np.nan)


def _figures(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) means over joints of per-joint means: root + bone scale, root, pixels; NaN where nothing was measured."""
    # Three figures of 21 joints.
    totals, counts = sums[:63].reshape(3, 21), sums[63:126].reshape(3, 21)
    means: NDArray[np.float64] = (totals / np.maximum(counts, 1e-12)).mean(axis=1)
    return np.where(counts.any(axis=1), means, np.nan)


def _set_sums(
    net: DetNet, batches: Iterable[CropBatch], bone_length_mm: float, average: bool, precision: Precision, device: str
) -> tuple[NDArray[np.float64], list[str]]:
    """(127,) of one set: sums and counts of :func:`_joint_sums`, and the number of samples; and what is broken."""
    # Rows: summed error of root + bone scale, of root, in pixels; then the counts of each.
    sums = np.zeros((6, 21))
    samples, broken = 0, []
    for batch in batches:
        broken += batch.broken
        if len(batch) == 0:
            continue
        samples += len(batch)
        images = normalise(batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2))
        with precision.autocast(device):
            maps = net(images.to(precision.dtype))
        found = read_joints(maps, net.input_px, average)
        sums += _joint_sums(
            batch, found.location.double().cpu().numpy() * bone_length_mm, found.joints_px.double().cpu().numpy()
        )
    return np.append(sums.ravel(), samples), broken


def _joint_sums(batch: CropBatch, pred_mm: NDArray[np.float64], pred_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 21) sums and counts of a batch, as :func:`validate` adds them up."""
    valid, joints_mm = batch.valid.numpy(), batch.joints_mm.double().numpy()
    valid_mm = valid & np.isfinite(joints_mm).all(axis=-1)
    truth_mm = np.where(valid_mm[..., None], joints_mm, 0.0)
    truth_px = np.where(valid[..., None], batch.joints_px.double().numpy(), 0.0)
    sums, counts = [], []
    for align in (root_bone_scale, root_relative):
        aligned = align(pred_mm, truth_mm, valid_mm)
        use = valid_mm & aligned.scored[:, None]
        errors = np.linalg.norm(aligned.joints_mm - truth_mm, axis=-1)
        sums.append(np.where(use, errors, 0.0).sum(axis=0))
        counts.append(use.sum(axis=0))
    sums.append((np.linalg.norm(pred_px - truth_px, axis=-1) * valid).sum(axis=0))
    counts.append(valid.sum(axis=0))
    return np.stack([*sums, *counts]).astype(np.float64)
