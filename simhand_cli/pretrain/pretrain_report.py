"""The figures of a pre-training run, and its report: one page with curves, weights, probes and options."""

from pathlib import Path
from statistics import harmonic_mean
from typing import Any, Final

import numpy as np

from simhand_cli.pretrain.plan import Plan
from simhand_cli.pretrain.run_notes import told_recipe, told_weights
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.report.heat_plot import heat_plot
from simhand_cli.report.page import Page
from simhand_cli.report.plots import line_plot
from simhand_cli.workspace.atomic import write_bytes

PAIRS_FILE = "pairs.png"
#: The final figures are means over the last so many lines of metrics, at most.
_LAST_LINES = 20
#: From so many lines on, the first step's, which warms up, does not count for the speed.
_WARM = 3
#: A probe's figure -> what its curve is called.
_PROBED: Final = {"": "nearest by features", "_chance": "random", "_best": "best possible"}

Metrics = list[dict[str, Any]]


def last_figures(metrics: Metrics) -> dict[str, float | None]:
    """Means over the last tenth of the log, at most twenty lines; speed over all of it; figures of the last probe."""
    # Probes have lines of their own.
    steps = [line for line in metrics if "loss" in line]
    last = steps[-min(_LAST_LINES, max(1, len(steps) // 10)) :]
    figures: dict[str, float | None] = {}
    for name in ("loss", "top1", "positive_similarity", "negative_similarity"):
        values = [line[name] for line in last if isinstance(line.get(name), float)]
        figures[name] = sum(values) / len(values) if values else None
    speeds = [line["views_per_s"] for line in steps if line.get("views_per_s")]
    # Harmonic: lines stand for as many views each, so that their times add up, not their speeds.
    figures["views_per_s"] = harmonic_mean(speeds[len(speeds) >= _WARM :]) if speeds else None
    for kind in ("probe_distance", "probe_mm"):
        probed = [line for line in metrics if kind in line]
        figures |= {kind + end: probed[-1][kind + end] for end in _PROBED if probed}
    return figures


def probe_facts(result: dict[str, Any]) -> dict[str, str]:
    """The last probe in words, for people; nothing where there was none."""
    facts = {}
    for kind, of, unit in (("probe_distance", "crops", "of the hand's spread"), ("probe_mm", "labelled hands", "mm")):
        if isinstance(result.get(kind), float):
            near, chance, best = (result[kind + end] for end in _PROBED)
            facts[f"nearest pose among {of}"] = f"{near:.3g} {unit} (chance {chance:.3g}, best possible {best:.3g})"
    return facts


def write_report(
    run_dir: Path, settings: PretrainSettings, plan: Plan, metrics: Metrics, result: dict[str, Any]
) -> None:
    """Write loss.png and report.html."""
    curve = line_plot(_curves(metrics, "loss"), title="Contrastive loss", x_label="epoch", y_label="loss")
    write_bytes(run_dir / "loss.png", curve)
    page = Page(
        f"Pre-training: {settings.method}",
        f"Run {run_dir.name}: recipe {told_recipe(settings)}; weights {told_weights(settings)}; {settings.backbone}, "
        f"{plan.pairs:,} pairs, {plan.total_steps:,} steps of {plan.batch_size} pairs.",
    )
    page.heading("Result")
    page.facts(
        {
            "initial weights": result["init"],
            "precision": result["precision"],
            **_dropped(result, settings.method),
            "final loss": result["loss"],
            "positive is nearest (top-1)": result["top1"],
            "the same by chance": result["top1_chance"],
            "similarity of positives": result["positive_similarity"],
            "similarity of negatives": result["negative_similarity"],
            **probe_facts(result),
            "views per second": result["views_per_s"],
        }
    )
    page.picture(curve, "Loss over the epochs.")
    _add_probes(page, metrics)
    _add_features(page, metrics)
    _add_weights(page, metrics)
    if (run_dir / PAIRS_FILE).is_file():
        page.heading("What the model sees")
        page.picture((run_dir / PAIRS_FILE).read_bytes(), "Stored crops and their augmented views, joints drawn.")
    _add_options(page, settings)
    page.write(run_dir / "report.html")


def _dropped(result: dict[str, Any], method: str) -> dict[str, int]:
    """Crops that were not learned from, by reason."""
    why = "found no more a moment later" if method == "tempclr" else "without a positive in another video"
    counts = {f"crops {why}": result["crops_without_positive"], "crops beyond the limit": result["crops_beyond_limit"]}
    return {reason: count for reason, count in counts.items() if count}


def _add_probes(page: Page, metrics: Metrics) -> None:
    probes = (
        (
            "probe_distance",
            "Joint distance, in spreads of the hand",
            "Mean 2D joint distance between a crop's pose and that of the crop of another video whose features are "
            "nearest, from joints found without labels. These are crops that the model learns from.",
        ),
        (
            "probe_mm",
            "Mean joint distance (mm)",
            "The same among labelled hands, in 3D, wrist and bone length aligned: test hands and their neighbours "
            "among training hands, never of one person.",
        ),
    )
    shown = [(_probe_curves(metrics, kind), label, caption) for kind, label, caption in probes]
    if any(curves for curves, _, _ in shown):
        page.heading("Poses of nearest neighbours")
    for curves, label, caption in shown:
        if curves:
            page.picture(line_plot(curves, title="k-NN pose retrieval", x_label="epoch", y_label=label), caption)


def _probe_curves(metrics: Metrics, kind: str) -> dict[str, tuple[list[float], list[float]]]:
    return {name: points for end, name in _PROBED.items() if (points := _points(metrics, kind + end))[0]}


def _add_features(page: Page, metrics: Metrics) -> None:
    page.heading("Features while training")
    similarities = _curves(metrics, "positive_similarity", "negative_similarity")
    if similarities:
        page.picture(
            line_plot(similarities, title="Similarity of pairs", x_label="epoch", y_label="mean cosine"),
            "Positives should be more alike than negatives, and the gap should grow.",
        )
    spread = _curves(metrics, "alignment", "uniformity")
    if spread:
        page.picture(
            line_plot(spread, title="Alignment and uniformity", x_label="epoch", y_label="smaller is better"),
            "Alignment: mean squared distance of positives. Uniformity: log of the mean Gaussian potential.",
        )


def _add_weights(page: Page, metrics: Metrics) -> None:
    panels = {}
    for name in ("positive", "negative"):
        lines = [line for line in metrics if f"{name}_weight_histogram" in line]
        if lines:
            shares = np.array([line[f"{name}_weight_histogram"] for line in lines])
            panels[f"Weights of {name} pairs"] = ([line["epoch"] for line in lines], shares)
    if panels:
        page.heading("Adaptive weights")
        page.picture(
            heat_plot(panels, x_label="epoch", y_label="weight"),
            "How the weights of a batch's pairs are spread over [0, 1]; the negatives are those of its first rows.",
        )


def _add_options(page: Page, settings: PretrainSettings) -> None:
    page.heading("Options")
    rows = [(name, str(value)) for name, value in _flat(settings.model_dump(mode="json"))]
    page.table(("option", "value"), rows, "As method and recipe fill them.")


def _points(metrics: Metrics, name: str) -> tuple[list[float], list[float]]:
    lines = [line for line in metrics if isinstance(line.get(name), float)]
    return [line["epoch"] for line in lines], [line[name] for line in lines]


def _curves(metrics: Metrics, *names: str) -> dict[str, tuple[list[float], list[float]]]:
    return {name.replace("_", " "): points for name in names if (points := _points(metrics, name))[0]}


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat
