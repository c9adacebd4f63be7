"""How fast `simhand synth` makes labelled pictures, against a bare rasteriser, and how it scales with processes.

Usage: python benchmarks/synth_speed.py [--scale 1.0] [--rounds 3]

The whole command is timed as a user runs it (start of Python, loading of the compiled renderer, people's skins, JPEG,
masks, HDF5, card and contact sheet included) with one process and with as many as there are cores, in turn. As many
separate commands at once, each with its share of the pictures, show what the machine itself gives. The bare
rasteriser draws one posed hand's triangles, unlit, again and again: a ceiling for any renderer of this mesh on a core.
Writes benchmarks/results/synth_speed.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import processor

#: Name -> pictures of a run, side in pixels, further options.
RUNS = {
    "128 px": (4096, 128, []),
    "256 px": (2048, 256, []),
    "256 px, a ring of 8 cameras": (1024, 256, ["--cameras", "8"]),
}


def timed_command(count: int, image_px: int, workers: int, options: list[str]) -> tuple[float, float]:
    """Seconds of one run of the command into a new folder, and the largest process's memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "simhand_cli", "synth", "--count", str(count), "--image-px", str(image_px)]
        command += ["--workers", str(workers), "--out", f"{folder}/set", "--subjects", "64", *options]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def side_by_side(count: int, image_px: int, commands: int, options: list[str]) -> float:
    """Seconds until so many separate commands of one process each have made their shares of ``count`` pictures."""
    start = time.perf_counter()
    with ThreadPoolExecutor(commands) as pool:
        for _ in range(commands):
            pool.submit(timed_command, count // commands, image_px, 1, options)
    return time.perf_counter() - start


def bare_rasteriser(image_px: int, seconds: float = 3.0) -> float:
    """Pictures a second of projecting and rasterising one refined hand, at two samples per pixel side."""
    from simhand_cli.synth.hand.hand_model import hand_model
    from simhand_cli.synth.render.raster import rasterise

    model = hand_model()
    position = (model.refine(model.base_mm) @ np.diag([1.0, -1.0, -1.0]) + [0.0, 60.0, 500.0]).astype(np.float32)
    size = 2 * image_px
    pixels = (position[:, :2] / position[:, 2:] * size * 2 + size / 2).astype(np.float32)
    made, start = 0, 0.0
    while made < 5 or time.perf_counter() - start < seconds:
        if made == 4:
            start = time.perf_counter()
        inverse, owner = np.zeros((size, size), np.float32), np.full((size, size), -1, np.int32)
        rasterise(pixels, position[:, 2].copy(), model.fine_triangles, 60.0, inverse, owner)
        made += 1
    return (made - 4) / (time.perf_counter() - start)


def main() -> None:
    """Time everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="make so much more or less")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    timed_command(16, 128, 1, [])  # compiles
    results = {}
    for name, (full, image_px, options) in RUNS.items():
        count = max(round(full * given.scale) // 128, 1) * 128
        alone, all_cores, separate, memory = [], [], [], 0.0
        for _ in range(given.rounds):
            for workers, seconds in ((1, alone), (cores, all_cores)):
                took, peak = timed_command(count, image_px, workers, options)
                seconds.append(took)
                memory = max(memory, peak)
            separate.append(side_by_side(count, image_px, cores, options))
        one, many = (count / statistics.median(seconds) for seconds in (alone, all_cores))
        bare = bare_rasteriser(image_px)
        results[name] = {
            "pictures of a run": count,
            "pictures a second, one process": round(one, 1),
            f"pictures a second, {cores} processes": round(many, 1),
            "scaling, share of perfect": round(many / one / cores, 3),
            "scaling of separate commands": round(count / statistics.median(separate) / one / cores, 3),
            "bare rasteriser, pictures a second on one core": round(bare, 1),
            "share of the bare rasteriser": round(one / bare, 3),
            "seconds for 10,000 pictures, all cores": round(10_000 / many, 1),
            "largest process so far, MB": round(memory),
            "seconds, one process": [round(s, 2) for s in alone],
            f"seconds, {cores} processes": [round(s, 2) for s in all_cores],
            f"seconds, {cores} separate commands": [round(s, 2) for s in separate],
        }
        print(name, json.dumps(results[name], indent=1), flush=True)
    machine = {"cores": cores, "processor": processor(), "python": sys.version.split()[0]}
    document = {"machine": machine, "rounds": given.rounds, "results": results}
    out = Path(__file__).parent / "results" / "synth_speed.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
