"""The report of an evaluation: one HTML page that says what its numbers mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.evaluation.score.records import set_table, table_2d
from simhand_cli.evaluation.score.score import CURVE_MM, SetScore, finger_means
from simhand_cli.metrics.alignment import AlignmentName
from simhand_cli.metrics.bootstrap import Resampling
from simhand_cli.metrics.joint_errors import ROW_TITLES
from simhand_cli.report.page import Page
from simhand_cli.report.plots import line_plot
from simhand_cli.skeleton import JOINT_NAMES


@dataclass(frozen=True)
class SetPictures:
    """Pictures of one set: the sheet of samples, and (caption, picture) of hands in 3D."""

    sheet: NDArray[np.uint8]
    hands_3d: Sequence[tuple[str, NDArray[np.uint8]]]


_MEANING = """\
Errors are distances between predicted and true joints in millimetres, averaged over 21 joints (the wrist included,
although a root alignment makes its error zero). They depend on what is forgiven first, so a figure without its
alignment cannot be compared with anything. "absolute" forgives nothing: the hand's place before the camera is solved
from the predicted 2D joints and K. "root" moves the root joint onto the true one; the size of the hand is the model's.
"root + bone scale" also takes the true length of the reference bone of every test hand: SiMHand's published numbers
were very likely taken so. "Procrustes" rotates, too, and so hides a wrong orientation of the hand.

PCK is the share of joints within a distance; AUC is the area under that curve: 20-50 mm with 15 steps (SiMHand's
tables) or 0-50 mm with 100 steps (FreiHAND, DexYCB). A hand the model did not find counts as a miss in PCK and AUC,
and is left out of means and medians.

The 95 % intervals are bootstrap intervals: they say how much the figure depends on which samples happened to be in the
set, not how well the model does elsewhere."""


def build_report(
    model: Mapping[str, Any],
    scores: Sequence[SetScore],
    resamplings: Sequence[Resampling],
    pictures: Sequence[SetPictures],
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Page:
    """Compose the page.

    Args:
        model: facts of the evaluated model.
        scores: one a set.
        resamplings: what each set's bootstrap drew.
        pictures: of each set.
        notes: on the choice of sets, by title.
    """
    page = Page("Evaluation", f"Model: {model.get('path', model['kind'])} ({model['kind']})")
    page.facts({key.replace("_", " "): value for key, value in model.items() if key not in ("path", "sha256")})
    for title, text in notes.items():
        page.text(f"{title}: {text}.")
    for score, how, shown in zip(scores, resamplings, pictures, strict=True):
        _add_set(page, score, how, shown)
    # Where later comparisons are put in, without the page being made anew.
    page.slot()
    page.heading("What these numbers mean")
    page.text(_MEANING)
    return page


def _add_set(page: Page, score: SetScore, how: Resampling, shown: SetPictures) -> None:
    page.heading(score.label)
    assert score.pixels is not None
    assert score.box is not None
    page.facts(
        {
            "samples": score.samples,
            "hands found": f"{score.found} ({100 * score.found / max(score.samples, 1):.1f} %)",
            "2D error, px of the image": score.pixels.mean,
            "2D AUC 0-30 px": next(iter(score.pixels.areas.values())),
            "2D error, % of the hand's extent": 100 * score.box.mean,
        }
    )
    if score.in_3d:
        _add_3d_tables(page, score, how)
    else:
        header, rows = table_2d(score)
        page.table(header, rows, caption=f"2D error; labels or predictions are 2D only. Intervals: {how.drawn}.")
    if how.caution:
        page.text(f"Mind the {how.caution}.")
    page.picture(shown.sheet, caption="Best, median and worst samples; left hands are shown mirrored.")
    for caption, picture in shown.hands_3d:
        page.picture(picture, caption=f"3D, {caption}")
    if score.in_3d:
        _add_joint_tables(page, score)


def _add_3d_tables(page: Page, score: SetScore, how: Resampling) -> None:
    header, rows = set_table(score)
    page.table(header, rows, caption=f"3D error after each alignment. Intervals: {how.drawn}.")
    curves = {
        ROW_TITLES[name]: (CURVE_MM.tolist(), (100 * one.curve).tolist()) for name, one in score.by_alignment.items()
    }
    page.picture(
        line_plot(curves, title=f"PCK on {score.label}", x_label="threshold, mm", y_label="joints within it, %"),
        caption="Share of joints whose error is at most the threshold, mean over joints.",
    )


def _add_joint_tables(page: Page, score: SetScore) -> None:
    # Absolute errors are nearly the same for all joints of a misplaced hand and say nothing of fingers.
    names: tuple[AlignmentName, ...] = ("root", "root_bone_scale", "procrustes_scale")
    columns = [score.by_alignment[name] for name in names]
    header = ["mean error, mm", *(ROW_TITLES[name] for name in names)]
    fingers = [finger_means(one.per_joint) for one in columns]
    page.table(header, [[f, *(_mm(values[f]) for values in fingers)] for f in fingers[0]], caption="By finger.")
    joints = [
        [joint.replace("_", " "), *(_mm(float(one.per_joint[j])) for one in columns)]
        for j, joint in enumerate(JOINT_NAMES)
    ]
    page.table(header, joints, caption="By joint.")


def _mm(value: float) -> float | None:
    return round(value, 1) if np.isfinite(value) else None
