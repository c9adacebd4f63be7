"""Frozen encoders: from pictures to features, and to the projection head's output where the run still has it."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.models.encoder import Encoder, normalise
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.stages.checkpoint_folders import latest_complete
from simhand_cli.stages.run_folder import read_result
from simhand_cli.training.state.checkpoint import load_checkpoint
from simhand_cli.workspace.paths import BACKBONE_FILE

#: Where a pre-training checkpoint holds the head.
_HEAD_PREFIX = "module.model.projection."


@dataclass(frozen=True, slots=True)
class Features:
    """Features of B pictures.

    Attributes:
        pooled: (B, D) float32, the encoder's pooled features.
        projected: (B, P) float32, the projection head's output, not normalised; None without a head.
    """

    pooled: NDArray[np.float32]
    projected: NDArray[np.float32] | None


class FrozenEncoder:
    """An encoder in evaluation mode on a device; float32 throughout.

    Attributes:
        num_features: D.
        has_head: whether there is a projection head.
    """

    def __init__(self, encoder: Encoder, head: ProjectionHead | None, device: str) -> None:
        # The stub of Module.to knows no memory_format.
        self._encoder = encoder.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._head = None if head is None else head.to(device).eval()
        self._device = device
        self.num_features = encoder.num_features
        self.has_head = head is not None

    @torch.inference_mode()
    def __call__(self, images_rgb: NDArray[np.uint8]) -> Features:
        """Features of (B, S, S, 3) uint8 pictures of right hands, normalised as in pre-training."""
        images = torch.from_numpy(images_rgb).to(self._device).permute(0, 3, 1, 2)
        # Statistics as in pre-training; other ones would shift every feature.
        pooled = self._encoder(normalise(images).contiguous(memory_format=torch.channels_last))
        projected = None if self._head is None else self._head(pooled).float().cpu().numpy()
        return Features(pooled.float().cpu().numpy(), projected)


def freeze(
    source: EncoderSource, device: str, seed: int, console: Console, head: ProjectionHead | None = None
) -> FrozenEncoder:
    """Build an encoder from where it comes.

    Args:
        source: see :func:`~simhand_cli.models.encoder_source.find_encoder`.
        device: "cpu" or "cuda".
        seed: of random weights; the global random state is left as it is.
        console: told of tensors that the weight file lacks.
        head: of :func:`projection_head`, applied too.

    Raises:
        InputProblem: the weights do not fit.
    """
    # Weights are drawn on the CPU; with devices named, or by default, this would start CUDA.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, report = source.build()
    if report is not None and report.missing:
        console.warn(f"{source.described}: {len(report.missing)} tensors are missing and stay random")
    return FrozenEncoder(encoder, head, device)


def projection_head(source: EncoderSource) -> ProjectionHead | None:
    """The head trained together with a run's backbone, from the checkpoint of the run's last step; None without it."""
    weights = source.weights
    if weights is None or weights.name != BACKBONE_FILE:
        return None
    result, checkpoint = read_result(weights.parent), latest_complete(weights.parent)
    if result is None or checkpoint is None:
        return None
    try:
        tensors, state = load_checkpoint(checkpoint)
    except InputProblem:  # the backbone is whole, and it is what was asked for
        return None
    found = {name.removeprefix(_HEAD_PREFIX): t for name, t in tensors.items() if name.startswith(_HEAD_PREFIX)}
    # Of an earlier step it would belong to another encoder than the one written.
    if not found or state["step"] != result.get("steps"):
        return None
    hidden, out = found["layers.0.weight"].shape[0], found["layers.3.weight"].shape[0]
    head = ProjectionHead(found["layers.0.weight"].shape[1], hidden, out)
    head.load_state_dict(found)
    return head.float()


def head_sha256(head: ProjectionHead) -> str:
    """sha256 of a head's names and numbers."""
    digest = hashlib.sha256()
    # Sorted: the order of a dictionary is no content.
    for name, tensor in sorted(head.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def unique_titles(sources: list[EncoderSource]) -> list[str]:
    """Short names of encoders, all different: the run's or file's, numbered where two are the same."""
    titles: list[str] = []
    for source in sources:
        base = f"untrained-{source.backbone}" if source.weights is None else source.run_name
        title, number = base, 2
        while title in titles:
            title, number = f"{base}-{number}", number + 1
        titles.append(title)
    return titles


def encoder_record(source: EncoderSource) -> dict[str, str]:
    """What an encoder is, as plain values."""
    return {"backbone": source.backbone, "weights": str(source.weights or "random"), "sha256": source.sha256}
