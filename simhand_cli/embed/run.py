"""One export of features from config to finished folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, Ticker
from simhand_cli.embed.file import broken_in, join_parts, row_bytes, write_part
from simhand_cli.errors import InputProblem
from simhand_cli.features.frozen_encoder import FrozenEncoder, encoder_record, freeze, head_sha256, projection_head
from simhand_cli.features.pictures import READERS, LabelledPictures, Picture, PictureSource, WorkspacePictures
from simhand_cli.labelled.files.read_ahead import read_ahead
from simhand_cli.labelled.sample import choose_samples
from simhand_cli.models.encoder import build_encoder
from simhand_cli.models.encoder_source import EncoderSource, find_encoder
from simhand_cli.models.model_choice import resolve_device
from simhand_cli.models.projection_head import ProjectionHead
from simhand_cli.stages.run_folder import open_run, peek_run
from simhand_cli.training.processes.group import memory_problems
from simhand_cli.workspace.atomic import remove_leftovers
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.embed.config import EmbedConfig

#: Pictures of a part: what a killed run does over at most.
PART_ROWS = 4096
_PARTS = "parts"
#: Pictures that are looked at to learn how long the ids are.
_LOOKED_AT = 8


@dataclass(frozen=True)
class EmbedJob:
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

    config: "EmbedConfig"
    source: EncoderSource
    head: ProjectionHead | None
    pictures: PictureSource
    rows: NDArray[np.int64]
    folder: Path
    identity: dict[str, Any]

    def state(self) -> str:
        """What a run would find: "new", "finished", ... (see ``peek_run``)."""
        found = peek_run(self.folder, self.identity, redo=self.config.redo)
        begun = any((self.folder / _PARTS).glob("part-*.h5"))
        return "resume" if found == "new" and begun else found

    def numbers_per_row(self) -> dict[str, int]:
        """Lengths of the features and of the projections, 0 without a head."""
        projections = 0 if self.head is None else self.head.out_features
        return {"features": build_encoder(self.source.backbone).num_features, "projections": projections}

    def result_bytes(self) -> int:
        """About how large the result will be; a few pictures are read to learn how long the ids are."""
        looked_at = map(self.pictures.read, self.rows[:_LOOKED_AT].tolist())
        ids = next((picture.ids for picture in looked_at if isinstance(picture, Picture)), {})
        return len(self.rows) * row_bytes(ids, sum(self.numbers_per_row().values()))


def prepare(config: "EmbedConfig") -> EmbedJob:
    """Find the encoder and open the pictures; nothing is written.

    Raises:
        EnvironmentProblem: an encoder file that is not there.
        InputProblem: no finished pre-training run, no crops, or an unusable set.
    """
    workspace = Workspace(config.workspace) if config.data else Workspace.open(config.workspace)
    source = find_encoder(config.encoder, workspace, config.backbone, config.encoder_weights)
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
    return EmbedJob(config, source, head, pictures, rows, folder, identity)


def _default_name(config: "EmbedConfig", source: EncoderSource) -> str:
    if not config.data:
        return source.run_name
    others = f"-and-{len(config.data) - 1}" if len(config.data) > 1 else ""
    return f"{source.run_name}-{config.data[0].resolve().name[:40]}{others}"


def run_embed(job: EmbedJob, console: Console) -> dict[str, Any]:
    """Embed all pictures and write the folder; a finished folder is read back instead.

    Returns:
        the result's content: ``rows``, ``features``, ``projections`` (their lengths), ``broken`` messages.

    Raises:
        InputProblem: no picture could be read.
    """
    with workspace_lock(job.folder, "embed"):
        run = open_run(job.folder, job.identity, redo=job.config.redo)
        if run.result is not None:
            console.say(f"{job.folder} is already embedded with these options (--redo does it over)")
            _remove_parts(job)  # a run killed after its last word leaves them
            return run.result
        save_config(job.config, job.folder / "config.yaml")
        encoder = freeze(job.source, resolve_device(job.config.device), job.config.seed, console, job.head)
        remove_leftovers(job.folder / _PARTS)
        parts = _write_parts(job, encoder, console)
        broken = broken_in(parts)
        if len(broken) == len(job.rows):
            _remove_parts(job)
            raise InputProblem(f"no picture of {job.pictures.title} could be read, first: {broken[0]}")
        facts = {
            **{f"encoder_{key}": value for key, value in encoder_record(job.source).items()},
            "pictures": job.pictures.title,
            "input_px": job.config.input_px,
            "normalisation": "imagenet",
        }
        rows = join_parts(parts, job.folder, job.config.format, facts)
        result = run.finish(
            {"rows": rows, "features": encoder.num_features, "head": encoder.has_head, "broken": broken}
        )
        _remove_parts(job)
        return result


def _remove_parts(job: EmbedJob) -> None:
    shutil.rmtree(job.folder / _PARTS, ignore_errors=True)


def _write_parts(job: EmbedJob, encoder: FrozenEncoder, console: Console) -> list[Path]:
    """All parts, those that an earlier run read without fault taken as they are.

    Each starts a batch, so that its bytes never change. Pictures that could not be read then may be readable now.
    """
    parts = []
    with console.progress("embed", len(job.rows), "crops") as ticker, memory_problems():
        for start in range(0, len(job.rows), PART_ROWS):
            path = job.folder / _PARTS / f"part-{start // PART_ROWS:06d}.h5"
            rows = job.rows[start : start + PART_ROWS].tolist()
            parts.append(path)
            if path.is_file() and not broken_in([path]):  # it appeared only when it was complete
                ticker.advance(len(rows))
                continue
            _write_part(path, job, encoder, rows, ticker)
    return parts


def _write_part(path: Path, job: EmbedJob, encoder: FrozenEncoder, rows: list[int], ticker: Ticker) -> None:
    pooled, projected, ids, broken = [], [], [], []
    for batch in read_ahead(job.pictures.read, rows, job.config.batch_size, READERS):
        good = [item for item in batch if isinstance(item, Picture)]
        broken += [item for item in batch if isinstance(item, str)]
        ticker.advance(len(batch))
        if good:
            found = encoder(np.stack([picture.image_rgb for picture in good]))
            pooled.append(found.pooled)
            projected += [] if found.projected is None else [found.projected]
            ids += [picture.ids for picture in good]
    tables = {"features": pooled, "projections": projected}
    write_part(path, {name: np.concatenate(t) for name, t in tables.items() if t}, ids, broken)
