"""What an export of features needs before it runs: the encoder and the pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.embed.config import EmbedConfig
from simhand_cli.embed.file import row_bytes
from simhand_cli.features.frozen_encoder import head_sha256, projection_head
from simhand_cli.features.pictures import LabelledPictures, Picture, PictureSource, WorkspacePictures
from simhand_cli.labelled.sample import choose_samples
from simhand_cli.models.encoder import build_encoder
from simhand_cli.models.encoder_source import EncoderSource, find_encoder
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.workspace.paths import Workspace

#: Pictures that are looked at to learn how long the ids are.
_LOOKED_AT = 8


@dataclass(frozen=True)
class EmbedRun:
    """A prepared export.

    Attributes:
        config: its options.
        source: the encoder.
        head: its projection head, where the run still has it.
        pictures: what is embedded.
        rows: (N,) numbers of the chosen pictures.
        folder: of the result.
        identity: all that determines it.
    """

    config: EmbedConfig
    source: EncoderSource
    head: ProjectionHead | None
    pictures: PictureSource
    rows: NDArray[np.int64]
    folder: Path
    identity: dict[str, Any]

    def numbers_per_row(self) -> dict[str, int]:
        """Lengths of the features and of the projections, 0 without a head."""
        projections = 0 if self.head is None else self.head.out_features
        return {"features": build_encoder(self.source.backbone).num_features, "projections": projections}

    def result_bytes(self) -> int:
        """About how large the result will be; a few pictures are read to learn how long the ids are."""
        looked_at = map(self.pictures.read, self.rows[:_LOOKED_AT].tolist())
        ids = next((picture.ids for picture in looked_at if isinstance(picture, Picture)), {})
        return len(self.rows) * row_bytes(ids, sum(self.numbers_per_row().values()))


def prepare(config: EmbedConfig, console: Console) -> EmbedRun:
    """Find the encoder and open the pictures; nothing is written.

    Args:
        config: the options.
        console: told what is opened, since large sets take a while.

    Raises:
        EnvironmentProblem: an encoder file that is not there.
        InputProblem: no finished pre-training run, no crops, or an unusable set.
    """
    workspace = Workspace(config.workspace) if config.data else Workspace.open(config.workspace)
    source = find_encoder(config.encoder, workspace, config.backbone, config.encoder_weights)
    console.say(f"opening {', '.join(map(str, config.data)) or 'the crops of the workspace'}")
    pictures: PictureSource = (
        LabelledPictures(config.data, config.split, config.input_px)
        if config.data
        else WorkspacePictures(workspace, config.input_px)
    )
    rows = choose_samples(np.arange(len(pictures)), config.limit, config.seed)
    head = projection_head(source)
    identity = {
        **config.identity(),
        "backbone": source.backbone,
        "encoder_sha256": source.sha256 or "random",
        "head_sha256": None if head is None else head_sha256(head),
        "pictures_sha256": pictures.digests,
    }
    folder = workspace.run_dir("embed", config.name or _default_name(config, source))
    return EmbedRun(config, source, head, pictures, rows, folder, identity)


def _default_name(config: EmbedConfig, source: EncoderSource) -> str:
    if not config.data:
        return source.run_name
    others = f"-and-{len(config.data) - 1}" if len(config.data) > 1 else ""
    return f"{source.run_name}-{config.data[0].resolve().name[:40]}{others}"
