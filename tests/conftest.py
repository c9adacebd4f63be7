"""Fixtures shared by all tests: where the real data lies, small videos, and running the command line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# No deadlines: on a busy machine an example may take many times as long. In CI the same examples every time, so that a
# failure is the change's; elsewhere new ones.
settings.register_profile("simhand", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("simhand")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real hand videos, images and labels; tests that need it skip without it."""
    if not (SHARED_DATA / "manifest.csv").is_file():
        pytest.skip(f"the real hand data is not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def hand_clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four short videos with hands: real ones where they are at hand, else synthetic ones; nothing is skipped."""
    if (SHARED_DATA / "manifest.csv").is_file():
        names = ("subhi/session_25.mp4", "subhi/session_46.mp4", "subhi/session_16.mp4", "intel_asl/S1_help.mkv")
        return [SHARED_DATA / "videos" / name for name in names]
    from simhand_cli.commands.synth import synth
    from simhand_cli.synth.config import SynthConfig

    folder = tmp_path_factory.mktemp("clips")
    synth(SynthConfig(out=folder, format="videos", count=4, frames=12, fps=4.0, seed=3))
    return sorted(folder.glob("*.mp4"))


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and on a busy machine threads that wait for each other cost minutes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, as a user would."""

    def run(*words: object, cwd: Path | None = None, timeout: float = 300, **environment: str):
        return subprocess.run(
            [sys.executable, "-m", "simhand_cli", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def people_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people to train on and two to test on."""
    from small_people import write_people

    return write_people(tmp_path_factory.mktemp("people") / "own", {"train": list("abcd"), "test": list("xy")})


def write_video(
    path: Path,
    frames: int = 20,
    fps: float = 10,
    size: tuple[int, int] = (64, 48),
    codec: str = "mpeg4",
    seed: int = 0,
) -> Path:
    """A small video whose frame k is grey level 10 k (mod 250) with a noisy corner, width x height ``size``."""
    from fractions import Fraction

    import av

    noise = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            image = np.full((size[1], size[0], 3), index * 10 % 250, np.uint8)
            image[:16, :16] = noise
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
