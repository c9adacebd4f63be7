"""From prepared encoders and samples to a probe's files: retrieval, linear probe, map and report."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.features.figures import Figure, figure_record, retrieval_figure
from simhand_cli.features.frozen_encoder import encoder_record, freeze
from simhand_cli.features.knn import nearest, random_rows
from simhand_cli.features.retrieval import (
    ALIGNMENTS,
    NEIGHBOURS,
    Poses,
    means_of_nearest,
    oracle_distances,
    pair_distances,
)
from simhand_cli.features.sides import (
    Embedded,
    common_groups,
    common_kind,
    embed_side,
)
from simhand_cli.labelled.sample import choose_samples
from simhand_cli.metrics.bootstrap import Resampling, resampling
from simhand_cli.models.model_choice import resolve_device
from simhand_cli.probes.linear.probe import (
    constant_answers,
    fit_and_predict,
    pose_errors,
)
from simhand_cli.probes.map.feature_map import colourings, map_panel
from simhand_cli.probes.map.tsne import usable_perplexity
from simhand_cli.probes.prepare import PROBE_SCHEMA, PROBE_VERSION, ProbeRun, linear_rows
from simhand_cli.probes.probe_report import build_report
from simhand_cli.probes.retrieval_sheet import retrieval_sheet
from simhand_cli.report.map_plot import map_plot
from simhand_cli.report.sheet import save_image
from simhand_cli.summary import Dropped
from simhand_cli.training.processes.group import memory_problems
from simhand_cli.workspace.atomic import write_bytes, write_json

FILES: Final = ("metrics.json", "report.html", "embedding.png", "retrieval.png")
#: Pairs of poses the oracle compares for each alignment; it takes fewer test samples where the gallery is large.
_ORACLE_PAIRS: Final = 1_000_000
_NEVER_NEIGHBOURS: Final = {
    "person": "samples of one person",
    "recording": "samples of one recording",
    "mixed": "samples of one person, or of one recording where people are not known",
}
_CHANCE_STREAM, _ORACLE_STREAM = 31, 32


def measure(job: ProbeRun, console: Console) -> dict[str, Any]:
    """Embed both sides with every encoder and write metrics, pictures and report.

    Returns:
        ``dropped``: entries of what could not be read.
    """
    test, gallery = _embed(job, console)
    # Whole recordings: their frames resemble each other, and frames drawn singly make intervals too narrow.
    how = resampling(test.sequences, "sequence", job.config.bootstrap, job.config.seed)
    groups = common_groups(test.who, gallery.who)
    rows = [
        nearest(asked, known, *groups, NEIGHBOURS[-1])
        for asked, known in zip(test.features, gallery.features, strict=True)
    ]
    retrieved = [_retrieval_figures(test.poses, gallery.poses, one) for one in rows]
    references, oracle_rows, oracle_samples = _retrieval_references(job, test, gallery, groups)
    linear, floor, facts = _linear_figures(job, test, gallery, groups)
    references["mean pose"] = floor
    by_encoder = [[*a, *b] for a, b in zip(retrieved, linear, strict=True)]
    panels, map_facts = _maps(job, test)
    kind = common_kind(job.test, job.gallery)
    document = {
        "schema": PROBE_SCHEMA,
        "schema_version": PROBE_VERSION,
        "set": job.test.name,
        "gallery": job.gallery.name,
        "test_samples": len(test.poses),
        "gallery_samples": len(gallery.poses),
        "never_neighbours": _NEVER_NEIGHBOURS[kind],
        "never_neighbours_kind": kind,
        "oracle_samples": oracle_samples,
        "linear_probe": facts,
        "map": map_facts,
        "encoders": _encoder_records(job, by_encoder, how),
        "references": {name: [figure_record(f, how) for f in figures] for name, figures in references.items()},
    }
    write_json(job.folder / "metrics.json", document)
    sheet = retrieval_sheet(job.test.labelled, job.gallery.labelled, test, gallery, job.titles, rows, oracle_rows)
    save_image(job.folder / "retrieval.png", sheet)
    write_bytes(job.folder / "embedding.png", panels)
    build_report(document, sheet, panels).write(job.folder / "report.html")
    unreadable = [(job.test, test.unreadable), (job.gallery, gallery.unreadable)]
    dropped = [
        vars(Dropped(f"samples of {side.name}", len(messages), f"cannot be read, first: {messages[0]}"))
        for side, messages in unreadable
        if messages
    ]
    return {"dropped": dropped}


def _embed(job: ProbeRun, console: Console) -> tuple[Embedded, Embedded]:
    config, device = job.config, resolve_device(job.config.device)
    encoders = [freeze(source, device, config.seed, console) for source in job.sources]
    sides = []
    for side in (job.test, job.gallery):
        label = f"embed {side.name}"
        with console.progress(label, len(side.indices), "samples") as ticker, memory_problems():
            sides.append(embed_side(side, encoders, config.input_px, config.batch_size, ticker))
    return sides[0], sides[1]


def _retrieval_figures(queries: Poses, gallery: Poses, rows: NDArray[np.int64]) -> list[Figure]:
    figures = []
    for name in ALIGNMENTS:
        means = means_of_nearest(pair_distances(name, queries, gallery, rows))
        figures += [retrieval_figure(k, name, values) for k, values in means.items()]
    return figures


def _retrieval_references(
    job: ProbeRun, test: Embedded, gallery: Embedded, groups: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[dict[str, list[Figure]], NDArray[np.int64], int]:
    """Chance and oracle, (Q, K) rows of the oracle's poses (-1 for samples it was not asked about), how many it was."""
    # Streams of their own: another number of oracle samples does not change what chance gives.
    rng = np.random.default_rng([job.config.seed, _CHANCE_STREAM])
    chance = _retrieval_figures(test.poses, gallery.poses, random_rows(rng, *groups, NEIGHBOURS[-1]))
    # A smaller exact sample says more than an approximation on all.
    count = min(len(test.poses), max(_ORACLE_PAIRS // len(gallery.poses), 1))
    asked = np.sort(np.random.default_rng([job.config.seed, _ORACLE_STREAM]).permutation(len(test.poses))[:count])
    queries = Poses(test.poses.joints_mm[asked], test.poses.valid[asked])
    oracle, shown = [], np.full((len(test.poses), NEIGHBOURS[-1]), -1, np.int64)
    for name in ALIGNMENTS:
        distances, rows = oracle_distances(name, queries, gallery.poses, groups[0][asked], groups[1], NEIGHBOURS[-1])
        every = np.full((len(test.poses), NEIGHBOURS[-1]), np.nan)
        every[asked] = distances
        oracle += [retrieval_figure(k, name, values) for k, values in means_of_nearest(every).items()]
        # The sheet shows one oracle, that of its captions' alignment.
        if name == ALIGNMENTS[0]:
            shown[asked] = rows
    return {"random retrieval": chance, "oracle": oracle}, shown, count


def _linear_figures(
    job: ProbeRun, test: Embedded, gallery: Embedded, groups: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[list[list[Figure]], list[Figure], dict[str, Any]]:
    """Figures of every encoder, of the floor, and facts of the fits; values are NaN where nothing can be fitted."""
    chosen = linear_rows(job.config, job.gallery, gallery.indices, gallery.poses.valid, groups)
    if isinstance(chosen, str):
        shape = test.poses.valid.shape
        nothing = [Figure("linear", name, np.full(shape, np.nan), np.zeros(shape, bool)) for name in ALIGNMENTS]
        facts = {"not_done": chosen, "training_samples": 0, "penalty_chosen_on": None}
        return [nothing] * len(job.titles), nothing, {**facts, "penalty": {}, "validation_mm": {}}
    whole = chosen.rows
    joints_mm = gallery.poses.joints_mm[whole]
    probes = [
        fit_and_predict(known[whole], joints_mm, chosen.held_out, asked)
        for known, asked in zip(gallery.features, test.features, strict=True)
    ]
    constant = constant_answers(joints_mm, len(test.poses))
    floor = [Figure("linear", name, *pose_errors(name, constant[name], test.poses)) for name in ALIGNMENTS]
    figures = [
        [Figure("linear", name, *pose_errors(name, probe.predicted, test.poses)) for name in ALIGNMENTS]
        for probe in probes
    ]
    facts = {
        "not_done": None,
        "training_samples": len(whole),
        "penalty_chosen_on": chosen.described,
        "penalty": {title: probe.penalty for title, probe in zip(job.titles, probes, strict=True)},
        "validation_mm": {
            title: {f"{penalty:.3g}": error for penalty, error in probe.validation_mm.items()}
            for title, probe in zip(job.titles, probes, strict=True)
        },
    }
    return figures, floor, facts


def _encoder_records(job: ProbeRun, figures: Sequence[list[Figure]], how: Resampling) -> list[dict[str, Any]]:
    """Every encoder's figures, and for all but the first their paired differences to the first."""
    first = {figure.key: figure for figure in figures[0]}
    records = []
    for number, (source, title, own) in enumerate(zip(job.sources, job.titles, figures, strict=True)):
        record = {"name": title, **encoder_record(source), "figures": [figure_record(f, how) for f in own]}
        if number:
            # Under the same draws as the figures themselves.
            record["minus_first"] = [figure_record(f.minus(first[f.key]), how) for f in own]
        records.append(record)
    return records


def _maps(job: ProbeRun, test: Embedded) -> tuple[bytes, dict[str, Any]]:
    """The picture of all maps, and facts."""
    # The same hands in every encoder's map, or the maps could not be compared.
    rows = choose_samples(np.arange(len(test.poses)), job.config.plotted, job.config.seed)
    poses = Poses(test.poses.joints_mm[rows], test.poses.valid[rows])
    panels = [
        map_panel(title, features[rows], job.test.labelled, test.indices[rows], job.config.perplexity)
        for title, features in zip(job.titles, test.features, strict=True)
    ]
    facts = {"points": len(rows), "perplexity": usable_perplexity(job.config.perplexity, len(rows))}
    return map_plot(panels, colourings(poses, [test.subjects[i] for i in rows])), facts
