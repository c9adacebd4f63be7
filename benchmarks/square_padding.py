"""Does padding a frame to a square before MediaPipe make its landmarks better?

Real hands with 2D truth (a folder in the hand_graph_cnn layout: labels.npz and images/) are put into 16:9 frames at
random places; the landmarker sees the frame as it is, and padded to a square. Detection rate and 2D error of both, on
the frames where both find the hand.

    python benchmarks/square_padding.py ../shared/data/labelled3d/hand_graph_cnn_real
"""

import argparse
import platform
from pathlib import Path

import numpy as np

from simhand_cli.hands.mediapipe_landmarker import HandLandmarkerAdapter
from simhand_cli.labelled.open import open_labelled
from simhand_cli.workspace.atomic import write_json

FRAME_WH = (1280, 720)


def main() -> None:
    """Measure and write benchmarks/results/square_padding.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "square_padding.json")
    arguments = parser.parse_args()
    samples = open_labelled(arguments.data, "test")
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"as it is": [], "padded to a square": []}
    border = (FRAME_WH[0] - FRAME_WH[1]) // 2
    with HandLandmarkerAdapter(max_hands=1) as adapter:
        for index in range(len(samples)):
            sample = samples[index]
            height, width = sample.image_rgb.shape[:2]
            frame = np.full((FRAME_WH[1], FRAME_WH[0], 3), 128, np.uint8)
            x = int(rng.integers(0, FRAME_WH[0] - width + 1))
            y = int(rng.integers(0, FRAME_WH[1] - height + 1))
            frame[y : y + height, x : x + width] = sample.image_rgb
            truth = sample.joints_px + np.array([x, y])
            size_px = np.ptp(truth, axis=0).max()
            square = np.pad(frame, ((border, border), (0, 0), (0, 0)))
            for name, picture, shift in (("as it is", frame, 0), ("padded to a square", square, border)):
                hands = adapter.detect(picture)
                offset = truth + np.array([0, shift])
                error = np.linalg.norm(hands[0].landmarks_px - offset, axis=1).mean() / size_px if hands else np.nan
                errors[name].append(float(error))
    table = np.array(list(errors.values()))
    both = np.isfinite(table).all(axis=0)
    result = {
        "machine": f"{platform.machine()}, {platform.python_version()}",
        "frames": len(samples),
        "frame_wh": FRAME_WH,
        "frames where both find the hand": int(both.sum()),
        **{
            name: {
                "share of frames with a hand": float(np.isfinite(row).mean()),
                "mean 2D error / hand size": float(row[both].mean()),
                "median 2D error / hand size": float(np.median(row[both])),
            }
            for name, row in zip(errors, table, strict=True)
        },
        "share of frames where padding is better": float((table[1] < table[0])[both].mean()),
    }
    write_json(arguments.out, result)
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
