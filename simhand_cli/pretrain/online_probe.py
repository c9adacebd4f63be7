"""While training: how alike in pose the hands are that lie near each other in feature space (k-NN retrieval).

The encoder is copied, so that nothing of the run changes: not its weights, modes, or random numbers. The copy is what
would be written as ``backbone.safetensors`` at this moment.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.console import Console, Ticker
from simhand_cli.crops.geometry import warp_crop
from simhand_cli.crops.reader import CropReader
from simhand_cli.errors import InputProblem
from simhand_cli.features.figures import retrieval_figure
from simhand_cli.features.frozen_encoder import Features, FrozenEncoder
from simhand_cli.features.knn import nearest, random_rows
from simhand_cli.features.pictures import READERS
from simhand_cli.features.retrieval import ALIGNMENTS, NEIGHBOURS, oracle_distances, pair_distances
from simhand_cli.features.sides import ProbeSide, check_sides, common_groups, embed_side, open_side
from simhand_cli.labelled.files.read_ahead import read_ahead
from simhand_cli.labelled.sample_crop import image_from_crop
from simhand_cli.mining.pose_embedding import normalise_keypoints
from simhand_cli.models.encoder import Encoder
from simhand_cli.pretrain.loss.pair_weights import point_distance
from simhand_cli.pretrain.pairs.pair_table import PairTable
from simhand_cli.pretrain.plan import PROBE_CROPS, PROBE_GALLERY, PROBE_TEST, Plan
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.workspace.paths import Workspace

_BATCH: Final = 64
#: Streams of random numbers: the choice of crops, and chance neighbours.
_CROPS_STREAM, _CHANCE_STREAM = 3, 31


class ProbeStopped(Exception):
    """The run is to stop, so the probe is given up."""


class _FrozenCopy(FrozenEncoder):
    """A copy in evaluation mode and float32, as ``simhand probe`` would load it; asks before every batch."""

    def __init__(self, encoder: Encoder, device: str, stopped: Callable[[], bool]) -> None:
        # Float32, as the file that would be written: bf16 makes features so alike that neighbours tie.
        super().__init__(copy.deepcopy(encoder).float(), None, device)
        self._stopped = stopped

    def __call__(self, images_rgb: NDArray[np.uint8]) -> Features:
        if self._stopped():
            raise ProbeStopped
        return super().__call__(images_rgb)


class CropProbe:
    """Neighbours among the run's own crops, judged by the joints that were found in them: no labels are needed.

    Poses are compared as mining sees them, in 2D, centred and divided by their spread. A neighbour is looked for in
    other videos only.

    Args:
        table: the run's pairs; anchors are drawn at random.
        crops_dir: of the workspace.
        size_px: side of the pictures.
        seed: of the choice.

    Attributes:
        videos: how many different ones the chosen crops come from; with fewer than two there is nothing to measure.
    """

    def __init__(self, table: PairTable, crops_dir: Path, size_px: int, seed: int) -> None:
        rng = np.random.default_rng([seed, _CROPS_STREAM])
        # In order: shards are opened one after the other.
        rows = np.sort(table.anchor[rng.permutation(len(table))[:PROBE_CROPS]])
        # Nobody is named in unlabelled videos; whoever is in one video counts as one person.
        self._groups = np.asarray(table.video_index[rows], np.int64)
        self._crop_index = np.asarray(table.crop_index[rows])
        self._keypoints_px = np.asarray(table.keypoints_px[rows], np.float64)
        self._reader = CropReader(crops_dir, table.video_ids, table.crop_size_px)
        self._size_px = size_px
        self._distance: NDArray[np.float64] | None = None
        self.videos = len(np.unique(self._groups))

    def measure(self, encoder: FrozenEncoder) -> dict[str, float]:
        """Mean joint distance to the nearest neighbour, to a random one, and to the best there is.

        The unit is the hand's spread: the RMS distance of its joints from their mean.

        Raises:
            InputProblem: a crop cannot be read.
        """
        batches = read_ahead(self._picture, range(len(self._groups)), _BATCH, READERS)
        features = np.concatenate([encoder(np.stack(batch)).pooled for batch in batches])
        found = nearest(features, features, self._groups, self._groups, 1)[:, 0]
        distance = self._distances()
        return {
            "probe_distance": float(distance[np.arange(len(found)), found].mean()),
            "probe_distance_chance": float(np.nanmean(distance, axis=1).mean()),
            # What a perfect encoder would reach with these crops: not 0, as no two poses are the same.
            "probe_distance_best": float(np.nanmin(distance, axis=1).mean()),
        }

    def _picture(self, number: int) -> NDArray[np.uint8]:
        """A crop framed as ``simhand probe`` frames labelled hands."""
        part = slice(number, number + 1)
        stored = self._reader.read(self._groups[part].astype(np.int32), self._crop_index[part])[0]
        return warp_crop(stored, image_from_crop(self._keypoints_px[number], self._size_px), self._size_px)

    def _distances(self) -> NDArray[np.float64]:
        """(N, N) between poses, NaN within a video; computed once."""
        if self._distance is None:
            poses = torch.from_numpy(normalise_keypoints(self._keypoints_px)).reshape(len(self._groups), -1, 2)
            distance = np.array(point_distance(poses, poses).numpy())
            distance[self._groups[:, None] == self._groups[None, :]] = np.nan
            self._distance = distance
        return self._distance


class LabelledProbe:
    """Neighbours in a labelled set, as ``simhand probe`` measures them: of its test hands among its training hands.

    Args:
        path: the set.
        size_px: side of the pictures.
        seed: of the choice of samples, as in ``simhand probe``.

    Raises:
        InputProblem: a set that cannot be opened or probed.
    """

    def __init__(self, path: Path, size_px: int, seed: int) -> None:
        self._test: ProbeSide = open_side(path, "test", PROBE_TEST, seed)
        self._gallery: ProbeSide = open_side(path, "train", PROBE_GALLERY, seed)
        check_sides(self._test, self._gallery, path)
        self._size_px, self._seed = size_px, seed
        self._references: dict[str, float] | None = None

    def measure(self, encoder: FrozenEncoder) -> dict[str, float]:
        """Mean joint distance in mm to the nearest neighbour, to random ones, and to the best there is.

        Wrist and bone length are forgiven (``root_bone_scale``), as in the first column of ``simhand probe``.

        Raises:
            InputProblem: nearly no sample could be read.
        """
        test, gallery = (
            embed_side(side, [encoder], self._size_px, _BATCH, Ticker()) for side in (self._test, self._gallery)
        )
        groups = common_groups(test.who, gallery.who)

        def mean_mm(rows: NDArray[np.int64]) -> float:
            distances = pair_distances(ALIGNMENTS[0], test.poses, gallery.poses, rows)
            return retrieval_figure(1, ALIGNMENTS[0], distances.mean(axis=1)).mean

        # They are of the labels alone, so once a start is enough.
        if self._references is None:
            # A stream of its own, for the same random neighbours at every probe and start.
            rng = np.random.default_rng([self._seed, _CHANCE_STREAM])
            best = oracle_distances(ALIGNMENTS[0], test.poses, gallery.poses, *groups, 1)[0]
            self._references = {
                "probe_mm_chance": mean_mm(random_rows(rng, *groups, NEIGHBOURS[-1])),
                "probe_mm_best": retrieval_figure(1, ALIGNMENTS[0], best[:, 0]).mean,
            }
        found = nearest(test.features[0], gallery.features[0], *groups, 1)
        return {"probe_mm": mean_mm(found), **self._references}


@dataclass(frozen=True)
class PoseProbe:
    """What a run measures of its encoder now and then.

    Attributes:
        crops: on the run's own crops; None where they are of one video.
        labelled: on a labelled set; None without one.
    """

    crops: CropProbe | None
    labelled: LabelledProbe | None

    def measure(self, encoder: Encoder, device: str, stopped: Callable[[], bool]) -> dict[str, float]:
        """All figures by name; nothing of the encoder, of the run or of the random state changes.

        Raises:
            ProbeStopped: ``stopped``, which is asked before every batch, said so.
            InputProblem: pictures that cannot be read.
        """
        frozen = _FrozenCopy(encoder, device, stopped)
        parts = [part.measure(frozen) for part in (self.crops, self.labelled) if part is not None]
        return {name: value for part in parts for name, value in part.items()}


def open_probe(
    settings: PretrainSettings, plan: Plan, table: PairTable, workspace: Workspace, console: Console
) -> PoseProbe | None:
    """What is measured while training, or None.

    Raises:
        InputProblem: the labelled set cannot be opened or probed.
    """
    if plan.probe_every == 0:
        return None
    size_px = settings.views.output_px
    crops = CropProbe(table, workspace.crops_dir, size_px, settings.seed)
    if crops.videos < 2:
        console.say("no k-NN probe of the crops: they are of one video, and neighbours are looked for in others")
    try:
        labelled = LabelledProbe(settings.probe_data, size_px, settings.seed) if settings.probe_data else None
    except InputProblem as problem:  # told as of simhand probe, whose option it is
        raise InputProblem(re.sub("^--data ", "--probe-data ", str(problem))) from problem
    probe = PoseProbe(crops if crops.videos > 1 else None, labelled)
    return probe if probe.crops or probe.labelled else None
