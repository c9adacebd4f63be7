"""From a folder of videos to an encoder of hands: python examples/own_videos.py videos/ --workspace my-hands."""

import argparse
from pathlib import Path

from simhand_cli.commands.detect import detect
from simhand_cli.commands.ingest import ingest
from simhand_cli.commands.keypoints import keypoints
from simhand_cli.commands.mine import mine
from simhand_cli.commands.pretrain import pretrain
from simhand_cli.console import Console
from simhand_cli.errors import SimhandError
from simhand_cli.hands.config import DetectConfig, KeypointsConfig
from simhand_cli.mining.config import MineConfig
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.summary import Summary
from simhand_cli.video.config import IngestConfig


def learn_from(videos: list[Path], workspace: Path, *, fps: float, backbone: str, max_steps: int | None) -> Path:
    """Run all steps on some videos.

    Returns:
        the encoder's file.
    """
    console = Console()
    told(ingest(IngestConfig(workspace=workspace, paths=videos, fps=fps), console))
    told(detect(DetectConfig(workspace=workspace), console))
    told(keypoints(KeypointsConfig(workspace=workspace), console))
    told(mine(MineConfig(workspace=workspace, topk=1), console))
    # An encoder that has seen ImageNet learns hands much faster: init="path/of/its/weights.pth".
    config = PretrainConfig(workspace=workspace, backbone=backbone, max_steps=max_steps, batch_size=32)
    return told(pretrain(config, console)).outputs["encoder"]


def told(summary: Summary) -> Summary:
    """Print what a step found and what it left out, and pass it on."""
    for what, value in summary.facts.items():
        print(f"{summary.command}: {what}: {value}")
    for left_out in summary.dropped:
        print(f"{summary.command}: {left_out.count} {left_out.what} left out: {left_out.why}")
    return summary


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+", help="videos, or folders of videos or of pictures")
    parser.add_argument("--workspace", type=Path, default=Path("my-hands"))
    parser.add_argument("--fps", type=float, default=1.0, help="pictures a second of video")
    parser.add_argument("--backbone", default="resnet18", help="any model of timm")
    parser.add_argument("--max-steps", type=int, help="end after so many steps, to try it out")
    given = parser.parse_args()
    try:
        encoder = learn_from(
            given.videos, given.workspace, fps=given.fps, backbone=given.backbone, max_steps=given.max_steps
        )
    except SimhandError as problem:  # one line that says what to change
        raise SystemExit(f"{problem}") from problem
    print(f"the encoder is {encoder}")


# Steps start processes that import this file again: they must not run it.
if __name__ == "__main__":
    main()
