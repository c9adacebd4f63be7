"""How large the comparison is made: for two CPU cores, for one large GPU, or only to see that everything runs."""

from dataclasses import dataclass
from typing import Literal

Table = Literal["main", "sizes", "topk", "fractions", "weights", "recipes", "weak", "precision", "why"]
#: In the order in which they are computed.
TABLES: tuple[Table, ...] = ("main", "weights", "topk", "fractions", "weak", "recipes", "sizes", "precision", "why")
#: Those of them that are computed only when asked for.
ASKED_FOR: tuple[Table, ...] = ("precision", "why")


@dataclass(frozen=True)
class Scale:
    """Sizes and options of one scale; every method shares them. README.md says how they differ from the paper's.

    Attributes:
        name: for ``--scale``.
        gpus: for ``--gpus``.
        hours: after so long no further cell is started; the same command goes on later.
        at_once, threads: cells computed at the same time, and threads of each (of its loader, one more process).
        videos, frames: synthetic videos (a person and a place each), frames of each.
        frame_px, crop_px: side of the videos' frames and of the stored crops.
        encoder, view_px: architecture, and side of the pictures it sees in pre-training and in fine-tuning.
        initial: every method's initial weights: ``imagenet`` (initial.py) or ``random``.
        batch, epochs, steps: of pre-training, which ends after so many steps (None: with the epochs).
        precision: number format of all trainings.
        workers: loader processes of a training.
        people, labelled: subjects and pictures of the labelled set; a fifth of both is the test split.
        label_fraction: of the training split, wherever the table does not vary it.
        finetune_batch, finetune_steps, width: of fine-tuning; the steps are the same for every fraction.
        sizes: videos to learn from, besides all.
        ranks: which mined neighbour is the positive, besides the first.
        fractions: shares of the labels, besides ``label_fraction``.
    """

    name: str
    gpus: int
    hours: float
    at_once: int
    threads: int
    videos: int
    frames: int
    frame_px: int
    crop_px: int
    encoder: str
    view_px: int
    initial: Literal["imagenet", "random"]
    batch: int
    epochs: int
    steps: int | None
    precision: str
    workers: int
    people: int
    labelled: int
    label_fraction: float
    finetune_batch: int
    finetune_steps: int
    width: int
    sizes: tuple[int, ...]
    ranks: tuple[int, ...]
    fractions: tuple[float, ...]

    @property
    def warmup_epochs(self) -> float:
        """A tenth of pre-training, in passes over the crops; about one frame in ten yields none."""
        passes = self.epochs if self.steps is None else self.steps * self.batch / (0.9 * self.videos * self.frames)
        return round(passes / 10, 3)

    @property
    def training_pictures(self) -> int:
        """Of the labelled set's training split."""
        return self.labelled - self.labelled // 5


#: Frames a second of the videos, all of which are sampled: at 3 a hand is still near its last pose (TempCLR's
#: positives), and a video of 100 frames holds about 30 poses.
FPS = 3.0
#: Seeds of the two synthetic sets: other people, poses and places.
VIDEO_SEED, LABEL_SEED = 101, 202

#: Two trainings of one thread each: the start of every command and its evaluation use one core anyhow, and threads that
#: wait for each other lose most of their speed where other programs use the cores. fp32: depthwise convolutions are
#: twice as slow in bf16 on a CPU.
CPU = Scale(
    name="cpu", gpus=0, hours=2.0, at_once=2, threads=1,
    videos=280, frames=100, frame_px=256, crop_px=160,
    encoder="tf_efficientnet_lite0", view_px=64, initial="imagenet", batch=64, epochs=1, steps=150, precision="fp32",
    workers=1,
    people=250, labelled=5000, label_fraction=0.1, finetune_batch=16, finetune_steps=500, width=64,
    sizes=(70,), ranks=(50, 500), fractions=(1.0,),
)  # fmt: skip
GPU = Scale(
    name="gpu", gpus=1, hours=0.42, at_once=3, threads=2,
    videos=512, frames=100, frame_px=256, crop_px=160,
    encoder="tf_efficientnet_lite0", view_px=128, initial="imagenet", batch=512, epochs=6, steps=None, precision="bf16",
    workers=4,
    people=250, labelled=5000, label_fraction=0.1, finetune_batch=32, finetune_steps=1500, width=128,
    sizes=(32, 128), ranks=(5, 50, 500), fractions=(0.025, 0.25, 1.0),
)  # fmt: skip
TRIAL = Scale(
    name="trial", gpus=0, hours=1.0, at_once=2, threads=1,
    videos=8, frames=25, frame_px=192, crop_px=128,
    encoder="resnet18", view_px=64, initial="random", batch=32, epochs=1, steps=None, precision="fp32", workers=1,
    people=10, labelled=200, label_fraction=0.5, finetune_batch=32, finetune_steps=6, width=16,
    sizes=(4,), ranks=(10,), fractions=(1.0,),
)  # fmt: skip
SCALES = {scale.name: scale for scale in (CPU, GPU, TRIAL)}
