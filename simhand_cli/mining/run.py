"""Mining from the crop set to the finished folder: compute everything, then replace the files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.crops.crop_set import CropSet, crop_set_fingerprint, load_crop_set, read_crops
from simhand_cli.crops.waiting import waiting_dropped
from simhand_cli.errors import InputProblem
from simhand_cli.mining.config import EXACT_ROWS, MineConfig
from simhand_cli.mining.find_pairs import Mined, MiningSettings, find_pairs, mined_rows, write_arrays
from simhand_cli.mining.index import IndexSettings
from simhand_cli.mining.manifest import ManifestRecord, remove_manifest, write_manifest
from simhand_cli.mining.mining_report import build_report
from simhand_cli.mining.pair_sheet import pair_sheet
from simhand_cli.mining.selection import Selection, select_rows
from simhand_cli.mining.statistics import PairStatistics, pair_statistics
from simhand_cli.report.sheet import save_image
from simhand_cli.stages.run_folder import State
from simhand_cli.summary import Dropped, Summary
from simhand_cli.workspace.atomic import remove_leftovers, sha256_file
from simhand_cli.workspace.catalog import Catalog
from simhand_cli.workspace.cores import usable_cores
from simhand_cli.workspace.paths import Workspace

Facts = dict[str, int | float | str]
# Rough costs for the plan, in seconds, measured on one core.
_EXACT_SECONDS_PER_PAIR = 5e-9
_INDEX_SECONDS_PER_ROW = 1.5e-4
_HNSW_SEARCH_SECONDS_PER_ROW = 3e-5


class Mining:
    """``simhand mine`` as a :class:`simhand_cli.stages.job.Job`."""

    def __init__(self, config: MineConfig) -> None:
        self.config = config

    def prepare(self, console: Console) -> None:
        """Open the workspace."""
        self.workspace = Workspace.open(self.config.workspace)
        self.record = ManifestRecord(self.workspace)
        self._console = console

    def identity(self) -> Mapping[str, Any]:
        """The options; the crops are told apart by their fingerprint."""
        return self.config.identity()

    def state(self) -> State:
        """Load the crops and compare them with those that were mined.

        Raises:
            InputProblem: no keypoints yet, or fewer than two videos with usable crops.
            UsageProblem: pairs were mined with other options.
        """
        self.crops = load_crop_set(self.workspace)
        self.waiting = waiting_dropped(self.crops.waiting)
        self.selection, self.dropped = _select(self.config, self.crops)
        # Of the catalog's digests, not of the files: seconds instead of minutes for many videos.
        self.inputs = crop_set_fingerprint(self.workspace)
        self.done: dict[str, Any] | None = None
        found = self.record.state(self.identity(), redo=self.config.redo)
        if found != "finished":
            return found
        self.done = self.record.still_valid(self.inputs)
        # Changed crops are no mistake of the user's: mining follows them without --redo.
        if self.done is None:
            self._console.say("mine: the crops changed since the last time, or a result is damaged; mining again")
            return "redo"
        return "finished"

    def dry(self) -> Summary:
        """Crops, disk space and time; of a finished workspace, what was found in it."""
        if self.done is not None:
            return self._done_before(self.done)
        facts = _plan(self.config, len(self.selection.rows))
        return Summary("mine", facts, [*self.waiting, *self.dropped])

    def run(self, console: Console) -> Summary:
        """Compute everything, then replace the files; the manifest comes last."""
        if self.done is not None:
            return self._done_before(self.done)
        config, crops, selection, directory = self.config, self.crops, self.selection, self.workspace.mining_dir
        settings = _settings(config, len(selection.rows))
        mined = find_pairs(crops.keypoints_px, selection.rows, crops.video_index[selection.rows], settings, console)
        rows = mined_rows(crops, selection.rows, mined, _video_names(self.workspace))
        figures = pair_statistics(mined.found, rows.embedding, rows.video_index, rows.handedness, config.seed)
        facts = _facts(settings, mined, figures, len(np.unique(rows.video_index)))
        dropped = [*self.waiting, *self.dropped]
        if figures.unfilled:
            reason = "other videos have fewer hands than --topk asks for"
            dropped.append(Dropped("places for similar hands", figures.unfilled, reason, "--topk"))
        sheet = pair_sheet(rows, partial(read_crops, self.workspace), config.sheet_queries, config.seed)
        page = build_report(rows, mined.found, mined.pca, figures, sheet, facts, dropped)

        # First of all writing: from here until the new manifest the folder counts as unfinished.
        remove_manifest(directory)
        remove_leftovers(directory)
        save_config(config, directory / "config.yaml")
        outputs = write_arrays(directory, rows, mined, settings, crops.crop_size_px, selection)
        save_image(directory / "pairs.png", sheet)
        page.write(directory / "report.html")
        outputs |= {name: sha256_file(directory / name) for name in ("pairs.png", "report.html")}
        # Videos that wait are the workspace's present state, which is looked at anew each time.
        of_these_crops = [asdict(item) for item in dropped if item not in self.waiting]
        write_manifest(directory, self.identity(), self.inputs, outputs, {"facts": facts, "dropped": of_these_crops})
        return self._summary(facts, dropped)

    def _done_before(self, manifest: Mapping[str, Any]) -> Summary:
        """What the manifest tells of the pairs, and which videos are not among them."""
        stored = manifest["summary"]
        status = "already done, nothing to do"
        if self.waiting:
            status = f"already done; new videos wait for {' and '.join(item.change for item in self.waiting)}"
        dropped = [*self.waiting, *(Dropped(**item) for item in stored["dropped"])]
        return self._summary({"status": status, **stored["facts"]}, dropped)

    def _summary(self, facts: Facts, dropped: list[Dropped]) -> Summary:
        names = {"pairs": "pairs.h5", "contact sheet": "pairs.png", "report": "report.html"}
        outputs = {name: self.workspace.mining_dir / file for name, file in names.items()}
        return Summary("mine", facts, dropped, outputs, hint="look at the report, then run 'simhand pretrain'")


def _select(config: MineConfig, crops: CropSet) -> tuple[Selection, list[Dropped]]:
    """The rows that can be mined; at least two videos must have some."""
    selection = select_rows(crops.keypoints_px, crops.valid, crops.confidence, config.min_confidence)
    videos = len(np.unique(crops.video_index[selection.rows]))
    if videos < 2:
        raise InputProblem(
            f"{len(selection.rows)} usable crops of {len(crops.valid)}, from {videos} video(s): similar hands are "
            "looked for in other videos, so at least two are needed; ingest more videos or lower --min-confidence"
        )
    dropped = selection.dropped()
    if crops.left_out:
        dropped.insert(0, Dropped("crops", crops.left_out, "right/left balance", "detect --no-balance"))
    return selection, dropped


def _plan(config: MineConfig, rows: int) -> Facts:
    """What would be done: counts, bytes and time."""
    search = _search_kind(config, rows)
    seconds = rows * _INDEX_SECONDS_PER_ROW
    seconds += rows * (rows * _EXACT_SECONDS_PER_PAIR if search == "exact" else _HNSW_SEARCH_SECONDS_PER_ROW)
    # Embedding, keypoints (21 x 2 x 4 bytes), places and pairs; then the graph.
    size = rows * (4 * config.pca_dim + 168 + 8 + 8 + 12 * config.topk) + rows * (
        4 * config.pca_dim + 16 + 9 * config.hnsw_m
    )
    return {
        "crops": rows,
        "search": search,
        "disk, roughly": format_bytes(size),
        "time, roughly": format_duration(seconds),
    }


def _search_kind(config: MineConfig, rows: int) -> Literal["exact", "hnsw"]:
    if config.search == "auto":
        return "exact" if rows <= EXACT_ROWS else "hnsw"
    return config.search


def _settings(config: MineConfig, rows: int) -> MiningSettings:
    return MiningSettings(
        topk=config.topk,
        dimensions=config.pca_dim,
        search=_search_kind(config, rows),
        index=IndexSettings(config.hnsw_m, config.hnsw_ef_construction, config.hnsw_ef, config.seed),
        recall_rows=config.recall_rows,
        threads=config.threads or usable_cores(),
    )


def _video_names(workspace: Workspace) -> dict[str, str]:
    """Video id -> the name of its file or folder, for captions; with the id's beginning where names repeat."""
    with Catalog(workspace.catalog_path) as catalog:
        names = {
            video.video_id: Path(video.path).stem if video.kind == "video" else Path(video.path).name
            for video in catalog.videos()
        }
    often = Counter(names.values())
    # Cameras name their files alike in every folder.
    return {v: name if often[name] == 1 else f"{name} ({v[:4]})" for v, name in names.items()}


def _facts(settings: MiningSettings, mined: Mined, figures: PairStatistics, videos: int) -> Facts:
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
