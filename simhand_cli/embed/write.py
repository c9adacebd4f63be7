"""Embedding all pictures part by part, and joining the parts to the result."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from simhand_cli.console import Console, Ticker
from simhand_cli.embed.file import broken_in, join_parts, write_part
from simhand_cli.embed.prepare import EmbedRun
from simhand_cli.errors import InputProblem
from simhand_cli.features.frozen_encoder import FrozenEncoder, encoder_record, freeze
from simhand_cli.features.pictures import READERS, Picture
from simhand_cli.labelled.files.read_ahead import read_ahead
from simhand_cli.models.model_choice import resolve_device
from simhand_cli.training.processes.group import memory_problems
from simhand_cli.workspace.atomic import remove_leftovers

#: Pictures of a part: what a killed run does over at most.
PART_ROWS = 4096
_PARTS = "parts"


def has_parts(folder: Path) -> bool:
    """Whether an earlier run left parts to go on with."""
    return any((folder / _PARTS).glob("part-*.h5"))


def remove_parts(folder: Path) -> None:
    """Delete the parts of a run that is finished or of no use."""
    shutil.rmtree(folder / _PARTS, ignore_errors=True)


def embed_all(job: EmbedRun, console: Console) -> dict[str, Any]:
    """Embed all pictures and write the result's files; the parts stay until the caller has noted that it is finished.

    Returns:
        ``rows``, ``features`` (their length), ``head`` (whether there is one), ``broken`` messages.

    Raises:
        InputProblem: no picture could be read.
    """
    encoder = freeze(job.source, resolve_device(job.config.device), job.config.seed, console, job.head)
    remove_leftovers(job.folder / _PARTS)
    parts = _write_parts(job, encoder, console)
    broken = broken_in(parts)
    if len(broken) == len(job.rows):
        remove_parts(job.folder)
        raise InputProblem(f"no picture of {job.pictures.title} could be read, first: {broken[0]}")
    facts = {
        **{f"encoder_{key}": value for key, value in encoder_record(job.source).items()},
        "pictures": job.pictures.title,
        "input_px": job.config.input_px,
        "normalisation": "imagenet",
    }
    rows = join_parts(parts, job.folder, job.config.format, facts)
    return {"rows": rows, "features": encoder.num_features, "head": encoder.has_head, "broken": broken}


def _write_parts(job: EmbedRun, encoder: FrozenEncoder, console: Console) -> list[Path]:
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


def _write_part(path: Path, job: EmbedRun, encoder: FrozenEncoder, rows: list[int], ticker: Ticker) -> None:
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
