"""Find, for every hand, similar hands in other videos."""

import os
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.errors import InputProblem
from simhand_cli.summary import Dropped, Summary

if TYPE_CHECKING:
    from simhand_cli.crops.crop_set import CropSet
    from simhand_cli.mining.run import Mined, MiningSettings
    from simhand_cli.mining.selection import Selection
    from simhand_cli.mining.statistics import PairStatistics
    from simhand_cli.workspace.paths import Workspace
from simhand_cli.mining.config import EXACT_ROWS, MineConfig

Facts = dict[str, int | float | str]

EXAMPLES: tuple[str, ...] = (
    "simhand mine",
    "simhand mine --topk 10 --min-confidence 0.5",
    "simhand mine --search exact --dry-run",
)
# Rough costs for the plan, in seconds, measured on one core.
_EXACT_SECONDS_PER_PAIR = 5e-9
_INDEX_SECONDS_PER_ROW = 1.5e-4
_HNSW_SEARCH_SECONDS_PER_ROW = 3e-5


def mine(config: MineConfig, console: Console | None = None) -> Summary:
    """Pair every crop with the most similar hands of other videos and show the pairs.

    Args:
        config: the options.
        console: where progress goes; None: nowhere.

    Returns:
        counts, variance kept, recall and where the files lie.

    Raises:
        InputProblem: no keypoints yet, or fewer than two videos with usable crops.
        UsageProblem: earlier results were made with other options, without ``--redo``.
        EnvironmentProblem: the workspace is in use, or a file could not be written.
    """
    from simhand_cli.crops.crop_set import crop_set_fingerprint, load_crop_set
    from simhand_cli.mining.manifest import outputs_intact, read_manifest
    from simhand_cli.stages.refuse_changes import refuse_changes
    from simhand_cli.workspace.lock import workspace_lock
    from simhand_cli.workspace.paths import Workspace

    console = console or Console(quiet=True)
    workspace = Workspace.open(config.workspace)
    with workspace_lock(workspace.root, "mine"):
        crops = load_crop_set(workspace)
        selection, dropped = _select(config, crops)
        inputs = crop_set_fingerprint(workspace)
        if not config.redo and (before := read_manifest(workspace.mining_dir)) is not None:
            refuse_changes("mine", before["config"], config.identity(), "--redo mines again")
            if before["inputs"] == inputs and outputs_intact(workspace.mining_dir, before):
                stored = before["summary"]
                return _summary(workspace, stored["facts"], [Dropped(**d) for d in stored["dropped"]], done_before=True)
            console.say("mine: the crops changed since the last time, or a result is damaged; mining again")
        if config.dry_run:
            return _plan(config, len(selection.rows), dropped)
        return _mine(config, console, workspace, crops, selection, dropped, inputs)


def _select(config: MineConfig, crops: "CropSet") -> tuple["Selection", list[Dropped]]:
    """The rows that can be mined; at least two videos must have some."""
    import numpy as np

    from simhand_cli.mining.selection import select_rows

    selection = select_rows(crops.keypoints_px, crops.valid, crops.confidence, config.min_confidence)
    videos = len(np.unique(crops.video_index[selection.rows]))
    if videos < 2:
        raise InputProblem(
            f"{len(selection.rows)} usable crops of {len(crops.valid)}, from {videos} video(s): similar hands are "
            "looked for in other videos, so at least two are needed; ingest more videos or lower --min-confidence"
        )
    dropped = selection.dropped()
    if crops.unfinished:
        why = "detect or keypoints has still to do them, or failed on them"
        dropped.insert(0, Dropped("videos", crops.unfinished, why, "simhand detect, simhand keypoints"))
    if crops.left_out:
        dropped.insert(0, Dropped("crops", crops.left_out, "right/left balance", "detect --no-balance"))
    return selection, dropped


def _plan(config: MineConfig, rows: int, dropped: list[Dropped]) -> Summary:
    """What would be done: counts, bytes and time."""
    search = _search_kind(config, rows)
    seconds = rows * _INDEX_SECONDS_PER_ROW
    seconds += rows * (rows * _EXACT_SECONDS_PER_PAIR if search == "exact" else _HNSW_SEARCH_SECONDS_PER_ROW)
    size = rows * (4 * config.pca_dim + 168 + 8 + 8 + 12 * config.topk) + rows * (
        4 * config.pca_dim + 16 + 9 * config.hnsw_m
    )
    facts: Facts = {
        "crops": rows,
        "search": search,
        "disk, roughly": format_bytes(size),
        "time, roughly": format_duration(seconds),
    }
    return Summary("mine", facts, dropped)


def _search_kind(config: MineConfig, rows: int) -> Literal["exact", "hnsw"]:
    if config.search == "auto":
        return "exact" if rows <= EXACT_ROWS else "hnsw"
    return config.search


def _settings(config: MineConfig, rows: int) -> "MiningSettings":
    from simhand_cli.mining.index import IndexSettings
    from simhand_cli.mining.run import MiningSettings

    return MiningSettings(
        topk=config.topk,
        dimensions=config.pca_dim,
        search=_search_kind(config, rows),
        index=IndexSettings(config.hnsw_m, config.hnsw_ef_construction, config.hnsw_ef, config.seed),
        recall_rows=config.recall_rows,
        threads=config.threads or os.cpu_count() or 1,
    )


def _mine(
    config: MineConfig,
    console: Console,
    workspace: "Workspace",
    crops: "CropSet",
    selection: "Selection",
    dropped: list[Dropped],
    inputs: str,
) -> Summary:
    """Compute everything, then replace the files; the manifest comes last."""
    import numpy as np

    from simhand_cli.config.resolve import save_config
    from simhand_cli.crops.crop_set import read_crops
    from simhand_cli.mining.manifest import remove_manifest, write_manifest
    from simhand_cli.mining.pair_sheet import pair_sheet
    from simhand_cli.mining.report import build_report
    from simhand_cli.mining.run import find_pairs, mined_rows, write_arrays
    from simhand_cli.mining.statistics import pair_statistics
    from simhand_cli.report.sheet import save_image
    from simhand_cli.workspace.atomic import remove_leftovers, sha256_file

    settings = _settings(config, len(selection.rows))
    mined = find_pairs(crops.keypoints_px, selection.rows, crops.video_index[selection.rows], settings, console)
    rows = mined_rows(crops, selection.rows, mined, _video_names(workspace))
    figures = pair_statistics(mined.found, rows.embedding, rows.video_index, rows.handedness, config.seed)
    facts = _facts(settings, mined, figures, len(np.unique(rows.video_index)))
    if figures.unfilled:
        reason = "other videos have fewer hands than --topk asks for"
        dropped = [*dropped, Dropped("places for similar hands", figures.unfilled, reason, "--topk")]
    sheet = pair_sheet(rows, partial(read_crops, workspace), config.sheet_queries, config.seed)
    page = build_report(rows, mined.found, mined.pca, figures, sheet, facts, dropped)

    directory = workspace.mining_dir
    remove_manifest(directory)
    remove_leftovers(directory)
    save_config(config, directory / "config.yaml")
    outputs = write_arrays(directory, rows, mined, settings, crops.crop_size_px, selection)
    save_image(directory / "pairs.png", sheet)
    page.write(directory / "report.html")
    outputs |= {name: sha256_file(directory / name) for name in ("pairs.png", "report.html")}
    summary = _summary(workspace, facts, dropped)
    stored = {"facts": facts, "dropped": [asdict(item) for item in dropped]}
    write_manifest(directory, config.identity(), inputs, outputs, stored)
    return summary


def _video_names(workspace: "Workspace") -> dict[str, str]:
    """Video id -> the name of its file or folder, for captions; with the id's beginning where names repeat."""
    from simhand_cli.workspace.catalog import Catalog

    with Catalog(workspace.catalog_path) as catalog:
        names = {
            video.video_id: Path(video.path).stem if video.kind == "video" else Path(video.path).name
            for video in catalog.videos()
        }
    often = Counter(names.values())
    return {v: name if often[name] == 1 else f"{name} ({v[:4]})" for v, name in names.items()}


def _facts(settings: "MiningSettings", mined: "Mined", figures: "PairStatistics", videos: int) -> Facts:
    facts: Facts = {
        "crops": len(mined.embedding),
        "videos": videos,
        "pairs": figures.pairs,
        "similar hands wanted per crop": settings.topk,
        "pose embedding dimensions": settings.dimensions,
        "variance kept (%)": round(100 * mined.pca.variance_kept, 2),
        "search": settings.search,
        "recall (%)": round(100 * mined.recall, 2),
    }
    if mined.log is not None:
        facts["recall measured on"] = mined.recall_rows
        facts["largest number fetched per crop"] = mined.log.rounds[-1][0]
        facts["crops searched exactly in the end"] = mined.log.exact_rows
    facts["different hands that are some crop's Top-1"] = figures.distinct_positives
    facts["median distance of Top-1"] = round(figures.top1_quantiles[1], 4)
    if figures.random_median == figures.random_median:  # not a number where no random pair is from two videos
        facts["median distance of random pairs"] = round(figures.random_median, 4)
    return facts


def _summary(workspace: "Workspace", facts: Facts, dropped: list[Dropped], done_before: bool = False) -> Summary:
    names = {"pairs": "pairs.h5", "contact sheet": "pairs.png", "report": "report.html"}
    return Summary(
        "mine",
        {"status": "already done, nothing to do", **facts} if done_before else facts,
        dropped,
        {name: workspace.mining_dir / file for name, file in names.items()},
        hint="look at the report, then run 'simhand pretrain'",
    )
