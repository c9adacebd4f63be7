"""The quick start's report: what every step saw and learned, on one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.commands.quickstart.plan import Step
from simhand_cli.console import format_duration
from simhand_cli.crops.crop_set import load_crop_set, read_crops
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.page import Page
from simhand_cli.report.sheet import Tile, contact_sheet
from simhand_cli.video.decode import iterate_frames
from simhand_cli.workspace.paths import Workspace

_ALIGNMENTS = {
    "root": "wrist moved onto the truth",
    "root_bone_scale": "wrist and hand size from the truth (the papers' MPJPE)",
    "procrustes_scale": "best rotation, shift and size (PA-MPJPE)",
}


def write_report(root: Path, steps: Sequence[tuple[Step, float]], took_s: float, path: Path) -> None:
    """Write the page; every picture and figure is read from the workspace.

    Args:
        root: the quick start's workspace.
        steps: each step and the seconds it took.
        took_s: seconds of all steps together.
        path: of the HTML file.
    """
    workspace = Workspace(root)
    page = Page(
        "simhand quick start",
        "From videos without labels to a 3D hand model, on synthetic people, in a few minutes. The point is to see "
        "every step work; so little data and training make a weak model.",
    )
    page.heading("1. Hands found in the videos")
    page.picture(_crop_sheet(workspace), "Crops with their 21 estimated joints. Left hands are mirrored to right ones.")
    page.heading("2. Similar hands from other videos")
    page.text(
        "Each row is a hand and its nearest neighbours by pose, always from another person's video. Top-1 is the "
        "positive pair that pre-training learns from."
    )
    page.picture((workspace.mining_dir / "pairs.png").read_bytes(), "Mined pairs; the further right, the less similar.")
    page.heading("3. Pre-training")
    pretrain, finetune = workspace.run_dir("pretrain", "quickstart"), workspace.run_dir("finetune", "quickstart")
    page.picture((pretrain / "pairs.png").read_bytes(), "What the encoder sees: augmented pairs with their joints.")
    page.picture((pretrain / "loss.png").read_bytes(), "Contrastive loss by epoch.")
    page.heading("4. Fine-tuning")
    page.picture(
        (finetune / "curves.png").read_bytes(), "Training and validation; validation people are not trained on."
    )
    page.heading("5. How good is it?")
    _add_table(page, workspace)
    page.picture(
        (workspace.run_dir("evaluate", "model") / "sheet.png").read_bytes(),
        "Best, median and worst test samples: truth and prediction.",
    )
    page.heading("6. On the video of a person no step has seen")
    page.picture(_film_strip(root / "demo.mp4"), f"Frames of {root / 'demo.mp4'}.")
    page.heading("What was run")
    page.table(
        ["step", "command", "time"],
        [[step.title, step.command_line, format_duration(seconds)] for step, seconds in steps],
        f"All together {format_duration(took_s)}, interrupted attempts included.",
    )
    page.text(
        "Now with your own videos: simhand ingest VIDEOS/, simhand detect, simhand keypoints, simhand mine, simhand "
        "pretrain, then simhand finetune --data YOUR_LABELLED_SET (or simhand synth first, for labels)."
    )
    page.write(path)


def _crop_sheet(workspace: Workspace, people: int = 8, each: int = 4) -> NDArray[np.uint8]:
    """A few crops of a few videos, spread over each video's length."""
    crops = load_crop_set(workspace)
    rows = []
    for video, video_id in enumerate(crops.video_ids[:people]):
        members = np.flatnonzero((crops.video_index == video) & crops.valid)
        chosen = members[np.linspace(0, len(members) - 1, min(each, len(members))).round().astype(int)]
        pictures = read_crops(workspace, video_id, crops.crop_index[chosen].tolist())
        rows.append(
            [
                Tile(draw_skeleton(picture, crops.keypoints_px[row]), "right" if crops.handedness[row] else "left")
                for picture, row in zip(pictures, chosen, strict=True)
            ]
        )
    half = (len(rows) + 1) // 2
    paired = [left + right for left, right in zip(rows[:half], [*rows[half:], []], strict=False)]
    return contact_sheet(paired)


def _add_table(page: Page, workspace: Workspace) -> None:
    rows: list[list[Any]] = []
    samples = 0
    for title, name in (
        ("this model", "model"),
        ("always the mean pose", "mean-pose"),
        ("always the mean shape", "mean-shape"),
        ("MediaPipe's world landmarks", "mediapipe"),
    ):
        record = json.loads((workspace.run_dir("evaluate", name) / "metrics.json").read_text())["sets"][0]
        samples = record["samples"]
        by_alignment = {f["alignment"]: f["value"] for f in record["figures"] if f["metric"] == "mpjpe"}
        found = record["hands_found"] / max(samples, 1)
        rows.append([title, *(by_alignment.get(a) for a in _ALIGNMENTS), f"{found:.0%}"])
    page.table(
        ["model", *_ALIGNMENTS.values(), "hands found"],
        rows,
        f"Mean error per joint (MPJPE) in mm over {samples} test hands of people not trained on; lower is better. "
        "A model that has learned something beats the mean pose where rotation counts, and the mean shape after "
        "Procrustes alignment. Errors of MediaPipe are over the hands it finds; it places joints a little differently.",
    )


def _film_strip(film: Path, columns: int = 4, rows: int = 2) -> NDArray[np.uint8]:
    frames = [frame.image_rgb for frame in iterate_frames(film)]
    chosen = np.linspace(0, len(frames) - 1, columns * rows).round().astype(int)
    tiles = [Tile(frames[i], f"frame {i}") for i in chosen]
    return contact_sheet([tiles[r * columns : (r + 1) * columns] for r in range(rows)], tile_px=240)
