"""Which encoder a fine-tuning run starts from."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.models.encoder import Encoder, LoadReport, build_encoder, load_encoder_weights
from simhand_cli.models.encoder_weights import read_weights
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.paths import BACKBONE_FILE, Workspace

#: The paper's encoder, where neither the user nor the weight file names one.
DEFAULT_BACKBONE = "resnet50"
#: Names of the encoder with random weights.
UNTRAINED = ("none", "random")
_WORDS: Final = (*UNTRAINED, "latest", "imagenet")


@dataclass(frozen=True)
class EncoderSource:
    """Where the encoder comes from.

    Attributes:
        backbone: timm name.
        weights: file of weights, None for random ones.
        sha256: of that file, empty without one.
        described: for people.
        run_name: what a fine-tuning run from it is called, unless the user names it.
    """

    backbone: str
    weights: Path | None
    sha256: str
    described: str
    run_name: str

    def build(self) -> tuple[Encoder, LoadReport | None]:
        """The encoder with its weights, and what of the file was used."""
        encoder = build_encoder(self.backbone)
        return encoder, None if self.weights is None else load_encoder_weights(encoder, self.weights)


def find_encoder(
    choice: str, workspace: Workspace, backbone: str | None = None, weights: Path | None = None
) -> EncoderSource:
    """Resolve ``--encoder``.

    Args:
        choice: ``latest`` (newest finished pre-training run), ``none`` or ``random`` (random weights), ``imagenet``
            (``weights`` must be given), the name or folder of a pre-training run, or a weight file.
        workspace: where runs are.
        backbone: timm name; None reads it from the weights, else :data:`DEFAULT_BACKBONE`.
        weights: ImageNet weights on disk; nothing is downloaded.

    Raises:
        EnvironmentProblem: a file or run that is not there.
        InputProblem: no finished pre-training run, or unreadable weights.
    """
    if choice in UNTRAINED:
        name = backbone or DEFAULT_BACKBONE
        return EncoderSource(name, None, "", f"{name}, random weights", _plain(f"scratch-{name}"))
    if choice == "imagenet":
        file = _imagenet_file(weights)
    elif choice == "latest":
        run = workspace.latest_run("pretrain", BACKBONE_FILE)
        if run is None:
            raise InputProblem(
                f"no finished pre-training run in {workspace.runs_dir}: run 'simhand pretrain' first, or use "
                "--encoder none to train from random weights"
            )
        file = run / BACKBONE_FILE
    else:
        file = _named_file(choice, workspace)
    # The file's own word, so that --backbone need not be given for a run of ours.
    stored = read_weights(file)[1]
    name = backbone or stored or DEFAULT_BACKBONE
    run_name = _plain(f"imagenet-{name}") if choice == "imagenet" else _name_of(file)
    return EncoderSource(name, file, sha256_file(file), f"{name} from {file}", run_name)


def _plain(name: str) -> str:
    """The name as one folder's name: some of timm's names have slashes."""
    return name.replace("/", "-")


def _name_of(file: Path) -> str:
    """The encoder's run where the file lies in one, else the file's own name."""
    if file.name == BACKBONE_FILE:
        return file.resolve().parent.name.removeprefix("pretrain-")
    return file.stem


def _imagenet_file(weights: Path | None) -> Path:
    if weights is None:
        raise EnvironmentProblem(
            "--encoder imagenet needs --encoder-weights FILE: ImageNet weights in torchvision's or timm's format "
            "(nothing is downloaded)"
        )
    if not weights.is_file():
        raise EnvironmentProblem(f"--encoder-weights {weights}: no such file")
    return weights


def _named_file(choice: str, workspace: Workspace) -> Path:
    path = Path(choice)
    # A file or folder here goes before a run's name.
    if not path.exists() and "/" not in choice:
        path = workspace.run_dir("pretrain", choice.removeprefix("pretrain-"))
    file = path / BACKBONE_FILE if path.is_dir() else path
    if not file.is_file():
        near = difflib.get_close_matches(choice.lower(), _WORDS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise EnvironmentProblem(
            f"--encoder {choice}: no such weight file or finished pre-training run (looked for {file}){meant}; other "
            "choices are latest, none (or random) and imagenet"
        )
    return file
