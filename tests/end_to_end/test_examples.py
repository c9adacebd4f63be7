"""Every example of every --help, run as typed in a prepared folder; only its amount of work is cut down."""

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simhand_cli.cli import COMMANDS

#: Appended to examples that would train or render for long; none changes what the example shows.
CHEAPER = {
    "synth": "--set count=8 --set image_px=64 --set subjects=3",
    "synth --format videos": "--set count=2 --set frames=4",
    "synth --count 960": "--set count=32 --set image_px=64 --set subjects=3",
    "pretrain": "--set backbone=test_resnet --set max_steps=2 --set batch_size=16 --set workers=0",
    "finetune": "--set epochs=1 --set batch_size=8 --set width=16 --set workers=0",
    "evaluate": "--set limit=4 --set bootstrap=10",
    "evaluate --data FreiHAND_pub_v2 --leaderboard": "--set bootstrap=10",
    "embed": "--set backbone=test_resnet",
    "probe": "--set backbone=test_resnet --set bootstrap=10",
    "demo": "--set max_frames=4",
    "quickstart": "--set people=6 --set frames=8 --set labelled=60 --set backbone=test_resnet --set epochs=1 "
    "--set finetune_epochs=1",
}
#: Examples that need what a test machine has not: they must say so in one line and end with 4.
NEEDS_HARDWARE = ("webcam", "demo 1 ", "--gpus 8")

EXAMPLES = [
    (name, example) for name in COMMANDS for example in importlib.import_module(f"simhand_cli.commands.{name}").EXAMPLES
]


def _cheaper(name: str, example: str) -> str:
    """What makes an example fast: by its beginning where that is listed, else by its command."""
    begins = [key for key in CHEAPER if " " in key and example.removeprefix("simhand ").startswith(key)]
    return CHEAPER[begins[0]] if begins else CHEAPER.get(name, "")


def _run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "SIMHAND_WORKSPACE")}
    return subprocess.run(
        [sys.executable, "-m", "simhand_cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=550,
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, hand_clips: list[Path]) -> dict[str, Path]:
    """Command -> a folder in which all commands before it have been run, and the examples' files lie."""
    import av
    import cv2
    import timm
    import torch

    here = tmp_path_factory.mktemp("examples") / "here"
    videos = here / "videos"
    videos.mkdir(parents=True)
    for clip, name in zip(hand_clips, ("one.mp4", "two.MOV", "three.mkv", "four.mkv"), strict=True):
        shutil.copy(clip, videos / name)
    shutil.copy(videos / "one.mp4", here / "clip.mp4")
    with av.open(str(here / "clip.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    cv2.imwrite(str(here / "photo.jpg"), picture)
    torch.save(timm.create_model("test_resnet", num_classes=10).state_dict(), here / "resnet50-imagenet.pth")
    before = {
        "ingest": "ingest videos/ --fps 3",
        "detect": "detect",
        "keypoints": "keypoints",
        "mine": "mine",
        "synth": f"synth {CHEAPER['synth']} --set count=24",
        "pretrain": f"pretrain --gpus 0 {CHEAPER['pretrain']}",
        "finetune": f"finetune --gpus 0 {CHEAPER['finetune']}",
        "floor": f"evaluate --model mean-pose --name mean-pose {CHEAPER.get('evaluate', '')}",
    }
    prepared: dict[str, Path] = {}
    for stage, line in before.items():
        prepared[stage] = here.with_name(f"before-{stage}")
        shutil.copytree(here, prepared[stage], symlinks=True)
        done = _run(shlex.split(line), here)
        assert done.returncode == 0, (line, done.stderr)
    freihand = _run(
        shlex.split("synth --format freihand --out FreiHAND_pub_v2 --count 8 --subjects 4 --image-px 64"), here
    )
    assert freihand.returncode == 0, freihand.stderr
    prepared["finetune"].joinpath("FreiHAND_pub_v2").symlink_to(here / "FreiHAND_pub_v2")
    return prepared | {"last": here}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_example_runs(name: str, example: str, stages: dict[str, Path], tmp_path: Path) -> None:
    source = stages.get(name, stages["last"])
    here = tmp_path / "here"
    shutil.copytree(source, here, symlinks=True)
    words = shlex.split(f"{example} {_cheaper(name, example)}")
    done = _run(words[1:], here)
    if any(need in f"{example} " for need in NEEDS_HARDWARE):
        assert done.returncode == 4, done.stderr
        assert "Traceback" not in done.stderr
        return
    assert done.returncode in (0, 5), done.stderr
    assert done.stdout.strip()
    if "--json" in words:
        import json

        assert json.loads(done.stdout)["command"] == name
